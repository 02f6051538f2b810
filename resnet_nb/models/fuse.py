"""A block with several branches in training and one convolution at test time (RepVGG, Ding et al. 2021, arXiv 2101.03697, section 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ThreeBranches(nn.Module):
    """3x3 + 1x1 + identity, each with batch normalisation, then ReLU. (N, channels, H, W) in and out.

    The identity is there only where the shape stays: stride 1 and equal channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv3 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn0 = nn.BatchNorm2d(out_channels) if stride == 1 and in_channels == out_channels else None

    def branches(self, x: Tensor) -> Tensor:
        """The sum, before ReLU."""
        y = self.bn3(self.conv3(x)) + self.bn1(self.conv1(x))
        return y if self.bn0 is None else y + self.bn0(x)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branches(x))


@torch.no_grad()
def fused(block: ThreeBranches) -> nn.Conv2d:
    """The one 3x3 convolution, with a bias, that gives `block.branches` in evaluation mode, up to rounding, on every input and in its dtype.

    Each branch is a 3x3 kernel: the 1x1 one stands in its centre, and the identity is a 1 there, from each channel to itself. Batch normalisation
    with fixed statistics multiplies a kernel by scale / sqrt(variance + eps) and adds an offset. The zeros around the map are the same for all three,
    because each branch pads (or leaves) the input before its normalisation.
    """
    kernel, bias = _folded(block.conv3.weight, block.bn3)
    one, offset = _folded(F.pad(block.conv1.weight, (1, 1, 1, 1)), block.bn1)
    kernel, bias = kernel + one, bias + offset
    if block.bn0 is not None:
        one, offset = _folded(nn.init.dirac_(torch.empty_like(block.conv3.weight)), block.bn0)
        kernel, bias = kernel + one, bias + offset
    conv = nn.Conv2d(block.conv3.in_channels, block.conv3.out_channels, 3, block.conv3.stride, 1).to(kernel.device, kernel.dtype)
    conv.weight.copy_(kernel)
    conv.bias.copy_(bias)
    return conv


def _folded(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution followed by `norm` with its running statistics."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return kernel * scale.view(-1, 1, 1, 1), norm.bias - scale * norm.running_mean
