"""The gradient atlas against finite differences, a two-layer net by hand, and the growth that theory and earlier measurements give."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.findings.vanishing import growth, ratio, theory
from resnet_nb.models import build_model
from resnet_nb.probes.atlas import atlas, over_seeds, stream

BATCH = 32


def batch(count: int = BATCH, channels: int = 3, side: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, channels, side, side, generator=generator), torch.arange(count) % 10


def loss_of(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(copy.deepcopy(net)(images), labels))


@pytest.mark.parametrize("norm", ("batch", "none"))
def test_gradients_are_those_of_finite_differences(norm: str) -> None:
    """Every entry of the second convolution's output and weights moved up and down, in double precision; the output by a hook."""
    net = build_model("resnet8", width=2, in_channels=1, norm=norm, seed=1).double().train()
    images, labels = batch(2, 1, 8)
    images, labels, step = images.double(), labels, 1e-6
    found = atlas(net, images, labels).set_index("layer").loc["layer2.0.conv1"]
    module = net.layer2[0].conv1
    moved = torch.zeros(2, 4, 4, 4, dtype=torch.float64)
    hook = module.register_forward_hook(lambda _, __, output: output + moved)
    slopes = []
    for place in range(moved.numel()):
        moved.view(-1)[place] = step
        up = loss_of(net, images, labels)
        moved.view(-1)[place] = -step
        slopes.append((up - loss_of(net, images, labels)) / (2 * step))
        moved.view(-1)[place] = 0
    hook.remove()
    assert found["output_gradient"] == pytest.approx(np.linalg.norm(slopes), rel=1e-5)
    slopes, weight = [], module.weight.data.view(-1)
    for place in range(weight.numel()):
        before = float(weight[place])
        weight[place] = before + step
        up = loss_of(net, images, labels)
        weight[place] = before - step
        slopes.append((up - loss_of(net, images, labels)) / (2 * step))
        weight[place] = before
    assert found["weight_gradient"] == pytest.approx(np.linalg.norm(slopes), rel=1e-5)
    assert found["scale_free"] == pytest.approx(np.linalg.norm(slopes) * float(module.weight.norm()), rel=1e-5)


def test_a_net_of_two_layers_by_hand() -> None:
    generator = np.random.default_rng(0)
    x, first, second = generator.standard_normal((3, 2)), generator.standard_normal((4, 2)), generator.standard_normal((3, 4))
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)).double()
    net[0].weight.data, net[2].weight.data = torch.from_numpy(first), torch.from_numpy(second)
    labels = np.array([0, 2, 1])
    hidden = x @ first.T
    scores = np.maximum(hidden, 0) @ second.T
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    behind_second = (shares - np.eye(3)[labels]) / 3
    behind_first = (behind_second @ second) * (hidden > 0)
    slopes = behind_first.T @ x, behind_second.T @ np.maximum(hidden, 0)
    found = atlas(net, torch.from_numpy(x), torch.from_numpy(labels), rate=0.3)
    for row, weight, output, behind, slope in zip(
        found.itertuples(), (first, second), (hidden, scores), (behind_first, behind_second), slopes, strict=True
    ):
        assert row.weight_norm == pytest.approx(np.linalg.norm(weight)) and row.output_norm == pytest.approx(np.linalg.norm(output))
        assert row.output_variance == pytest.approx(output.var()) and row.output_gradient == pytest.approx(np.linalg.norm(behind))
        assert row.weight_gradient == pytest.approx(np.linalg.norm(slope))
        assert row.scale_free == pytest.approx(np.linalg.norm(slope) * np.linalg.norm(weight))
        new = weight - 0.3 * slope
        cosine = float((weight * new).sum() / np.linalg.norm(weight) / np.linalg.norm(new))
        assert row.angle == pytest.approx(math.acos(cosine), rel=1e-6)


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("probe", (atlas, stream))
def test_the_net_is_left_as_it_was(probe, training: bool) -> None:
    net = build_model("resnet8", width=4).train(training)
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    frozen = net.layer1[0].conv1.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        table = probe(net, *batch(4))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules()) and net.training == training and not frozen.requires_grad
    assert torch.equal(net.conv1.weight.grad, torch.ones_like(net.conv1.weight)) and net.fc.weight.grad is None
    assert (table["output_gradient"] > 0).all()


def test_behind_normalisation_the_scale_of_weights_changes_the_raw_gradient_and_nothing_else() -> None:
    net = build_model("plain8", width=4, seed=2).double().train()
    images, labels = batch(8)
    before = atlas(net, images.double(), labels).set_index("layer")
    net.layer2[0].conv1.weight.data.mul_(1000)
    after = atlas(net, images.double(), labels).set_index("layer")
    name = "layer2.0.conv1"
    assert after.loc[name, "weight_gradient"] == pytest.approx(before.loc[name, "weight_gradient"] / 1000, rel=1e-3)
    assert after.loc[name, "scale_free"] == pytest.approx(before.loc[name, "scale_free"], rel=1e-3)
    assert after.loc[name, "angle"] < 2e-6 * before.loc[name, "angle"]
    others = before.index != name
    assert np.allclose(before.loc[others, "output_gradient"], after.loc[others, "output_gradient"], rtol=1e-3)


def test_the_angle_of_a_gradient_that_nearly_underflows_is_not_lost() -> None:
    net = nn.Sequential(nn.Linear(2, 2, bias=False)).double()
    images, labels = torch.tensor([[1e-20, 0.0], [0.0, 0.0]], dtype=torch.float64), torch.tensor([0, 1])
    row = atlas(net, images, labels, rate=0.1).iloc[0]
    assert 0 < row["angle"] < 1e-19 and row["angle"] <= 0.1 * row["weight_gradient"] / row["weight_norm"] * (1 + 1e-6)


def test_one_image_and_a_net_without_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="two images or more"):
        atlas(build_model("plain8", width=4), *batch(1))
    with pytest.raises(InputError, match="one of our nets"):
        stream(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10)), *batch(2))


def test_means_over_seeds_are_geometric() -> None:
    one, other = (atlas(build_model("plain8", width=4, seed=seed), *batch(8)) for seed in (0, 1))
    both = over_seeds([one, other])
    assert list(both["layer"]) == list(one["layer"])
    assert np.allclose(both["output_gradient"], np.sqrt(one["output_gradient"] * other["output_gradient"]))
    zero = one.assign(angle=0.0)
    assert (over_seeds([zero, other])["angle"] == 0).all()
    with pytest.raises(ValueError, match="other layers"):
        over_seeds([one, one.iloc[1:]])


# What was measured before, with 128 images of CIFAR-10, width 16 and three seeds: growth a layer backwards in the first stage
MEASURED = [
    ("plain", "batch", "he-fan-in", "relu", 1.25), ("plain", "batch", "small", "relu", 1.25), ("resnet", "batch", "he-fan-in", "relu", 1.21),
    ("plain", "none", "he-fan-in", "relu", 0.96), ("plain", "none", "glorot", "relu", 0.68), ("plain", "none", "pytorch", "relu", 0.41),
    ("plain", "none", "glorot", "tanh", 0.93), ("resnet", "none", "he-fan-in", "relu", 1.12),
]  # fmt: skip


@pytest.mark.parametrize(("family", "norm", "init", "activation", "measured"), MEASURED)
def test_growth_in_the_first_stage_of_twenty_layers_is_what_was_measured(family, norm, init, activation, measured) -> None:
    """Within 0.08 on noise images of 16 pixels: other pictures, and more of the map lies at its border than on 32 pixels."""
    nets = [build_model(f"{family}20", norm=norm, init=init, activation=activation, seed=seed).train() for seed in range(3)]
    found = over_seeds([atlas(net, *batch()) for net in nets])
    assert growth(found) == pytest.approx(measured, abs=0.08)


def test_growth_through_blocks_is_that_of_theory_for_wide_nets() -> None:
    wide = ("plain", "batch", "he-fan-in", 0.03), ("plain", "none", "glorot", 0.05), ("residual", "none", "he-fan-in", 0.04)
    for family, norm, init, near in wide:
        name = "resnet20" if family == "residual" else "plain20"
        found = over_seeds([stream(build_model(name, width=32, norm=norm, init=init, seed=seed).train(), *batch()) for seed in range(2)])
        assert growth(found, layers_apart=2) == pytest.approx(theory(family, norm, init), abs=near), (family, norm, init)


def test_with_a_zero_last_scale_the_stream_is_level_and_no_gradient_enters_a_branch() -> None:
    net = build_model("resnet20", width=4, init="zero-last-scale").train()
    assert growth(stream(net, *batch()), layers_apart=2) == pytest.approx(1, abs=1e-6)
    found = atlas(net, *batch()).set_index("layer")["output_gradient"]
    assert not found.filter(like="layer1").any() and found["conv1"] > 0 and math.isnan(ratio(found.reset_index()))
