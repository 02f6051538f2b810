"""What `resnet-nb evaluate` does: weights from a file, data by name, and error rates under protocols, as one JSON-ready answer."""

import math
from pathlib import Path

import torch

from resnet_nb.checkpoints import read_model
from resnet_nb.data import Data, Images, load_data
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.evaluate import PROTOCOLS, Errors, error_rates
from resnet_nb.models import build_model, check_usable, count_parameters, load_weights, read_weights
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import CHOICES
from resnet_nb.stats import wilson_interval


def measure(
    model: str,
    weights: Path,
    data: str,
    root: Path | None = None,
    *,
    protocols: list[str],
    parts: list[str],
    mean: str | None = None,
    std: str | None = None,
    normalise: str | None = None,
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
    image_size: int | None = None,
    split: str = "all",
    device: str = "auto",
    download: bool = False,
) -> dict:
    """Error rates in percent of `model` with the state dict in `weights` on parts of a data set: "train", "validation", "test".

    mean, std: comma-separated channel values in [0, 1]. normalise: measure them instead on the training images of `split`, as a recipe's
    `normalise` says. Where none is given they come from the files beside the weights, as width and norm do; conv_bias as in `nets.Net`.
    Returns {"model", "weights", "data", "normalisation": {"kind", "images" (they were measured on), "mean", "std" (of each channel)},
    "results": [{"part", "protocol", "images", "wrong", "top1_error", "top1_interval", "top5_error", "loss"}, ...]}.
    Raises InputError for unknown names, absent files and weights that do not fit.
    """
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown:
        raise InputError(f"Unknown protocol {unknown[0]!r}: choose from {', '.join(PROTOCOLS)}.")
    place = resolve_device(device)
    if width is not None and width < 1:
        raise InputError(f"--width {width}: a net has at least 1 channel.")
    if len(set(parts)) < len(parts):
        raise InputError(f"--on {','.join(parts)} names a part twice: name each once.")
    state = read_weights(weights)
    described, normalisation = _beside(weights, model, mean, std, normalise)
    loaded = load_data(data, root, split=split, download=download, image_size=image_size)
    chosen = {part: _part(loaded, part) for part in parts}
    kind = {"norm": norm or described.get("norm", "batch"), "conv_bias": conv_bias}
    net = build_model(model, classes=len(loaded.classes), in_channels=loaded.channels, width=width or described.get("width"), **kind)
    load_weights(net, state, str(weights))
    normalisation = normalisation or Normalisation.measured(loaded.train, normalise)
    _check(normalisation, loaded)
    net.to(place, memory_format=torch.channels_last)  # as the images come
    if ":" in model and not model.startswith(("cifar:", "imagenet:")):
        check_usable(net, model, (loaded.channels, *loaded.image_size), len(loaded.classes))
    rows = []
    for part, images in chosen.items():
        found = error_rates(net, images.to(place), normalisation.to(place))
        if not math.isfinite(found.loss):
            raise InputError(f"{weights} give scores that are not numbers: the weights hold nan or infinity, or the normalisation is far off.")
        rows += [{"part": part, "protocol": protocol, **_rates(found)} for protocol in protocols]
    return {
        "model": {
            "name": model,
            "width": width or getattr(getattr(net, "conv1", None), "out_channels", None),
            "in_channels": loaded.channels,
            "classes": len(loaded.classes),
            "parameters": count_parameters(net),
            **{name: value for name, value in kind.items() if value not in ("batch", False)},  # said where it is not the paper's
        },
        "weights": str(weights),
        "data": {"name": loaded.name, "fingerprint": loaded.fingerprint, "split": loaded.split},
        "normalisation": {
            "kind": normalise or ("given" if mean is not None else "beside the weights"),
            "images": len(loaded.train) if normalise else None,
            "mean": [round(value, 6) for value in normalisation.mean.double().mean((1, 2)).tolist()],
            "std": [round(value, 6) for value in normalisation.std.view(-1).tolist()],
        },
        "results": rows,
    }


def _rates(found: Errors) -> dict:
    return {
        "images": found.images,
        "wrong": found.wrong,
        "top1_error": round(found.top1_error, 4),
        "top1_interval": [round(bound, 4) for bound in wilson_interval(found.wrong, found.images)],
        "top5_error": round(found.top5_error, 4),
        "loss": round(found.loss, 6),
    }


def _beside(
    weights: Path, model: str, mean: str | None, std: str | None, normalise: str | None
) -> tuple[dict, Normalisation | None]:
    """The description and the normalisation to use: those given, else those beside the weights; None where it is to be measured."""
    beside = read_model(weights)
    described = beside[0] if beside else {}
    if described and described["name"] != model:
        raise InputError(f"{weights} are those of a {described['name']}, not of a {model}: name the model that was trained.")
    if normalise is not None:
        if normalise not in CHOICES["normalise"]:
            raise InputError(f"--normalise {normalise}: choose one of {', '.join(CHOICES['normalise'])}.")
        if mean is not None or std is not None:
            raise InputError(f"--normalise {normalise} measures what --mean and --std give: leave the one or the others out.")
        return described, None
    if mean is not None:
        means = _numbers("--mean", mean)
        deviations = _numbers("--std", std) if std is not None else [1.0] * len(means)
        if len(means) != len(deviations):
            raise InputError(f"--mean has {len(means)} values and --std {len(deviations)}: give one for each channel.")
        return described, Normalisation.of_channels(means, deviations)
    if std is not None:
        raise InputError("--std needs --mean: give both, or neither for weights that have their normalisation beside them.")
    if beside is None:
        raise InputError(f"Nothing beside {weights} says how its images were normalised: give --mean and --std, or --normalise.")
    return beside


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


def _part(data: Data, part: str) -> Images:
    parts = {"test": data.test, "validation": data.validation, "train": data.train}
    if part not in parts:
        raise InputError(f"--on {part}: choose one of {', '.join(parts)}.")
    if parts[part] is None:
        raise InputError("There is no validation part without a split: give one, such as --split 45k/5k.")
    return parts[part]


def _check(normalisation: Normalisation, data: Data) -> None:
    shape, image = tuple(normalisation.mean.shape), (data.channels, *data.image_size)
    if shape[0] != image[0] or shape[1:] not in ((1, 1), image[1:]) or len(normalisation.std) != image[0]:
        raise InputError(f"The mean has shape {shape} and the images {image}: give values for {image[0]} channels.")


