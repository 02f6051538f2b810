"""Three branches and the one convolution that they are."""

import pytest
import torch
from torch import nn

from resnet_nb.models.fuse import ThreeBranches, fused


def trained(in_channels: int, out_channels: int, stride: int) -> ThreeBranches:
    block = ThreeBranches(in_channels, out_channels, stride).double()
    for _ in range(3):  # statistics that are not 0 and 1
        block(3 * torch.randn(4, in_channels, 9, 9, dtype=torch.float64) + 1)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return block.eval()


@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(5, 5, 1), (5, 7, 1), (5, 10, 2), (4, 4, 2)])
def test_one_convolution_gives_what_three_branches_give(in_channels: int, out_channels: int, stride: int) -> None:
    block = trained(in_channels, out_channels, stride)
    x = torch.randn(6, in_channels, 9, 9, dtype=torch.float64)
    conv = fused(block)
    assert (block.bn0 is None) == (stride != 1 or in_channels != out_channels)
    assert float((conv(x) - block.branches(x)).abs().max()) < 1e-12
    assert torch.allclose(torch.relu(conv(x)), block(x))


def test_the_kernel_of_a_block_of_identities_is_the_identitys() -> None:
    block = ThreeBranches(3, 3).double().eval()
    with torch.no_grad():
        block.conv3.weight.zero_()
        block.conv1.weight.zero_()
    kernel = fused(block).weight * (1 + block.bn0.eps) ** 0.5
    assert torch.allclose(kernel[:, :, 1, 1], torch.eye(3, dtype=torch.float64)) and float(kernel.abs().sum()) == pytest.approx(3)


def test_in_training_mode_it_is_another_function() -> None:
    """Batch statistics depend on the batch: only fixed ones are a kernel."""
    block = trained(4, 4, 1)
    x = torch.randn(6, 4, 9, 9, dtype=torch.float64)
    conv = fused(block)
    assert not torch.allclose(conv(x), block.train().branches(x), rtol=0.1)
