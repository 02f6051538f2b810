"""Weights from files: this package's own, and those in the two layouts that public CIFAR ResNets have."""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.records.kept import WEIGHTS, read_weights_file

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
BIAS = re.compile(r"(.+\.)?(conv[0-9]|downsample\.0)\.bias")
FLAT = (("^linear\\.", "fc."), ("\\.shortcut\\.", ".downsample."))  # akamaster/pytorch_resnet_cifar10 and its kin; patterns to our names
NESTED = (  # wooyeolBaek/deep-residual-learning: stages as Table 1 calls them, each module inside another of its name, blocks as sequences
    (r"^(conv1|fc)\.\1\.", r"\1."),
    (r"^conv1\.bn1\.", "bn1."),
    *((rf"^conv{stage + 1}_x\.conv{stage + 1}_x\.", f"layer{stage}.") for stage in range(1, 5)),
    *((rf"\.f\.{place}\.", f".{ours}.") for place, ours in ((0, "conv1"), (1, "bn1"), (3, "conv2"), (4, "bn2"))),
    (r"\.shortcut\.shortcut\.", ".downsample."),
)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The state dict in a file: bare, or under `state_dict`, with or without `module.`; names as our nets have them.

    Only tensors are read (`weights_only=True`), so that a file cannot run code. Raises InputError naming the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file {path}: check the path after --weights.")
    if path.name.endswith(WEIGHTS):
        return {name: torch.from_numpy(array) for name, array in read_weights_file(path)[0].items()}
    try:
        stored = read_tensors(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged, or holds more than plain tensors, and was not read: fetch it again.") from error
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not stored or not all(isinstance(k, str) and _is_dense(v) for k, v in stored.items()):
        raise InputError(f"{path} holds no state dict (names and tensors of real numbers): give the file that torch.save wrote of one.")
    renamed = dict(zip(_our_names(stored), stored.values(), strict=True))
    if len(renamed) < len(stored):
        raise InputError(f"{path} names a tensor twice, as linear and as fc or with and without module.: give a plain state dict.")
    return renamed


def read_tensors(path: Path) -> object:
    """What torch.save wrote to `path`: tensors, numbers, strings and containers of them, nothing that runs code.

    Raises ValueError for any damage: torch itself does not compare the checksums that the file carries.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise ValueError("a checksum differs")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways, in the archive, in the unpickler, in the tensors
        raise ValueError(f"{path} cannot be read: {error}") from error


def _is_dense(value: object) -> bool:
    """Whether a value is a tensor such as a state dict holds: real numbers, or a batch counter."""
    return isinstance(value, Tensor) and value.layout is torch.strided and value.dtype in (torch.int64, *FLOATS)


def _our_names(names: Iterable[str]) -> list[str]:
    """Each name as our nets (and torchvision's) have it, by the layout that the names are in; of an unknown layout, unchanged."""
    bare = [name.removeprefix("module.") for name in names]
    for pattern, ours in NESTED if any(name.startswith("conv2_x.") for name in bare) else FLAT:
        bare = [re.sub(pattern, ours, name) for name in bare]
    return bare


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
        biases = wanted < given and all(BIAS.fullmatch(name) for name in given - wanted)
        remedy = "; the convolutions have biases there: build the model with --conv-bias" if biases else ""
        raise InputError(f"{source} do not fit the model ({len(faults)} faults): {shown}{remedy}.")
    net.load_state_dict({name: weights[name] for name in given}, strict=False)
