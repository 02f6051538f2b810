"""The networks are the paper's: sizes, matched pairs, shortcuts, and an independent formulation of the forward pass."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models import build_model, count_macs, count_parameters, parse
from resnet_nb.models.nets import ZeroPadShortcut
from resnet_nb.published import fact

DEPTHS = (20, 32, 44, 56, 110)
GOLDEN = (
    ("plain20", "he-fan-in", -50.129009),
    ("plain20", "he-fan-out", -41.656119),
    ("plain20", "delta-orthogonal", -35.524074),
    ("resnet20-B", "he-fan-in", -60.060433),
    ("resnet20-B", "he-fan-out", -53.098325),
    ("resnet20-B", "delta-orthogonal", -50.040692),
)  # see test_the_initial_weights_of_records_are_as_they_were


@pytest.mark.parametrize("depth", (*DEPTHS, 1202))
@pytest.mark.parametrize("family", ("plain", "resnet"))
def test_parameters_are_those_of_table_6(family: str, depth: int) -> None:
    counted = count_parameters(build_model(f"{family}{depth}"))
    assert counted == fact(f"calc.cifar{depth}").value
    printed = fact(f"c6.resnet{depth}").extra["params_printed"]
    digits = len(printed.rstrip("M").split(".")[1])
    assert f"{counted / 1e6:.{digits}f}M" == printed


@pytest.mark.parametrize("depth", DEPTHS)
def test_multiply_adds_are_those_counted_elsewhere(depth: int) -> None:
    assert count_macs(build_model(f"resnet{depth}")) / 1e6 == pytest.approx(fact(f"calc.cifar{depth}.mmac").value, abs=0.006)


def test_shortcut_options_add_the_parameters_of_their_projections() -> None:
    base = count_parameters(build_model("resnet20"))
    projections = lambda pairs: sum(i * o + 2 * o for i, o in pairs)  # noqa: E731  1x1 weights, scales and offsets
    changing = [(16, 32), (32, 64)]
    same = [(16, 16)] * 3 + [(32, 32)] * 2 + [(64, 64)] * 2
    assert count_parameters(build_model("resnet20-B")) == base + projections(changing)
    assert count_parameters(build_model("resnet20-C")) == base + projections(changing + same)
    assert count_parameters(build_model("resnet20-A")) == base == count_parameters(build_model("plain20"))


@given(
    depth=st.sampled_from((8, 14, 20, 26)),
    width=st.integers(1, 12),
    channels=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_a_plain_and_a_residual_net_are_a_matched_pair(depth: int, width: int, channels: int, seed: int) -> None:
    plain, residual = (
        build_model(f"{family}{depth}", width=width, in_channels=channels, seed=seed) for family in ("plain", "resnet")
    )
    ours, theirs = plain.state_dict(), residual.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def operations(net: nn.Module, image: Tensor) -> list[str]:
    """Every operator that a forward pass calls, in order."""
    from torch.utils._python_dispatch import TorchDispatchMode

    called = []

    class Listen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
            called.append(str(function))
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Listen():
        net(image)
    return called


def test_a_matched_pair_differs_in_the_additions_alone() -> None:
    image = torch.randn(2, 3, 32, 32)
    plain, residual = (operations(build_model(name).eval(), image) for name in ("plain20", "resnet20"))
    shortcuts = ("aten.add.Tensor", "aten.constant_pad_nd.default", "aten.slice.Tensor", "aten.alias.default")
    assert residual.count("aten.add.Tensor") == 9  # 3n for n = 3
    assert [name for name in residual if name not in shortcuts] == [name for name in plain if name not in shortcuts]
    assert not [name for name in plain if name == "aten.add.Tensor"]


def test_initial_weights_follow_he() -> None:
    net = build_model("resnet20", width=64)
    weight = net.layer2[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert abs(weight.mean().item()) < 1e-3
    backward = build_model("resnet20", width=64, init="he-fan-out").layer2[0].conv1.weight
    assert backward.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert net.layer2[0].conv1.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_weights_depend_on_the_seed_and_on_no_global_state() -> None:
    torch.manual_seed(1)
    first = build_model("resnet20", seed=3).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = build_model("resnet20", seed=3).state_dict(), build_model("resnet20", seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    library = [build_model("torchvision:resnet18", seed=s).state_dict()["conv1.weight"] for s in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(library[0], library[1]) and not torch.equal(library[0], library[2])


def independent_forward(state: dict[str, Tensor], image: Tensor, residual: bool) -> Tensor:
    """Section 4.2 again, written with tensors alone: normalisation from its formula, option A by hand."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        patches = F.unfold(x, 3, padding=1, stride=stride)
        side = (x.shape[2] - 1) // stride + 1
        return (weight.flatten(1) @ patches).unflatten(2, (side, side))

    x = norm(conv(image, "conv1"), "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in range(len({name.split(".")[1] for name in state if name.startswith(f"layer{stage}.")})):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1").clamp(min=0)
            y = norm(conv(y, f"{name}.conv2"), f"{name}.bn2")
            if residual:
                old, new = x.shape[1], y.shape[1]
                identity = torch.zeros_like(y)
                identity[:, (new - old) // 2 : (new - old) // 2 + old] = x[:, :, ::stride, ::stride]
                y = y + identity
            x = y.clamp(min=0)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("name", ("plain20", "resnet20", "resnet32"))
def test_the_forward_pass_equals_an_independent_formulation(name: str) -> None:
    net = build_model(name, width=4).double()
    image = torch.randn(8, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net.train()(image)  # running statistics that are not the initial ones
    expected = independent_forward(net.state_dict(), image, residual=name.startswith("resnet"))
    torch.testing.assert_close(net.eval()(image), expected, rtol=1e-10, atol=1e-10)


def test_dropping_the_shortcut_is_noticed() -> None:
    """The mutation that matters most: without its additions a residual net fails the comparison above."""
    net = build_model("resnet20", width=4).double().eval()
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = independent_forward(net.state_dict(), image, residual=True)
    for module in net.modules():
        if hasattr(module, "residual"):
            module.residual = False
    assert (net(image) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("depth", (18, 34))
def test_imagenet_nets_equal_torchvisions(depth: int) -> None:
    theirs = torchvision.models.get_model(f"resnet{depth}").eval()
    ours = build_model(f"imagenet:resnet{depth}-B", classes=1000).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(ours(image), theirs(image))
    plain, option_a = (count_parameters(build_model(f"imagenet:{kind}{depth}", classes=1000)) for kind in ("plain", "resnet"))
    assert plain == option_a < count_parameters(ours)


def test_option_a_keeps_every_second_pixel_and_adds_zeros() -> None:
    image = torch.arange(32.0).view(1, 2, 4, 4)
    out = ZeroPadShortcut(2, 4, 2)(image)
    assert out.shape == (1, 4, 2, 2)
    assert torch.equal(out[:, 1:3], image[:, :, ::2, ::2])
    assert out[:, 0].abs().sum() == out[:, 3].abs().sum() == 0


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_the_papers_bottleneck_nets_have_the_stride_in_the_first_convolution(depth: int) -> None:
    counted = fact(f"calc.resnet{depth}").value
    ours = build_model(f"imagenet:resnet{depth}", classes=1000)
    assert count_parameters(ours) == counted["params"]
    assert count_macs(ours, (3, 224, 224)) / 1e9 == pytest.approx(counted["gmacs_stride_on_1x1"], abs=6e-4)
    theirs = build_model(f"torchvision:resnet{depth}", classes=1000)
    ours.load_state_dict(theirs.state_dict())  # one layout of weights, two functions
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(ours.eval()(image), theirs.eval()(image))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet50", "torchvision:resnet50, the ImageNet net, or cifar:resnet50"),
        ("resnet152", "cifar:resnet152"),
        ("resnet18", "imagenet:resnet18"),
        ("plain21", "plain20"),
        ("plain20-B", "a plain net has none"),
        ("resnet20-D", "Unknown model"),
        ("imagenet:plain50", "18 or 34 layers"),
        ("resnt56", "did you mean 'resnet56'"),
        ("plain2", "plain8"),
        ("torchvision:resnet5000", "torchvision has no model"),
    ],
)
def test_a_name_that_says_nothing_or_two_things_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_model(name)


def test_names_say_what_the_paper_builds() -> None:
    assert parse("resnet110").blocks == (18, 18, 18) and parse("resnet110").option == "A"
    assert parse("cifar:resnet50").depth == 50
    assert parse("imagenet:plain34").blocks == (3, 4, 6, 3) and parse("imagenet:plain34").option is None


def test_libraries_models_are_built_by_name() -> None:
    timm = pytest.importorskip("timm")
    assert count_parameters(build_model("timm:resnet18", classes=10)) == count_parameters(
        timm.create_model("resnet18", num_classes=10)
    )
    assert build_model("torchvision:resnet18", classes=7).fc.out_features == 7
    with pytest.raises(InputError, match="width"):
        build_model("torchvision:resnet18", width=8)


def test_without_normalisation_each_convolution_has_a_bias_in_its_place() -> None:
    net, normed = build_model("resnet8-B", width=4, norm="none"), build_model("resnet8-B", width=4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.bias is not None and not conv.bias.any() for conv in convolutions)
    assert torch.equal(net.layer2[0].conv1.weight, normed.layer2[0].conv1.weight)
    x = torch.randn(2, 3, 8, 8)
    y = F.relu(F.conv2d(x, net.conv1.weight, net.conv1.bias, padding=1))
    torch.testing.assert_close(F.relu(net.bn1(net.conv1(x))), y)
    assert count_parameters(net) == count_parameters(normed) - sum(conv.out_channels for conv in convolutions)


def test_biases_beside_normalisation_change_nothing_in_training_mode() -> None:
    net, biased = build_model("plain8", width=4, seed=3), build_model("plain8", width=4, seed=3, conv_bias=True)
    for name, parameter in biased.named_parameters():
        if "conv" in name and name.endswith("bias"):
            nn.init.normal_(parameter)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(biased.train()(x), net.train()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("option", ({"norm": "layer"}, {"init": "xavier"}, {"activation": "gelu"}))
def test_an_unknown_norm_or_initialisation_is_refused(option: dict) -> None:
    with pytest.raises(InputError, match="choose one of"):
        build_model("plain8", **option)
    for other in ({"norm": "none"}, {"activation": "tanh"}):
        with pytest.raises(InputError, match="layers of its own"):
            build_model("torchvision:resnet18", **other)


def test_delta_orthogonal_kernels_are_orthogonal_at_their_centre_with_the_norm_of_fan_in() -> None:
    net, he = build_model("plain20", seed=1, init="delta-orthogonal"), build_model("plain20", seed=1)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            kernel = module.weight.detach().clone()
            matrix = kernel[:, :, 1, 1].clone()
            kernel[:, :, 1, 1] = 0
            assert not kernel.any()
            torch.testing.assert_close(matrix.T @ matrix, 2 * torch.eye(matrix.shape[1]), rtol=1e-5, atol=1e-5)
            if module.in_channels == module.out_channels:
                assert matrix.norm() == pytest.approx(he.get_submodule(name).weight.norm().item(), rel=0.12)
    assert net.fc.weight.std() > 0


@pytest.mark.parametrize(
    ("init", "variance"), [("glorot", 2 / (9 * 96)), ("small", 1e-4), ("pytorch", 1 / (3 * 9 * 32)), ("orthogonal", 2 / (9 * 32))]
)
def test_initial_weights_have_the_variance_that_their_name_promises(init: str, variance: float) -> None:
    weight = build_model("resnet8", width=32, init=init, seed=2).layer2[0].conv1.weight  # (64, 32, 3, 3)
    assert weight.var().item() == pytest.approx(variance, rel=0.03) and abs(weight.mean().item()) < 0.03 * variance**0.5
    other, again = (build_model("resnet8", width=32, init=init, seed=seed).layer2[0].conv1.weight for seed in (3, 2))
    assert torch.equal(weight, again) and not torch.equal(weight, other)


def test_pytorchs_default_is_that_of_its_layers_biases_too() -> None:
    net = build_model("plain8", width=32, norm="none", init="pytorch")
    theirs = nn.Conv2d(32, 32, 3)
    ours = net.layer1[0].conv1
    bound = (9 * 32) ** -0.5
    for parameter, reference in ((ours.weight, theirs.weight), (ours.bias, theirs.bias), (net.fc.bias / 128**-0.5 * bound, theirs.bias)):
        assert 0.5 * bound < parameter.abs().max() <= bound * (1 + 1e-6) and reference.abs().max() <= bound
    assert ours.weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.03)


def test_orthogonal_kernels_have_orthogonal_rows_with_the_norm_of_a_relus_gain() -> None:
    kernel = build_model("plain8", width=8, init="orthogonal").layer1[0].conv1.weight.detach().flatten(1)
    torch.testing.assert_close(kernel @ kernel.T, 2 * torch.eye(8), rtol=1e-5, atol=1e-5)


def test_with_a_zero_last_scale_a_residual_net_begins_as_its_shortcuts() -> None:
    net, he = build_model("resnet14", width=4, init="zero-last-scale", seed=1), build_model("resnet14", width=4, seed=1)
    assert all(torch.equal(net.get_parameter(name), value) for name, value in he.named_parameters() if not name.endswith("bn2.weight"))
    x = torch.relu(torch.randn(2, 4, 8, 8))
    assert torch.equal(net.layer1(x), x) and torch.equal(net.layer2(x), net.layer2[0].downsample(x))


@pytest.mark.parametrize(("name", "norm"), [("plain8", "batch"), ("resnet8", "none")])
def test_a_zero_last_scale_is_refused_where_there_is_none_or_nothing_would_pass(name: str, norm: str) -> None:
    with pytest.raises(InputError, match="zero-last-scale is for residual nets"):
        build_model(name, norm=norm, init="zero-last-scale")


@pytest.mark.parametrize(("activation", "function"), [("tanh", torch.tanh), ("sigmoid", torch.sigmoid), ("none", lambda x: x), ("relu", torch.relu)])
@pytest.mark.parametrize("residual", (True, False))
def test_the_activation_stands_in_every_place_of_a_relu(activation: str, function, residual: bool) -> None:
    net = build_model(f"{'resnet' if residual else 'plain'}8", width=4, norm="none", activation=activation).double()
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    x = function(net.conv1(image))
    for stage in (net.layer1, net.layer2, net.layer3):
        (block,) = stage
        y = block.conv2(function(block.conv1(x)))
        x = function(y + block.downsample(x) if residual else y)
    torch.testing.assert_close(net(image), net.fc(x.mean((2, 3))))


def test_the_initial_weights_of_records_are_as_they_were() -> None:
    """Sums over all weights, weighted by their place, of the nets that records are made with; taken when they were recorded."""
    for name, init, expected in GOLDEN:
        net = build_model(name, width=8, in_channels=1, seed=3, init=init)
        values = torch.cat([p.detach().double().flatten() for p in net.parameters()])
        assert float(values @ torch.linspace(-1, 1, len(values), dtype=torch.float64)) == pytest.approx(expected, rel=1e-5)
