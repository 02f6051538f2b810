"""Layer responses (the paper's Figure 7), what makes them a matter of units in a plain net, and the share of the branch, which is not.

Behind a ReLU a scale can be moved from one layer into the next: c ReLU(x) = ReLU(c x) for c > 0. Where nothing is added in between, the net's
function stays as it was, and the layer's response is c times what it was.
"""

import copy
from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Net
from resnet_nb.probes.blocks import branch, residual_blocks, shortcut, stage_of
from resnet_nb.probes.checks import check_batch, check_ran
from resnet_nb.probes.trace import responses
from resnet_nb.protocols.evaluate import evaluation_mode


def layer_responses(net: nn.Module, images: Tensor) -> pd.DataFrame:
    """The standard deviation of each convolution's response, in evaluation mode, as in Figure 7: after normalisation, before ReLU and addition.

    images: (N, C, H, W), normalised. Columns layer (its name), place (from 1, in the net's order), response. Projections are left out.
    Raises InputError as `trace.responses` does, and for a net none of whose convolutions is called conv1 or the like.
    """
    with evaluation_mode(net):
        found = responses(net, images)
    names = [name for name in found if name.split(".")[-1].startswith("conv")]
    if not names:
        raise InputError(f"A {type(net).__name__} has no convolution that is called conv1 or the like: use a plain net or a ResNet.")
    return pd.DataFrame([(name, place, found[name]) for place, name in enumerate(names, 1)], columns=["layer", "place", "response"])


@torch.no_grad()
def branch_shares(net: nn.Module, images: Tensor) -> pd.DataFrame:
    """How large each residual block's branch is beside what its shortcut passes on, in evaluation mode, on normalised images (N, C, H, W).

    Columns block, stage, branch and shortcut (root mean squares over images, channels and positions), ratio (branch over shortcut). A block whose
    last scale is zero has the ratio 0. Raises InputError as `residual_blocks` does, and for images that the net cannot take.
    """
    check_batch(net, images)
    known = residual_blocks(net)
    inputs: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0])) for name, block in known.items()
    ]  # fmt: skip
    try:
        with evaluation_mode(net):
            net(images)
            check_ran(known, inputs)
            rows = [(name, stage_of(name), _rms(branch(block, inputs[name])), _rms(shortcut(block, inputs[name]))) for name, block in known.items()]
    finally:
        for hook in hooks:
            hook.remove()
    table = pd.DataFrame(rows, columns=["block", "stage", "branch", "shortcut"])
    return table.assign(ratio=table["branch"] / table["shortcut"])


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@torch.no_grad()
def rescaled(net: Net, factors: Mapping[str, float]) -> Net:
    """A copy of one of our nets that computes the same function in both modes, with the responses of the named layers multiplied.

    factors: {a convolution's name: a positive number}. In a plain net every convolution will do; in a residual one those inside a block, conv1,
    alone: the other responses are added to the shortcut, which has a scale already. The numbers are the same to the last bit where every factor
    is a power of 2, else up to rounding. Raises InputError for other layers and numbers.
    """
    if not isinstance(net, Net):
        raise InputError(f"A {type(net).__name__} is not one of this package's nets: build one with build_model.")
    if getattr(net, "activation", "relu") not in ("relu", "none"):
        raise InputError(f"A scale does not pass through {net.activation}: take a net with ReLU.")
    changed = copy.deepcopy(net)
    modules = dict(changed.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d) and "downsample" not in name]
    follows = dict(zip(convolutions, [*convolutions[1:], "fc"], strict=True))
    for name, factor in factors.items():
        if name not in follows:
            raise InputError(f"The net has no convolution {name!r}: it has {', '.join(convolutions[:3])} and so on.")
        if net.option is not None and not (name.startswith("layer") and name.endswith(".conv1")):
            raise InputError(f"{name} of a residual net is added to the shortcut: only a block's first convolution can be rescaled.")
        if not 0 < factor < float("inf"):
            raise InputError(f"A factor of {factor:g} for {name}: take a positive number, as a ReLU lets no other pass.")
        _scale_output(modules, name, factor)
        modules[follows[name]].weight /= factor
    return changed


def _scale_output(modules: dict[str, nn.Module], name: str, factor: float) -> None:
    """Multiply what a convolution and its normalisation give."""
    norm = modules[name.replace("conv", "bn")]
    last = norm if isinstance(norm, nn.BatchNorm2d) else modules[name]
    last.weight *= factor
    if last.bias is not None:
        last.bias *= factor
