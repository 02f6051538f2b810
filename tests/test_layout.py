"""Counts without torch are those of built models, of the published facts, and of what a tensor meets on its way."""

import pytest
import torch
from torch import nn

from resnet_nb.errors import InputError
from resnet_nb.models import build_model, count_macs, count_parameters
from resnet_nb.models.nets import Block
from resnet_nb.probes.shapes import shapes
from resnet_nb.published import fact, layout

NETS = {
    "imagenet:plain18": (18, None, "1x1"),
    "imagenet:plain34": (34, None, "1x1"),
    "imagenet:resnet34-A": (34, "A", "1x1"),
    "imagenet:resnet34-B": (34, "B", "1x1"),
    "imagenet:resnet34-C": (34, "C", "1x1"),
    "imagenet:resnet50": (50, "B", "1x1"),
    "torchvision:resnet50": (50, "B", "3x3"),
    "torchvision:resnet101": (101, "B", "3x3"),
}


@pytest.mark.parametrize("name", NETS)
def test_a_list_of_layers_is_the_built_models(name: str) -> None:
    net = build_model(name, classes=1000)
    found = layout.layers(*NETS[name])
    weighted = {key: module for key, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert sorted(found["name"]) == sorted(weighted)
    for row in found.itertuples():
        module = weighted[row.name]
        if isinstance(module, nn.Conv2d):
            assert (row.inputs, row.outputs, row.kernel, row.stride) == (
                module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0],
            )  # fmt: skip
    assert found["parameters"].sum() == count_parameters(net)
    assert found["macs"].sum() == count_macs(net, (3, 224, 224))


def test_table_1_is_printed_up_to_the_stride_and_a_cut_digit() -> None:
    table = layout.table1().set_index("depth")
    assert (table["layers"] == table.index).all()
    for depth, row in table.iterrows():
        known = fact(f"calc.resnet{depth}").value
        assert row["parameters"] == pytest.approx(known["params"] / 1e6)
        assert (row["stride_1x1"], row["stride_3x3"]) == pytest.approx((known["gmacs_stride_on_1x1"], known["gmacs_stride_on_3x3"]), abs=6e-4)
        assert abs(row["stride_1x1"] - row["printed"]) < 0.1
    assert round(table.loc[50, "stride_1x1"], 2) == 3.86 and round(table.loc[50, "stride_3x3"], 2) == 4.09


@pytest.mark.parametrize("option", (None, "A", "B", "C"))
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(16, 16, 1), (16, 32, 2)])
def test_a_followed_tensor_has_the_shapes_of_a_built_block(option: str | None, inputs: int, outputs: int, stride: int) -> None:
    steps = layout.follow("basic", inputs, outputs, 32, stride=stride, option=option)
    seen = shapes(Block(inputs, outputs, stride, option), torch.zeros(1, inputs, 32, 32))
    assert steps["parameters"].sum() == seen["parameters"].iloc[-1]
    branch = steps[steps["way"] == "branch"][["channels", "side", "parameters"]].to_numpy().tolist()
    own = seen[seen["module"].str.match("conv|bn")][["channels", "side", "parameters"]].to_numpy().tolist()
    assert branch == own and steps.iloc[-1]["step"] == "ReLU"
    assert (steps.iloc[-1]["channels"], steps.iloc[-1]["side"]) == (seen.iloc[-1]["channels"], seen.iloc[-1]["side"])


@pytest.mark.parametrize("stride_at", ("1x1", "3x3"))
def test_a_followed_bottleneck_is_the_built_nets(stride_at: str) -> None:
    name = "imagenet:resnet50" if stride_at == "1x1" else "torchvision:resnet50"
    block = build_model(name, classes=2).layer2[0]
    steps = layout.follow("bottleneck", 256, 512, 56, stride=2, option="B", stride_at=stride_at)
    seen = shapes(block, torch.zeros(1, 256, 56, 56))
    convs = seen[seen["kind"] == "Conv2d"]
    own = steps[steps["step"].str.contains("convolution") & (steps["way"] == "branch")]
    assert own[["channels", "side"]].to_numpy().tolist() == convs[["channels", "side"]].to_numpy().tolist()[:3]
    assert steps["parameters"].sum() == seen["parameters"].iloc[-1]
    assert steps["macs"].sum() == count_macs(block, (256, 56, 56))


def test_pre_activation_moves_normalisation_before_and_leaves_the_sum_alone() -> None:
    steps = layout.follow("pre-activation", 64, 64, 56)
    assert steps["step"].tolist()[1:3] == ["normalisation, ReLU", "3x3 convolution"] and steps["step"].iloc[-1] == "addition"
    assert steps["macs"].sum() == layout.follow("basic", 64, 64, 56)["macs"].sum()


def test_what_the_paper_does_not_have_is_refused() -> None:
    for asked in ((20,), (50, None), (34, "D"), (50, "B", "5x5")):
        with pytest.raises(InputError):
            layout.layers(*asked)
    with pytest.raises(InputError, match="one of basic"):
        layout.follow("dense", 1, 1, 8)
