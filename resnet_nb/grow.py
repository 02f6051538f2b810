"""A net that starts where a shallower one ended: the construction argument of the paper's section 1 as an initialisation.

`--init grown:plain20` trains plain-20 first, with the recipe made for the data set and the same seed, and inserts identity blocks until the
net has the depth that was asked for. It then computes what plain-20 computes, in evaluation mode and, at the start, in training mode.
"""

import copy
import threading

import torch
from torch import nn

from resnet_nb.data import Data
from resnet_nb.errors import InputError
from resnet_nb.models import Spec, build_model, deepen, parse
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import get_recipe
from resnet_nb.train import fit

PREFIX = "grown:"
_last: dict[tuple, nn.Module] = {}  # the shallow net that was trained last: a study's runs of one seed share it
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


def build(name: str, target: Spec, data: Data, *, width: int | None, seed: int, device: str, trained: bool, progress: bool) -> nn.Module:
    """The net called `name`, trained and deepened to the depth of `target`.

    trained: False gives the right shape with untrained weights, for a run whose checkpoint holds them.
    """
    data = data.to("cpu")  # where the inserted blocks are measured, whatever the device
    small = parse(name)
    recipe = get_recipe(data=data.name).for_depth(small.depth)
    net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    if trained:
        key = name, width, seed, data.name, data.fingerprint, data.split, device, torch.get_num_threads()
        with _lock:
            if key not in _last:
                _last.clear()
                _last[key] = fit(net, data, recipe, seed, device, progress=progress).net.cpu()
            net = copy.deepcopy(_last[key])
    normalised = Normalisation.measured(data.train, recipe.normalise)(data.train.images[:IMAGES])
    return deepen(net.cpu(), target.blocks[0] - small.blocks[0], images=normalised.cpu(), seed=seed)
