"""Nets with trained weights, ready to be tested: from a local file, from the registry of public checkpoints, or published by a library.

--weights FILE                 a state dict; what lies beside it (model.json, mean.npy) says how it was built and its images normalised
--weights akamaster:resnet56   `testing.registry`, fetched once, its hash checked
--weights IMAGENET1K_V1        `testing.pretrained`, for torchvision:NAME and timm:NAME
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.protocols import Preprocessing
from resnet_nb.recipes import CHOICES
from resnet_nb.testing.pretrained import published_weights, sizes_of_file
from resnet_nb.testing.registry import fetch, find_checkpoint, is_checkpoint
from resnet_nb.training.checkpoints import read_model

FILES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar")  # what ends so is a file, there or not


@dataclass(frozen=True)
class Given:
    """How images are normalised, where the user says so: channel values in [0, 1] as text, or one of a recipe's `normalise` to be measured."""

    mean: str | None = None
    std: str | None = None
    normalise: str | None = None


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained weights of `model`, found and read. name: as the user wrote it; file: where they lie, None for those that a library keeps.

    state: the file's tensors; net: the library's net, built. described: width and norm, where a file beside says them. normalisation: None where
    it is to be measured; kind: "given", "beside the weights", "published with the weights" or one of a recipe's. preprocessing: the sizes that
    the weights were made for, None where nothing says them. classes: names in the order of the scores, of published nets.
    """

    model: str
    name: str
    file: Path | None
    state: dict[str, Tensor] | None
    net: nn.Module | None
    described: dict
    normalisation: Normalisation | None
    kind: str
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] | None = None


def of_library(model: str) -> bool:
    """Whether a model's name is that of torchvision's or timm's."""
    return model.startswith(("torchvision:", "timm:"))


def find_weights(model: str, name: str, given: Given) -> Weights:
    """The weights called `name` for `model`, fetched where they are published. Raises InputError where they are absent, damaged or another net's,
    and where nothing says how their images are normalised; RunError where the network fails."""
    check_given(given)
    if of_library(model) and not Path(name).exists() and "/" not in name and Path(name).suffix not in FILES:
        found = published_weights(model, name)
        normalisation, kind = _normalisation(given, name, (_normalised(found.preprocessing), "published with the weights"))
        return Weights(model, found.weights, None, None, found.net, {}, normalisation, kind, found.preprocessing, found.classes)
    checkpoint = find_checkpoint(name) if is_checkpoint(name) else None
    if checkpoint and checkpoint.model != model.removeprefix("cifar:"):
        raise InputError(f"{name} are weights of a {checkpoint.model}, not of a {model}: write {checkpoint.model}.")
    file = fetch(name) if checkpoint else Path(name)
    state = read_weights(file)
    beside = None if checkpoint else read_model(file)
    described = beside[0] if beside else {}
    if described and described["name"] != model:
        raise InputError(f"{name} are those of a {described['name']}, not of a {model}: name the model that was trained.")
    sizes = _sizes_beside(*beside) if described.get("crop") else sizes_of_file(model, file) if of_library(model) else None
    published = checkpoint or sizes
    fallback = (beside[1], "beside the weights") if beside else (published and _normalised(published), "published with the weights")
    normalisation, kind = _normalisation(given, name, fallback)
    return Weights(model, name, file, state, None, described, normalisation, kind, sizes)


def build(found: Weights, classes: int, channels: int, *, width: int | None = None, norm: str | None = None, conv_bias: bool = False) -> nn.Module:
    """The net with its weights, for images of so many channels. Raises InputError where the weights do not fit, or tell other classes apart."""
    if found.net is not None:
        if len(found.classes) != classes:
            raise InputError(f"{found.name} of {found.model} tell {len(found.classes):,} classes apart, the data has {classes:,}: take other data.")
        if width is not None or norm is not None or conv_bias or channels != 3:
            raise InputError(f"{found.model} comes as it was published, for 3 channels: leave --width, --norm and --conv-bias out.")
        return found.net
    described = found.described
    options = {"width": described.get("width") if width is None else width, "norm": norm or described.get("norm", "batch"), "conv_bias": conv_bias}
    net = build_model(found.model, classes=classes, in_channels=channels, **options)
    load_weights(net, found.state, found.name)
    return net


def digest(net: nn.Module) -> str:
    """SHA-256, in hex, of a net's tensors and their names."""
    found = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def check_given(given: Given) -> None:
    """Raise InputError for what contradicts itself or is no number."""
    if given.normalise is not None:
        if given.normalise not in CHOICES["normalise"]:
            raise InputError(f"--normalise {given.normalise}: choose one of {', '.join(CHOICES['normalise'])}.")
        if given.mean is not None or given.std is not None:
            raise InputError(f"--normalise {given.normalise} measures what --mean and --std give: leave the one or the others out.")
    elif given.mean is not None:
        _channels(given)
    elif given.std is not None:
        raise InputError("--std needs --mean: give both, or neither for weights that have their normalisation beside them.")


def _normalisation(given: Given, weights: str, fallback: tuple[Normalisation | None, str]) -> tuple[Normalisation | None, str]:
    """The normalisation and its kind: what is given, else `fallback`; None where it is to be measured."""
    if given.normalise is not None:
        return None, given.normalise
    if given.mean is not None:
        return _channels(given), "given"
    if fallback[0] is None:
        raise InputError(f"Nothing beside {weights} says how its images were normalised: give --mean and --std, or --normalise.")
    return fallback


def _sizes_beside(described: dict, normalisation: Normalisation) -> Preprocessing:
    """Those of a net that was trained on photographs here."""
    mean, std = normalisation.mean.mean((1, 2)).tolist(), normalisation.std.view(-1).tolist()
    return Preprocessing(described["resize"], described["crop"], "bilinear", tuple(mean), tuple(std))


def _normalised(published: object) -> Normalisation:
    return Normalisation.of_channels(list(published.mean), list(published.std))


def _channels(given: Given) -> Normalisation:
    means = _numbers("--mean", given.mean)
    deviations = _numbers("--std", given.std) if given.std is not None else [1.0] * len(means)
    if len(means) != len(deviations):
        raise InputError(f"--mean has {len(means)} values and --std {len(deviations)}: give one for each channel.")
    return Normalisation.of_channels(means, deviations)


def _numbers(option: str, text: str) -> list[float]:
    try:
        values = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not a list of numbers such as 0.485,0.456,0.406.") from error
    if not all(map(math.isfinite, values)):
        raise InputError(f"{option} {text!r}: each value is a finite number.")
    if option == "--std" and min(values) <= 0:
        raise InputError(f"{option} {text!r}: a standard deviation is greater than 0.")
    return values
