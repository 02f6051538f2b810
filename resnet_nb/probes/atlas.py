"""The gradient atlas: every layer of a net on one batch, forwards and backwards, and how far one update would turn its weights.

Behind batch normalisation the norm of a layer's weights is a gauge: twice the weights compute the same function with half the gradient. So beside
the raw gradient stand two quantities that no such scale changes (the first) or that say what an update does (the second): the gradient's norm
times the weights', and the angle by which one step of gradient descent turns the weights.
"""

import math
from collections.abc import Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from resnet_nb.errors import InputError
from resnet_nb.probes.trace import layers

COLUMNS = (
    "place", "layer", "weight_norm", "output_norm", "output_variance", "output_gradient", "weight_gradient", "scale_free", "angle",
)  # fmt: skip


def atlas(net: nn.Module, images: Tensor, labels: Tensor, *, rate: float = 0.1) -> pd.DataFrame:
    """Every convolution and linear layer on one batch, in the order in which the net lists them: one row a layer, with COLUMNS.

    images: (N, C, H, W), normalised; labels: (N,) int64. The loss is the batch's mean cross-entropy. The net is used in whichever mode it is and
    left as it was: weights, gradients, running statistics, hooks.

    weight_norm: of the weights W. output_norm, output_variance: of the layer's output z, over all its entries, before normalisation.
    output_gradient: the norm of dL/dz over the batch. weight_gradient: the norm of dL/dW. scale_free: weight_gradient times weight_norm.
    angle: between W and W - rate dL/dW, in radians: the first update without momentum (weight decay, along W, turns nothing).
    Raises InputError for a batch of one, of which batch normalisation makes nothing.
    """
    if len(images) < 2:
        raise InputError("The gradient atlas needs a batch of at least two images: batch normalisation makes zeros of one alone.")
    found = layers(net)
    outputs: dict[str, Tensor] = {}
    hooks = [module.register_forward_hook(_keeper(outputs, name)) for name, module in found.items()]
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in net.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    try:
        with torch.enable_grad():
            loss = F.cross_entropy(functional_call(net, weights | buffers, (images,)), labels)
    finally:
        for hook in hooks:
            hook.remove()
    kernels = [weights[f"{name}.weight"] for name in found]
    gradients = torch.autograd.grad(loss, [*(outputs[name] for name in found), *kernels])
    rows = []
    for place, (name, kernel) in enumerate(zip(found, kernels, strict=True)):
        output, behind, slope = outputs[name].detach().double(), gradients[place].double(), gradients[len(found) + place].double()
        size, steep = float(kernel.detach().double().norm()), float(slope.norm())
        values = float(output.norm()), float(output.var(correction=0)), float(behind.norm()), steep, steep * size
        rows.append((place, name, size, *values, _angle(kernel.detach().double(), slope, rate)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _keeper(outputs: dict[str, Tensor], name: str):
    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        outputs[name] = output

    return hook


def _angle(weight: Tensor, gradient: Tensor, rate: float) -> float:
    """The angle between `weight` and `weight - rate * gradient`, from the gradient's parts along and across: exact for tiny ones too."""
    length = float(weight.norm())
    along = float((weight * gradient).sum()) / length
    across = float((gradient - weight * (along / length)).norm())
    return math.atan2(rate * across, length - rate * along)


def over_seeds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Atlases of one architecture with several seeds as one: the geometric mean of every quantity, layer by layer.

    A zero in one of them, which a gradient that underflows leaves, makes the mean zero. Raises ValueError where the layers differ.
    """
    first = tables[0]
    if any(list(table["layer"]) != list(first["layer"]) for table in tables):
        raise ValueError("The atlases are of nets with other layers: give those of one architecture.")
    stacked = pd.concat([table.assign(seed=number) for number, table in enumerate(tables)])
    with_logs = stacked.set_index(["place", "layer", "seed"]).map(_log)
    means = with_logs.groupby(["place", "layer"], sort=False).mean().map(math.exp)
    return means.reset_index()[list(COLUMNS)]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
