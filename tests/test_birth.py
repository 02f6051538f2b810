"""Nets that begin as their shortcuts: the function at birth, the branches' shares, and that they can learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.models.nets import Block
from resnet_nb.probes.birth import ShiftedConv, birth_shares, fixup, skipinit


def images(count: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("change", (skipinit, fixup))
def test_each_block_returns_its_shortcut_at_first(change) -> None:
    net = change(build_model("resnet14", width=4, norm="none"))
    x = images().new_ones(2, 4, 8, 8).uniform_(generator=torch.Generator().manual_seed(1))
    assert torch.equal(net.layer1(x), x) and torch.equal(net.layer2[0](x), net.layer2[0].downsample(x))


@pytest.mark.parametrize("change", (skipinit, fixup))
def test_after_a_few_steps_every_weight_has_moved(change) -> None:
    net = change(build_model("resnet14", width=4, norm="none", seed=1)).train()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(4):
        optimiser.zero_grad()
        F.cross_entropy(net(images()), torch.arange(16) % 10).backward()
        optimiser.step()
    assert all(not torch.equal(before[name], parameter) for name, parameter in net.named_parameters())


def test_fixups_weights_are_those_of_its_rule() -> None:
    he, net = build_model("resnet14", width=4, norm="none", seed=3), fixup(build_model("resnet14", width=4, norm="none", seed=3))
    branches = 6
    for (name, block), theirs in zip(
        ((name, m) for name, m in net.named_modules() if isinstance(m, Block)), (m for m in he.modules() if isinstance(m, Block)), strict=True
    ):
        torch.testing.assert_close(block.conv1.weight, theirs.conv1.weight * branches**-0.5)
        assert not block.conv2.weight.any() and block.bn2.scale.item() == 1 and block.bn2.shift.item() == 0, name
        assert isinstance(block.conv1, ShiftedConv) and block.conv1.bias is None
        names = {"conv1.weight", "conv1.shift", "bn1.shift", "conv2.weight", "conv2.shift", "bn2.scale", "bn2.shift"}
        assert {name for name, _ in block.named_parameters()} == names  # a number before each convolution and each activation
    assert not net.fc.weight.any() and not net.fc.bias.any() and torch.equal(net.conv1.weight, he.conv1.weight)


def test_fixups_learnt_numbers_are_added_and_multiplied_where_it_says() -> None:
    """Their values at birth, 0 and 1, show neither sign nor place."""
    net = fixup(build_model("resnet8", width=4, norm="none", seed=3))
    block = net.layer2[0]
    numbers = {"conv1.shift": 0.3, "bn1.shift": -0.2, "conv2.shift": 0.5, "bn2.scale": -2.0, "bn2.shift": 0.7}
    with torch.no_grad():
        block.conv2.weight.normal_(generator=torch.Generator().manual_seed(0))
        for name, value in numbers.items():
            block.get_parameter(name).fill_(value)
        x = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        y = torch.relu(F.conv2d(F.pad(x + 0.3, (1, 1, 1, 1)), block.conv1.weight, stride=2) - 0.2)
        y = F.conv2d(F.pad(y + 0.5, (1, 1, 1, 1)), block.conv2.weight) * -2 + 0.7
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        torch.testing.assert_close(block(x), torch.relu(y + shortcut), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("made", ({"name": "plain8", "norm": "none"}, {"name": "resnet8", "norm": "batch"}))
@pytest.mark.parametrize("change", (skipinit, fixup))
def test_other_nets_are_refused(change, made: dict) -> None:
    with pytest.raises(InputError, match="residual nets without normalisation"):
        change(build_model(width=4, **made))


def test_shares_are_those_of_the_blocks_taken_apart_and_leave_the_net_as_it_was() -> None:
    net = build_model("resnet14-B", width=4, seed=2).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = birth_shares(net, images())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert found["place"].tolist() == [1, 2, 3, 4, 5, 6] and found["layer"].tolist()[::5] == ["layer1.0", "layer3.1"]
    x = F.relu(net.bn1(net.conv1(images())))
    for row, block in zip(found.itertuples(), (m for m in net.modules() if isinstance(m, Block)), strict=True):
        branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        short = block.downsample(x)
        assert row.share == pytest.approx(float(branch.norm() ** 2 / short.norm() ** 2), rel=1e-4)
        x = block(x)
    with pytest.raises(InputError, match="residual blocks"):
        birth_shares(build_model("plain8", width=4), images())


def test_normalised_branches_add_ever_less_and_bare_ones_do_not() -> None:
    """About 1/l: the mean square of what is there grows by about 1 a block, and that of a branch stays 1."""
    shares = {norm: birth_shares(build_model("resnet110", width=8, norm=norm).train(), images())["share"][:18] for norm in ("batch", "none")}
    normalised = shares["batch"].to_numpy()
    assert normalised[0] > 1 > normalised[1:].max() and 0.03 < normalised[-1] < 0.12 and normalised[8] / normalised[-1] == pytest.approx(2, rel=0.5)
    assert shares["none"].min() > 0.4
    assert not birth_shares(skipinit(build_model("resnet8", width=4, norm="none")), images())["share"].any()


def test_skipinits_alpha_scales_the_branch() -> None:
    one, half = (skipinit(build_model("resnet8", width=4, norm="none"), alpha) for alpha in (1.0, 0.5))
    bare = build_model("resnet8", width=4, norm="none")
    torch.testing.assert_close(one(images()), bare(images()))
    assert birth_shares(half, images())["share"][0] == pytest.approx(birth_shares(bare, images())["share"][0] / 4, rel=1e-5)
    assert isinstance(half, nn.Module)
