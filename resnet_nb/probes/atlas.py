"""The gradient atlas: every layer of a net on one batch, forwards and backwards, and how far one update would turn its weights.

Behind batch normalisation the norm of a layer's weights is a gauge: twice the weights compute the same function with half the gradient. So beside
the raw gradient stand two quantities that no such scale changes (the first) or that say what an update does (the second): the gradient's norm
times the weights', and the angle by which one step of gradient descent turns the weights.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Block
from resnet_nb.probes.checks import check_batch, check_ran, check_weights, ran_twice, same_randomness
from resnet_nb.probes.trace import layers

COLUMNS = (
    "place", "layer", "weight_norm", "output_norm", "output_variance", "output_gradient", "weight_gradient", "scale_free", "angle",
)  # fmt: skip
STREAM = ("place", "layer", "output_norm", "output_variance", "output_gradient")


def atlas(net: nn.Module, images: Tensor, labels: Tensor, *, rate: float = 0.1) -> pd.DataFrame:
    """Every convolution and linear layer on one batch, in the order in which the net lists them: one row a layer, with COLUMNS.

    images: (N, C, H, W), normalised; labels: (N,) int64. The loss is the batch's mean cross-entropy. The net is used in whichever mode it is and
    left as it was: weights, gradients, running statistics, hooks; and so are torch's generators.

    weight_norm: of the weights W. output_norm, output_variance: of the layer's output z, over all its entries, before normalisation.
    output_gradient: the norm of dL/dz over the batch. weight_gradient: the norm of dL/dW. scale_free: weight_gradient times weight_norm.
    angle: between W and W - rate dL/dW, in radians: the first update without momentum (weight decay, along W, turns nothing);
    NaN where W is zero.
    Raises InputError for a batch of one, of which batch normalisation makes nothing, or that the net cannot take otherwise; for a net without such
    layers; and for a layer whose weights are no parameter of its own, which a forward pass does not use once, or whose output is
    overwritten in place.
    """
    found = layers(net)
    check_weights(found)
    outputs, behind, slopes = _backward(net, found, images, labels)
    rows = []
    for place, (name, module) in enumerate(found.items()):
        weight, slope = module.weight.detach().double(), slopes[place].double()
        size, steep = float(weight.norm()), float(slope.norm())
        rows.append((place, name, size, *_of_output(outputs[place], behind[place]), steep, steep * size, _angle(weight, slope, rate)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def stream(net: nn.Module, images: Tensor, labels: Tensor) -> pd.DataFrame:
    """The same of the outputs of the net's blocks, after addition and activation: one row a block, with STREAM.

    Where a branch ends in a scale of zero no gradient reaches its layers, and it is here that the gradient's way is seen. Raises InputError as
    `atlas` does.
    """
    found = {name: module for name, module in net.named_modules() if isinstance(module, Block)}
    outputs, behind, _ = _backward(net, found, images, labels)
    rows = [(place, name, *_of_output(outputs[place], behind[place])) for place, name in enumerate(found)]
    return pd.DataFrame(rows, columns=list(STREAM))


def _backward(
    net: nn.Module, modules: Mapping[str, nn.Module], images: Tensor, labels: Tensor
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """What the modules put out, the loss's gradient there, and at the weights of those that have any; nothing of the net is changed."""
    if len(images) < 2 or not modules:
        raise InputError("The gradient atlas needs one of our nets and two images or more: batch normalisation makes zeros of one alone.")
    check_batch(net, images, labels)
    outputs: dict[str, Tensor] = {}
    versions: dict[str, int] = {}

    def keep(name: str, output: Tensor) -> None:
        if name in outputs:
            raise ran_twice(name)
        outputs[name], versions[name] = output, output._version

    hooks = [module.register_forward_hook(lambda _, __, output, name=name: keep(name, output)) for name, module in modules.items()]
    try:
        with torch.inference_mode(False), torch.enable_grad(), same_randomness(net):  # clones, as those of inference mode take no part in this
            copies = {name: parameter.detach().clone().requires_grad_() for name, parameter in net.named_parameters()}
            buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
            loss = F.cross_entropy(functional_call(net, copies | buffers, (images.clone(),)), labels.clone())
    finally:
        for hook in hooks:
            hook.remove()
    check_ran(modules, outputs)
    if overwritten := [name for name, output in outputs.items() if output._version != versions[name]]:
        raise InputError(f"What {overwritten[0]} puts out is overwritten by the layer after it: build the net's activations with inplace=False.")
    weights = [copies[f"{name}.weight"] for name in modules if f"{name}.weight" in copies]
    kept = [outputs[name] for name in modules]
    found = torch.autograd.grad(loss, [*kept, *weights], allow_unused=True)
    slopes = found[: len(kept)]
    check_ran(modules, [name for name, slope in zip(modules, slopes, strict=True) if slope is not None])
    return [output.detach() for output in kept], list(slopes), list(found[len(kept) :])


def _of_output(output: Tensor, gradient: Tensor) -> tuple[float, float, float]:
    output = output.double()
    return float(output.norm()), float(output.var(correction=0)), float(gradient.double().norm())


def _angle(weight: Tensor, gradient: Tensor, rate: float) -> float:
    """The angle between `weight` and `weight - rate * gradient`, from the gradient's parts along and across: exact for tiny ones too.

    NaN where `weight` is zero, which points nowhere.
    """
    length = float(weight.norm())
    if not length:
        return math.nan
    along = float((weight * gradient).sum()) / length
    across = float((gradient - weight * (along / length)).norm())
    return math.atan2(rate * across, length - rate * along)


def over_seeds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Atlases of one architecture with several seeds as one: the geometric mean of every quantity, layer by layer.

    A zero in one of them, which a gradient that underflows leaves, makes the mean zero, and a NaN makes it NaN. Raises ValueError where the layers
    differ.
    """
    first, names = tables[0], ["place", "layer"]
    if any(list(table["layer"]) != list(first["layer"]) for table in tables):
        raise ValueError("The atlases are of nets with other layers: give those of one architecture.")
    stacked = pd.concat([table.assign(seed=number) for number, table in enumerate(tables)])
    logs = stacked.set_index([*names, "seed"]).map(_log)
    means, unknown = logs.groupby(names, sort=False).mean(), logs.isna().groupby(names, sort=False).any()  # the mean leaves NaN out
    return means.mask(unknown).map(math.exp).reset_index()


def _log(value: float) -> float:
    return math.log(value) if value > 0 or math.isnan(value) else -math.inf
