"""Every layer along a training run: the norms of its weights and gradient, how far and by what angle an update moves it, and its response.

Behind batch normalisation the norm of a convolution's weights is a gauge: twice the weights compute the same function, with half the gradient.
What an update does to the function is told by the angle that it turns the weights, which no such scale changes.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from resnet_nb.probes.checks import check_batch, check_ran, check_weights, ran_twice, same_randomness

EVERY = 20  # the first updates are all looked at: what they do to the weights is over soon
GROWTH = 1.15  # of the distance between two later ones: 17 to a tenfold number of iterations


def trace_steps(total: int) -> tuple[int, ...]:
    """The updates to look at in a run of `total`, counted from 0: the first 20, then ever fewer, and the last one."""
    steps, step = set(range(min(EVERY, total))), float(EVERY)
    while step < total:
        steps.add(int(step))
        step *= GROWTH
    return tuple(sorted({*steps, total - 1}))


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and the classifier by name, in the order in which the net lists them."""
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def watched(net: nn.Module, images: Tensor, watchers: Iterable[tuple[nn.Module, Callable[[Tensor], None]]]) -> None:
    """A forward pass of which each module's output goes to its watcher; the net, its statistics and hooks, and torch's generators stay as they were.

    Raises InputError for images that the net cannot take.
    """
    check_batch(net, images)
    hooks = [module.register_forward_hook(lambda _, __, output, keep=keep: keep(output)) for module, keep in watchers]
    try:
        with torch.no_grad(), same_randomness(net):
            functional_call(net, {name: buffer.clone() for name, buffer in net.named_buffers()}, (images,))
    finally:
        for hook in hooks:
            hook.remove()


def responses(net: nn.Module, images: Tensor) -> dict[str, float]:
    """The standard deviation of each layer's response, by the layer's name.

    images: (N, C, H, W), normalised. A layer's response is its output after batch normalisation and before ReLU and addition (section 4.2, Figure 7),
    or its own output where none follows. The net is left as it was, its running statistics too, in whichever mode it is. Raises InputError for images
    that the net cannot take, and for a layer that a forward pass does not use once.
    """
    found: dict[str, float] = {}
    last = ""

    def keep(name: str, output: Tensor) -> None:
        nonlocal last
        if name in found:
            raise ran_twice(name)
        last = name or last
        found[last] = float(output.double().std())

    watchers = [(module, partial(keep, name)) for name, module in layers(net).items()]
    watchers += [(module, partial(keep, "")) for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    watched(net, images, watchers)
    check_ran(layers(net), found)
    return {name: found[name] for name in layers(net)}


class LayerTrace:
    """Collects rows of `kept.TRACE_COLUMNS` while a net is trained: `before` and `after` an update, called around those of `steps`.

    images: (N, C, H, W), normalised, for the responses. Rows say what the update number `iteration`, counted from 0, found and did:
    weight_norm: of the weights before it. gradient_norm: of the loss's gradient as the optimiser was given it, without weight decay.
    relative_step: the norm of the weights' change over that of the weights. angle: between the weights before and after it, in radians.
    response: see `responses`, before it, with the statistics of `images` alone.
    Of weights that are all zero, relative_step and angle are NaN, and so is the gradient_norm of a layer that has no gradient; a trace's file has
    an empty field there. Raises InputError as `responses` does, and for layers whose weights are no parameter of their own.
    """

    def __init__(self, net: nn.Module, images: Tensor, total: int):
        check_batch(net, images)
        check_weights(layers(net))
        self.net, self.images, self.steps = net, images, frozenset(trace_steps(total))
        self.rows: list[list] = []
        self.weights: Mapping[str, Tensor] = {}
        self.responses: Mapping[str, float] = {}

    def before(self) -> None:
        """Keep what the coming update finds."""
        self.weights = {name: module.weight.detach().double().clone() for name, module in layers(self.net).items()}
        self.responses = responses(self.net, self.images)

    def after(self, step: int) -> None:
        """Add the rows of the update number `step`, which has just been taken."""
        for name, module in layers(self.net).items():
            old, new = self.weights[name], module.weight.detach().double()
            slope = module.weight.grad
            norm, gradient = float(old.norm()), math.nan if slope is None else float(slope.double().norm())
            change = float((new - old).norm()) / norm if norm else math.nan
            self.rows.append([step, name, norm, gradient, change, angle(old, new), self.responses[name]])


def angle(one: Tensor, other: Tensor) -> float:
    """The angle between two tensors of one shape as vectors, in radians; exact for small ones too, where the cosine is 1 (Kahan 2006).

    NaN where one of them is zero, which points nowhere.
    """
    one, other = (tensor.double() / tensor.double().norm() for tensor in (one, other))
    return 2 * math.atan2(float((one - other).norm()), float((one + other).norm()))
