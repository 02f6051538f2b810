"""What every probe promises: bad input is told in a sentence, and the net and torch's generators are left as they were."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from probe_examples import left_as_it_was, lively, some_images
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.models.nets import Block
from resnet_nb.probes import LayerTrace, landscape, lesions, paths, redundancy, shapes
from resnet_nb.probes.atlas import atlas, over_seeds, stream
from resnet_nb.probes.birth import birth_shares, fixup
from resnet_nb.probes.blocks import in_place_of
from resnet_nb.probes.responses import branch_shares, layer_responses
from resnet_nb.probes.trace import angle, responses
from resnet_nb.records import kept

IMAGES, LABELS = some_images()
PROBES: dict[str, Callable] = {  # each of a net, images and labels, which the first ten look at
    "atlas": atlas,
    "stream": stream,
    "delete_each": lesions.delete_each,
    "delete_random": partial(lesions.delete_random, counts=(1,), draws=1),
    "swap_random": partial(lesions.swap_random, counts=(1,), draws=1),
    "error_and_loss": lesions.error_and_loss,
    "path_gradient": partial(paths.path_gradient, branches=["layer1.0"]),
    "path_lengths": partial(paths.path_lengths, draws=1),
    "line": partial(landscape.line, steps=(0.0,)),
    "surface": partial(landscape.surface, steps=(0.0,)),
    "birth_shares": lambda net, images, labels: birth_shares(net, images),
    "branch_shares": lambda net, images, labels: branch_shares(net, images),
    "layer_responses": lambda net, images, labels: layer_responses(net, images),
    "responses": lambda net, images, labels: responses(net, images),
    "redundancy": lambda net, images, labels: redundancy(net, images),
    "shapes": lambda net, images, labels: shapes.shapes(nn.Sequential(net.conv1, net.bn1), images),
    "LayerTrace": lambda net, images, labels: LayerTrace(net, images, 1),
}
LABELLED = list(PROBES)[:10]
BAD_IMAGES = {
    "no image": (IMAGES[:0], "is empty|two images or more"),
    "NaN": (IMAGES.clone().index_fill_(0, torch.tensor([1]), math.nan), "NaN or infinite"),
    "three channels": (IMAGES.repeat(1, 3, 1, 1), r"this net takes \(N, 1, height, width\)"),
    "one picture": (IMAGES[:, 0], r"this net takes \(N, 1, height, width\)"),
    "bytes": (IMAGES.byte(), "torch.uint8: give a tensor of floats"),
    "single precision": (IMAGES.float(), "torch.float32 on cpu, the net torch.float64"),
    "an array": (IMAGES.numpy(), "a ndarray: give a tensor"),
}
BAD_LABELS = {
    "short": (LABELS[:-1], "one label an image"),
    "beyond": (LABELS + 1, "from 1 to 4: this net knows classes from 0 to 3"),
    "below": (LABELS - 1, "from -1 to 2"),
    "another type": (LABELS.int(), "torch.int32: give a tensor of int64"),
    "a list": (LABELS.tolist(), "a list: give a tensor of int64"),
}


@pytest.mark.parametrize("bad", BAD_IMAGES)
@pytest.mark.parametrize("name", PROBES)
def test_images_that_the_net_cannot_take_are_told_in_a_sentence(name: str, bad: str) -> None:
    images, says = BAD_IMAGES[bad]
    net = lively("resnet14")
    with left_as_it_was(net), pytest.raises(InputError, match=says):
        PROBES[name](net, images, LABELS)


@pytest.mark.parametrize("bad", BAD_LABELS)
@pytest.mark.parametrize("name", LABELLED)
def test_labels_that_the_net_cannot_take_are_told_in_a_sentence(name: str, bad: str) -> None:
    labels, says = BAD_LABELS[bad]
    with pytest.raises(InputError, match=says):
        PROBES[name](lively("resnet14"), IMAGES, labels)


def test_images_for_statistics_are_looked_at_too() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        landscape.line(lively("resnet8"), IMAGES, LABELS, (0.0,), statistics=[IMAGES, BAD_IMAGES["NaN"][0]])


@pytest.mark.parametrize("seed", (-1, 2**64))
def test_seeds_that_no_generator_takes(seed: int) -> None:
    net = lively("resnet14")
    for name in ("line", "surface", "delete_random", "swap_random", "path_lengths"):
        with pytest.raises(InputError, match="take a whole number from 0 to 18446744073709551615"):
            PROBES[name](net, IMAGES, LABELS, seed=seed)
    with pytest.raises(InputError, match="The seed 18446744073709551616"):
        PROBES["surface"](net, IMAGES, LABELS, seed=2**64 - 1)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("training", (True, False))
def test_dropout_in_a_probe_moves_no_generator(name: str, training: bool) -> None:
    net = lively("resnet14")
    net.fc = nn.Sequential(nn.Dropout(0.5), net.fc)
    net.train(training)
    before = torch.get_rng_state()
    with left_as_it_was(net):
        PROBES[name](net, IMAGES, LABELS)
    landscape.line(net, IMAGES, LABELS, (0.0,), statistics=[IMAGES])
    redundancy(net, IMAGES, batch_statistics=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_watched_training_with_dropout_is_the_unwatched_one() -> None:
    def trained(watched: bool) -> Tensor:
        torch.manual_seed(0)
        net = lively("resnet8").train()
        net.fc = nn.Sequential(nn.Dropout(0.5), net.fc)
        trace = LayerTrace(net, IMAGES, 2) if watched else None
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        for step in range(2):
            if trace:
                trace.before()
            optimiser.zero_grad()
            F.cross_entropy(net(IMAGES), LABELS).backward()
            optimiser.step()
            if trace:
                trace.after(step)
        return net.layer1[0].conv1.weight

    assert torch.equal(trained(True), trained(False))


def patched(net: nn.Module) -> nn.Module:
    """The net with blocks whose forward passes a user has changed."""
    for block in (net.layer1[1], net.layer2[1]):
        block.forward = lambda x, block=block: 2 * Block.forward(block, x)
    return net


def test_a_block_whose_forward_is_the_users_keeps_it() -> None:
    net = patched(lively("resnet14"))
    own, scores, intact = net.layer1[1].__dict__["forward"], net(IMAGES), lesions.error_and_loss(net, IMAGES, LABELS)
    with left_as_it_was(net):
        rows = lesions.delete_each(net, IMAGES, LABELS).set_index("block")
        lesions.swap_random(net, IMAGES, LABELS, (1,), draws=2)
        with lesions.deleted(net, ["layer1.1"]):
            assert lesions.error_and_loss(net, IMAGES, LABELS)[1] == pytest.approx(rows.loc["layer1.1", "loss"], rel=1e-12)
    assert net.layer1[1].__dict__["forward"] is own and torch.equal(net(IMAGES), scores)
    assert rows.loc["none", ["error", "loss"]].tolist() == pytest.approx(list(intact), rel=1e-12)
    assert intact[1] != pytest.approx(lesions.error_and_loss(lively("resnet14"), IMAGES, LABELS)[1])


@pytest.mark.parametrize("name", ("path_gradient", "path_lengths", "branch_shares"))
def test_what_a_changed_block_adds_is_not_told(name: str) -> None:
    net = patched(lively("resnet14"))
    with left_as_it_was(net), pytest.raises(InputError, match="The forward pass of layer1.1 was changed"):
        PROBES[name](net, IMAGES, LABELS)
    net = lively("resnet14")
    with lesions.deleted(net, ["layer2.1"]), pytest.raises(InputError, match="layer2.1 was changed"):
        PROBES[name](net, IMAGES, LABELS)
    net.layer3[0].__class__ = type("Own", (Block,), {"forward": lambda block, x: 2 * Block.forward(block, x)})
    with pytest.raises(InputError, match="layer3.0 was changed"):
        PROBES[name](net, IMAGES, LABELS)
    net = lively("resnet14")
    net.layer1[1].forward = net.layer1[1].forward  # its own, as one leaves it who has put another in its place and back
    PROBES[name](net, IMAGES, LABELS)


def test_hooks_on_a_block_are_part_of_the_pass_that_is_taken_apart() -> None:
    net, block = lively("resnet8"), "layer2.0"
    net.layer2[0].register_forward_pre_hook(lambda module, given: (0.5 * given[0],))
    net.layer2[0].register_forward_hook(lambda module, given, output: 3 * output)
    net.layer2[0].conv2.register_forward_hook(lambda module, given, output: 5 * output)
    images = IMAGES.clone().requires_grad_()
    F.cross_entropy(net(images), LABELS, reduction="sum").backward()
    names = [name for name, module in net.named_modules() if isinstance(module, Block)]
    every = [paths.path_gradient(net, IMAGES, LABELS, chosen) for count in range(4) for chosen in itertools.combinations(names, count)]
    assert torch.allclose(sum(every), images.grad, rtol=1e-9)
    x = 0.5 * net.layer1(torch.relu(net.bn1(net.conv1(IMAGES))))
    inner = net.layer2[0]
    added = inner.bn2(5 * F.conv2d(torch.relu(inner.bn1(inner.conv1(x))), inner.conv2.weight, padding=1))
    shares = branch_shares(net, IMAGES).set_index("block")
    assert shares.loc[block, "ratio"] == pytest.approx(float(added.norm() / inner.downsample(x).norm()), rel=1e-9)
    y = 3 * torch.relu(added + inner.downsample(x))
    assert shares.loc["layer3.0", "shortcut"] == pytest.approx(float(net.layer3[0].downsample(y).square().mean().sqrt()), rel=1e-9)


def test_lesions_within_a_lesion_are_beside_it() -> None:
    net = lively("resnet14")
    with lesions.deleted(net, ["layer1.1", "layer3.1"]):
        both, rows = net(IMAGES), lesions.error_and_loss(net, IMAGES, LABELS)
    with lesions.deleted(net, ["layer3.1"]):
        one = net(IMAGES)
        with lesions.deleted(net, ["layer1.1"]):
            assert torch.equal(net(IMAGES), both)
        with pytest.raises(ZeroDivisionError), in_place_of(net, {"layer3.1": lambda x: 1 / 0}):
            net(IMAGES)
        assert torch.equal(net(IMAGES), one)
        table = lesions.delete_each(net, IMAGES, LABELS).set_index("block")
    assert table.loc["layer1.1", ["error", "loss"]].tolist() == pytest.approx(list(rows), rel=1e-12)
    assert not torch.equal(net(IMAGES), one)


@pytest.mark.parametrize("mode", ("no_grad", "inference_mode"))
@pytest.mark.parametrize("name", PROBES)
def test_probes_work_where_no_gradients_are_kept(name: str, mode: str) -> None:
    """The net and the batch made there too."""
    expected = PROBES[name](lively("resnet14"), IMAGES, LABELS)
    with getattr(torch, mode)():
        net, images, labels = lively("resnet14"), IMAGES.clone(), LABELS.clone()
        inside = PROBES[name](net, images, labels)
    outside = PROBES[name](net, images, labels)
    for found in (inside, outside):
        if isinstance(expected, Tensor):
            assert torch.allclose(found, expected, rtol=1e-9)
        elif hasattr(expected, "select_dtypes"):
            assert found.select_dtypes("number").to_numpy() == pytest.approx(expected.select_dtypes("number").to_numpy(), rel=1e-9, nan_ok=True)


def test_layers_of_zero_weights_turn_by_no_angle_and_stay_so_over_seeds() -> None:
    nets = [fixup(build_model("resnet8", width=4, in_channels=1, classes=4, norm="none", seed=seed)) for seed in (0, 1)]
    tables = [atlas(net.double(), IMAGES, LABELS) for net in nets]
    zero = tables[0]["weight_norm"] == 0
    assert zero.sum() == 4 and (tables[0]["angle"].isna() == zero).all() and not tables[0].drop(columns="angle").isna().any().any()
    both = over_seeds([tables[0].fillna(0.5), tables[1]])
    assert (both["angle"].isna() == zero).all() and not both.drop(columns="angle").isna().any().any()
    assert math.isnan(angle(torch.zeros(3), torch.ones(3)))


def test_a_trace_that_begins_at_zero_weights_is_written_and_read(tmp_path: Path) -> None:
    net = fixup(build_model("resnet8", width=4, in_channels=1, classes=4, norm="none")).double()
    net.conv1.weight.requires_grad_(False)
    trace = LayerTrace(net, IMAGES, 1)
    trace.before()
    F.cross_entropy(net(IMAGES), LABELS).backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    trace.after(0)
    path = tmp_path / f"run{kept.TRACE}"
    path.write_text(kept.trace_text(trace.rows))
    table = kept.read_trace(path).set_index("layer")
    zero = table["weight_norm"] == 0
    assert zero.sum() == 4 and (table["relative_step"].isna() == zero).all() and (table["angle"].isna() == zero).all()
    assert table.index[table["gradient_norm"].isna()].tolist() == ["conv1"]


class Odd(nn.Module):
    """A net with a spare layer, or one that is used twice."""

    def __init__(self, what: str):
        super().__init__()
        self.what, self.net = what, lively("resnet8")
        self.spare = nn.Conv2d(1, 1, 3, padding=1).double()

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "discarded":
            self.spare(x)
        elif self.what == "twice":
            x = self.spare(self.spare(x))
        return self.net(x)


@pytest.mark.parametrize(
    ("what", "says"), [("idle", "do not depend on spare"), ("discarded", "do not depend on spare"), ("twice", "spare runs more than once")]
)
def test_layers_that_are_not_used_once_are_named(what: str, says: str) -> None:
    net = Odd(what)
    with left_as_it_was(net), pytest.raises(InputError, match=says):
        atlas(net, IMAGES, LABELS)
    if what != "discarded":
        with left_as_it_was(net), pytest.raises(InputError, match=says):
            responses(net, IMAGES)


def test_an_output_that_is_overwritten_in_place_is_not_taken_for_the_layers_own() -> None:
    """As in torchvision's VGG and AlexNet."""
    nets = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(144, 4)).double() for inplace in (True, False)]
    assert len(atlas(nets[1], IMAGES, LABELS)) == 2
    with left_as_it_was(nets[0]), pytest.raises(InputError, match="What 0 puts out is overwritten .* inplace=False"):
        atlas(nets[0], IMAGES, LABELS)


def test_blocks_that_are_not_used_once_are_named() -> None:
    net = lively("resnet8")
    net.forward = lambda x: net.fc(net.layer2(net.layer1(net.layer1(net.bn1(net.conv1(x))))).mean((2, 3)).repeat(1, 2))
    for name in ("stream", "birth_shares"):
        with pytest.raises(InputError, match=r"layer1.0 runs more than once"):
            PROBES[name](net, IMAGES, LABELS)
    net.forward = lambda x: net.fc(net.layer2(net.layer1(net.bn1(net.conv1(x)))).mean((2, 3)).repeat(1, 2))
    for name in ("stream", "birth_shares", "branch_shares", "delete_each"):
        with pytest.raises(InputError, match=r"do not depend on layer3.0"):
            PROBES[name](net, IMAGES, LABELS)


def test_weights_that_are_no_parameter_of_their_own_are_named() -> None:
    net = lively("resnet8")
    nn.utils.parametrizations.weight_norm(net.layer1[0].conv1)
    shared = lively("resnet8")
    shared.layer2[0].conv2.weight = shared.layer2[0].conv1.weight = nn.Parameter(torch.ones(8, 8, 3, 3, dtype=torch.float64))
    for probe in (atlas, PROBES["LayerTrace"]):
        with pytest.raises(InputError, match=r"layer1.0.conv1 computes its weights from other parameters, as weight_norm does"):
            probe(net, IMAGES, LABELS)
        with pytest.raises(InputError, match=r"layer2.0.conv1 and layer2.0.conv2 share their weights"):
            probe(shared, IMAGES, LABELS)


def test_a_net_without_named_convolutions_has_no_layer_responses() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)).double()
    assert len(responses(net, IMAGES)) == 2
    with pytest.raises(InputError, match="no convolution that is called conv1"):
        layer_responses(net, IMAGES)
