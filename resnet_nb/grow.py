"""A net that starts where a shallower one ended: the construction argument of the paper's section 1 as an initialisation.

`--init grown:plain20` trains plain-20 first, with the recipe made for the data set and the same seed, and inserts identity blocks until the
net has the depth that was asked for. It then computes what plain-20 computes, in evaluation mode and, at the start, in training mode.
"""

import threading

import torch
from torch import Tensor, nn

from resnet_nb.data import Data
from resnet_nb.errors import InputError
from resnet_nb.models import Spec, build_model, deepen, parse
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.train import fit

PREFIX = "grown:"
_last: dict[tuple, dict[str, Tensor]] = {}  # the weights of the shallow net that was trained last in memory
_lock = threading.Lock()
IMAGES = 2_000  # that the inserted blocks' scale and offset are measured on; all 1,400 of the digits


def shallow_net(init: str, model: str) -> str | None:
    """The shallower net that `init` names, or None. Raises InputError where `model` cannot be grown from it."""
    if not init.startswith(PREFIX):
        return None
    name = init.removeprefix(PREFIX)
    small, large = parse(name), parse(model)
    if (small.family, small.option, small.stem) != (large.family, large.option, large.stem) or small.depth > large.depth:
        raise InputError(f"--init {init}: a {model} is grown from a net of its own kind that is not deeper than it.")
    return name


def recipe_of(data: Data) -> Recipe:
    """The recipe that the shallow net is trained with: the one made for the data set."""
    return get_recipe(data=data.name)


def build(name: str, target: Spec, data: Data, *, width: int | None, seed: int, device: str, progress: bool) -> nn.Module:
    """The net called `name`, trained in memory and deepened to the depth of `target`; `runs.train` trains it in a folder."""
    key = name, width, seed, data.name, data.fingerprint, data.split, device, torch.get_num_threads()
    with _lock:
        if key not in _last:
            _last.clear()
            net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
            recipe = recipe_of(data).for_depth(parse(name).depth)
            _last[key] = fit(net, data, recipe, seed, device, progress=progress).net.cpu().state_dict()
        weights = _last[key]
    return deepened(name, target, data, width=width, seed=seed, weights=weights)


def deepened(name: str, target: Spec, data: Data, *, width: int | None, seed: int, weights: dict[str, Tensor] | None) -> nn.Module:
    """The net called `name` with these weights, deepened to the depth of `target`, on the CPU.

    weights: a state dict; None gives the right shape with untrained weights, for a run whose checkpoint holds them.
    """
    data, small = data.to("cpu"), parse(name)
    net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    net = net.to(memory_format=torch.channels_last)  # as it is trained: kernels for another layout may round otherwise
    if weights is not None:
        net.load_state_dict(weights)
    normalised = Normalisation.measured(data.train, recipe_of(data).normalise)(data.train.images[:IMAGES])
    return deepen(net, target.blocks[0] - small.blocks[0], images=normalised, seed=seed)
