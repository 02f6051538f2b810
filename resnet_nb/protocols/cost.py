"""What a test protocol costs: FLOPs of one picture, counted by torch on shapes alone."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_nb.protocols.geometry import Protocol, box, resized_size


def flops(net: nn.Module, protocol: Protocol, height: int, width: int, channels: int = 3) -> int:
    """FLOPs (two to a multiply-add) of the net's convolutions and matrix products on all views of one picture of height x width pixels.

    The net is not run. A dense pass is counted with one classifier; that of each further window adds about a hundredth.
    """
    shape = copy.deepcopy(net).to("meta").eval()
    total = 0
    for view in protocol.views():
        size = box(view, *resized_size(height, width, view.short), protocol.crop, protocol.pad)[2:]
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            shape(torch.empty(1, channels, *size, device="meta"))
        total += counter.get_total_flops()
    return total
