"""Layer responses and their units: a plain net's can be anything, the branch's share cannot."""

import pytest
import torch
from probe_examples import left_as_it_was, lively, some_images
from torch import nn

from resnet_nb.errors import InputError
from resnet_nb.probes.responses import branch_shares, layer_responses, rescaled

IMAGES, LABELS = some_images()


def convolutions(net: nn.Module) -> list[str]:
    return layer_responses(net, IMAGES)["layer"].tolist()


def test_responses_are_the_deviations_of_a_hand_made_two_layer_net() -> None:
    net = lively("plain8")
    x = net.bn1(net.conv1(IMAGES))
    first = net.layer1[0].bn1(net.layer1[0].conv1(torch.relu(x)))
    table = layer_responses(net.train(), IMAGES)  # in training mode too, it is evaluation mode that is measured
    assert table["place"].tolist() == list(range(1, 8)) and table["layer"].tolist()[:2] == ["conv1", "layer1.0.conv1"]
    assert table["response"].tolist()[:2] == pytest.approx([float(x.detach().std()), float(first.detach().std())], rel=1e-9)
    assert "layer2.0.downsample.0" not in convolutions(lively("resnet8-B"))


KINDS = [("plain14", {}), ("plain14", {"norm": "none"}), ("plain8", {"conv_bias": True}), ("resnet14", {}), ("resnet8-B", {})]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_responses_are_rescaled_and_the_function_stays(name: str, options: dict) -> None:
    net = lively(name, **options)
    layers = [layer for layer in convolutions(net) if name.startswith("plain") or layer.endswith(".conv1")]
    factors = {layer: 2.0 ** (number % 7 - 3) for number, layer in enumerate(layers)}
    other = rescaled(net, factors)
    before, after = (layer_responses(one, IMAGES).set_index("layer")["response"] for one in (net, other))
    ratio = after / before
    assert ratio[layers].tolist() == pytest.approx([factors[layer] for layer in layers])
    assert ratio.drop(layers).tolist() == pytest.approx([1.0] * (len(ratio) - len(layers)))
    for mode in (True, False):
        assert torch.equal(net.train(mode)(IMAGES), other.train(mode)(IMAGES))


def test_a_factor_that_is_no_power_of_two_keeps_the_function_up_to_rounding() -> None:
    net = lively("plain14")
    other = rescaled(net, dict.fromkeys(convolutions(net), 0.07))
    assert torch.allclose(net(IMAGES), other(IMAGES), rtol=1e-12)
    assert layer_responses(other, IMAGES)["response"].mean() == pytest.approx(0.07 * layer_responses(net, IMAGES)["response"].mean())


def test_what_has_no_free_scale_is_refused() -> None:
    for name, layer in (("resnet14", "layer1.0.conv2"), ("resnet14", "conv1"), ("resnet8-B", "layer2.0.downsample.0"), ("plain8", "fc")):
        with pytest.raises(InputError):
            rescaled(lively(name), {layer: 2.0})
    for factor in (0, -1, float("inf"), float("nan")):
        with pytest.raises(InputError, match="positive"):
            rescaled(lively("plain8"), {"conv1": factor})
    with pytest.raises(InputError, match="does not pass through tanh"):
        rescaled(lively("plain8", activation="tanh"), {"conv1": 2.0})
    with pytest.raises(InputError, match="not one of this package's"):
        rescaled(nn.Sequential(nn.Conv2d(1, 4, 3)), {"0": 2.0})


def test_the_branchs_share_is_that_of_a_block_by_hand_and_no_rescaling_moves_it() -> None:
    net = lively("resnet14")
    table = branch_shares(net, IMAGES).set_index("block")
    x = torch.relu(net.bn1(net.conv1(IMAGES)))
    block = net.layer1[0]
    added = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    assert table.loc["layer1.0", "ratio"] == pytest.approx(float(added.norm() / x.norm()), rel=1e-9)
    assert len(table) == 6 and (table["stage"] == [1, 1, 2, 2, 3, 3]).all()
    inner = [layer for layer in convolutions(net) if layer.endswith(".conv1")]
    other = branch_shares(rescaled(net, dict.fromkeys(inner, 4.0)), IMAGES)
    assert other["ratio"].tolist() == pytest.approx(table["ratio"].tolist())


def test_a_last_scale_of_zero_has_no_share() -> None:
    net = lively("resnet14")
    for block in net.layer2:
        nn.init.zeros_(block.bn2.weight)
        nn.init.zeros_(block.bn2.bias)
    shares = branch_shares(net, IMAGES)
    assert (shares[shares["stage"] == 2]["ratio"] == 0).all() and (shares[shares["stage"] != 2]["ratio"] > 0).all()
    with pytest.raises(InputError, match="residual net"):
        branch_shares(lively("plain8"), IMAGES)


@pytest.mark.parametrize("training", (True, False))
def test_they_leave_the_net_as_it_was(training: bool) -> None:
    net = lively("resnet8").train(training)
    net(IMAGES).sum().backward()
    with left_as_it_was(net):
        layer_responses(net, IMAGES)
        branch_shares(net, IMAGES)
        rescaled(net, {"layer1.0.conv1": 2.0})
