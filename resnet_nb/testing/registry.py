"""Public CIFAR checkpoints by name, such as akamaster:resnet56, from registry.yaml: fetched once, checked against their SHA-256, kept in a cache.

The cache is the folder in the variable RESNET_NB_CACHE, else the one in which torch.hub keeps checkpoints (~/.cache/torch/hub/checkpoints, or where
TORCH_HOME says), under the file names that torch.hub would give them: a file that either has fetched serves both.
"""

import difflib
import functools
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from resnet_nb.data.download import download, has_hash
from resnet_nb.errors import InputError

VARIABLE = "RESNET_NB_CACHE"


@dataclass(frozen=True)
class Checkpoint:
    """Published weights of one net. Nothing of them is at hand until `fetch`.

    name: such as "akamaster:resnet56"; model: the name that builds the net. url: of a file at a commit; source: the same for a record. mean, std:
    of the channels, in [0, 1]. published_error: top-1 error in percent on the test images, as the author prints it. selection: how the weights
    were chosen. hash_from: "file", or the public source that states the SHA-256 of a file that was not at hand.
    """

    name: str
    model: str
    data: str
    url: str
    file: str
    sha256: str
    hash_from: str
    author: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    published_error: float
    selection: str
    trained_on: str
    source: str


@functools.cache
def checkpoints() -> dict[str, Checkpoint]:
    """Every checkpoint by its name."""
    content = yaml.safe_load((resources.files(__package__) / "registry.yaml").read_text(encoding="utf-8"))
    listed = [_checkpoint(owner, group, model, entry) for owner, group in content.items() for model, entry in group["checkpoints"].items()]
    return {checkpoint.name: checkpoint for checkpoint in listed}


def _checkpoint(owner: str, group: dict, model: str, entry: dict) -> Checkpoint:
    url, file = group["address"] + entry["file"], entry["file"]
    return Checkpoint(
        name=f"{owner}:{model}", model=model, data=group["data"], url=url, file=file, sha256=entry["sha256"], hash_from=entry["hash_from"],
        author=group["author"], licence=group["licence"], mean=tuple(group["mean"]), std=tuple(group["std"]), published_error=entry["error"],
        selection=group["selection"], trained_on=group["trained_on"], source=f"{group['source']}:pretrained_models/{file}",
    )  # fmt: skip


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint called `name`. Raises InputError that names those near it."""
    known = checkpoints()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, 2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"Unknown weights {name!r}: {hint}Give a file, or one of {', '.join(known)}.")
    return known[name]


def is_checkpoint(weights: str) -> bool:
    """Whether `weights` names a checkpoint of this registry rather than a file: an owner of it stands before the colon."""
    owners = {name.split(":")[0] for name in checkpoints()}
    return weights.split(":")[0] in owners and ":" in weights and not Path(weights).exists()


def fetch(name: str, cache: Path | str | None = None) -> Path:
    """The file of the checkpoint `name`: from the cache if it is there and whole, without a network; else fetched, checked and kept.

    Raises InputError for an unknown name; RunError, one sentence with the remedy, where network or disk fail or the file that came is another.
    """
    checkpoint = find_checkpoint(name)
    path = cache_folder(cache) / checkpoint.file
    return path if has_hash(path, checkpoint.sha256) else download(checkpoint.url, path, checkpoint.sha256)


def cache_folder(cache: Path | str | None = None) -> Path:
    """Where fetched files are kept: `cache`, else RESNET_NB_CACHE, else torch.hub's folder of checkpoints."""
    chosen = cache or os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"
