"""The paper's construction argument (section 1), carried out: a deeper net that computes what the shallower one computes."""

import copy
import threading

import numpy as np
import torch
from torch import Tensor, nn

from resnet_nb.models.nets import Block, Net, initialise

GLOBAL_GENERATOR = threading.Lock()  # torch's: held where layers are made, which draw from it before they are initialised


def deepen(net: Net, blocks: int, *, images: Tensor | None = None, seed: int = 0) -> Net:
    """A copy of `net` with `blocks` identity blocks more at the end of each stage; the function stays the same.

    A residual net gets blocks whose last scale is zero, so that each returns its input, in evaluation and in training mode.
    A plain net gets Dirac kernels, which pass on an input that is never negative, as it is after a ReLU. In evaluation mode that is
    exact. In training mode batch normalisation would re-normalise it with the batch's statistics, unless its scale and offset
    are those statistics: give `images`, a normalised batch (N, C, H, W), and the statistics are taken there, in training mode.
    Without `images` a plain net is deepened naively: scale and offset undo the statistics of evaluation mode alone.

    `seed` draws the residual blocks' convolutions (which train once the scale has moved).
    Raises TypeError for another model, ValueError for blocks < 0 and for a net without batch normalisation or with another activation than ReLU.
    """
    if blocks < 0:
        raise ValueError(f"deepen inserts blocks: {blocks} is less than none")
    if not isinstance(net, Net):
        raise TypeError(f"deepen takes one of this package's nets, not a {type(net).__name__}")
    if net.norm != "batch":
        raise ValueError("deepen needs batch normalisation, whose scale and offset make an inserted block the identity")
    if net.activation != "relu":
        raise ValueError("deepen needs ReLU, which passes on what is not negative: an inserted block ends with it")
    deeper = copy.deepcopy(net)
    plain = net.option is None
    places = _stage_statistics(net, images) if plain and images is not None else {}
    like = net.fc.weight
    for number, name in enumerate(net.stages):
        stage = getattr(deeper, name)
        width = stage[-1].conv2.out_channels
        for _ in range(blocks):
            with GLOBAL_GENERATOR:
                block = Block(width, width, 1, None if plain else "A", conv_bias=net.conv1.bias is not None)
            block = block.to(like.device, like.dtype)
            if plain:
                _make_dirac(block, *places.get(name, (like.new_zeros(width), like.new_ones(width))))
            else:
                own_seed = np.random.SeedSequence([seed, number, len(stage)]).generate_state(1, np.uint32)[0]
                initialise(block, int(own_seed))
                nn.init.zeros_(block.bn2.weight)
            stage.append(block)
    return deeper.train(net.training)


@torch.no_grad()
def _make_dirac(block: Block, mean: Tensor, variance: Tensor) -> None:
    """Make a plain block pass its input on: Dirac kernels, and normalisation that gives back what it takes away."""
    for conv, bn in ((block.conv1, block.bn1), (block.conv2, block.bn2)):
        nn.init.dirac_(conv.weight)
        if conv.bias is not None:
            conv.bias.zero_()
        bn.running_mean.copy_(mean)
        bn.running_var.copy_(variance)
        bn.weight.copy_((variance + bn.eps).sqrt())
        bn.bias.copy_(mean)


@torch.no_grad()
def _stage_statistics(net: Net, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and (biased) variance per channel of each stage's output in training mode, in the net's own dtype."""
    probe = copy.deepcopy(net).train()  # training mode moves running statistics, so it happens in a copy
    found = {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
            found[name] = mean, variance

        return hook

    for name in probe.stages:
        getattr(probe, name).register_forward_hook(keep(name))
    probe(images)
    return found
