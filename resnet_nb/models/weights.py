"""Weights from files: this package's own, and those in the published CIFAR ResNet layout."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_nb.errors import InputError

RENAMED = {"linear.": "fc.", ".shortcut.": ".downsample."}  # published name, ours (torchvision's)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The state dict in a file: bare, or under `state_dict`, with or without `module.`; names as our nets have them.

    Only tensors are read (`weights_only=True`), so that a file cannot run code. Raises InputError naming the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}: check the path after --weights.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is damaged, or holds more than plain tensors, and was not read: fetch it again.") from error
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not stored or not all(isinstance(v, Tensor) for v in stored.values()):
        raise InputError(f"{path} holds no state dict (names and tensors): give the file that torch.save wrote of one.")
    return {_our_name(name): tensor for name, tensor in stored.items()}


def _our_name(name: str) -> str:
    name = name.removeprefix("module.")
    for theirs, ours in RENAMED.items():
        name = ours + name.removeprefix(theirs) if name.startswith(theirs) else name
        if theirs.startswith("."):
            name = name.replace(theirs, ours)
    return name


def load_weights(net: nn.Module, weights: dict[str, Tensor], source: str = "the weights") -> None:
    """Put `weights` into `net`. Raises InputError listing what does not fit, before anything is changed."""
    own = net.state_dict()
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}  # older files lack that counter
    given = {name for name in weights if not name.endswith("num_batches_tracked")}
    faults = [f"{name} is missing" for name in sorted(wanted - given)]
    faults += [f"{name} is not in the model" for name in sorted(given - wanted)]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)} where the model has {tuple(own[name].shape)}"
        for name in sorted(wanted & given)
        if weights[name].shape != own[name].shape
    ]
    if faults:
        shown = "; ".join(faults[:12]) + (f"; and {len(faults) - 12} more" if len(faults) > 12 else "")
        raise InputError(f"{source} do not fit the model ({len(faults)} faults): {shown}.")
    net.load_state_dict({name: weights[name] for name in given}, strict=False)
