"""A net that starts where a shallower one ended: the construction argument of the paper's section 1 as an initialisation.

`--init grown:plain20` trains plain-20 first, with the recipe made for the data set and the same seed, and inserts identity blocks until the
net has the depth that was asked for. It then computes what plain-20 computes, in evaluation mode and, at the start, in training mode.
`--init grown:plain20@STUDY` begins with the plain-20 whose weights lie beside its record in that study, and trains none.
"""

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_nb import records
from resnet_nb.data import Data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.models import Spec, build_model, deepen, parse
from resnet_nb.models.weights import load_weights
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.records import places
from resnet_nb.records.kept import WEIGHTS, read_weights_file
from resnet_nb.training.train import fit

PREFIX, IN = "grown:", "@"
_last: dict[tuple, dict[str, Tensor]] = {}  # the weights of the shallow net that was trained last in memory
_lock = threading.Lock()
IMAGES = 2_000  # that the inserted blocks' scale and offset are measured on; all 1,400 of the digits


def shallow_net(init: str, model: str) -> str | None:
    """The shallower net that `init` names, or None. Raises InputError where `model` cannot be grown from it."""
    if not init.startswith(PREFIX):
        return None
    name = init.removeprefix(PREFIX).partition(IN)[0]
    small, large = parse(name), parse(model)
    if (small.family, small.option, small.stem) != (large.family, large.option, large.stem) or small.depth > large.depth:
        raise InputError(f"--init {init}: a {model} is grown from a net of its own kind that is not deeper than it.")
    return name


def kept_weights(init: str, data: Data, *, width: int, seed: int) -> Path | None:
    """The file of the weights that `init` asks for from a study, of the net of this width and seed; None where it names no study.

    Raises InputError where the study holds no such net, or several, or its weights were not kept.
    """
    name, at, study = init.removeprefix(PREFIX).partition(IN)
    if not at:
        return None
    records.check_study(study)
    folder = places.results_dir() / study
    wanted = (name, "he-fan-in", width, data.fingerprint, data.split, seed)
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        record = records.read_record(path)
        if record["kind"] == "training" and WEIGHTS in records.beside(path):
            model, on = record["model"], record["data"]
            here = (model["name"], model["init"], model["width"], on["fingerprint"], on["split"], record["seed"])
            found += [path.with_suffix(WEIGHTS)] if here == wanted else []
    if len(found) != 1:
        what = "no weights" if not found else f"weights of {len(found)} runs"
        raise InputError(f"--init {init}: results/{study} holds {what} of a {name} of seed {seed} trained on this data: leave {IN}{study} out.")
    return found[0]


def read_kept(path: Path) -> dict[str, Tensor]:
    """A state dict, without batch counters, from a file of kept weights. Raises InputError for one that is not what its list says."""
    arrays, _, _ = read_weights_file(path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


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

    weights: a state dict, batch counters or not; None gives the right shape with untrained weights, for a run whose checkpoint holds them.
    """
    data, small = data.to("cpu"), parse(name)
    net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    net = net.to(memory_format=torch.channels_last)  # as it is trained: kernels for another layout may round otherwise
    if weights is not None:
        load_weights(net, weights, f"The weights of the {name}")
    normalised = Normalisation.measured(data.train, recipe_of(data).normalise)(data.train.images[:IMAGES])
    return deepen(net, target.blocks[0] - small.blocks[0], images=normalised, seed=seed)
