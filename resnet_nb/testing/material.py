"""What a net is tested on: parts of a data set by name, small images in a tensor or photographs in files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from resnet_nb.data import NAMES, Data, Images, load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.data.photographs.imagenet import PHOTOGRAPHS, photographs
from resnet_nb.errors import InputError
from resnet_nb.testing.members import Weights, of_library


@dataclass(frozen=True, eq=False)
class Tested:
    """Labelled pictures: small images, uint8 (N, C, H, W), or photographs' files; labels (N,) int64; names that identify them in the data set."""

    pictures: Tensor | tuple[Path, ...]
    labels: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Material:
    """Parts of a data set. classes: their names; training: small images that a normalisation can be measured on, None for photographs.

    size: channels, height and width of small images, None for photographs. notes: sentences on what is unusual about the data.
    """

    name: str
    fingerprint: str
    split: str
    classes: tuple[str, ...]
    parts: dict[str, Tested]
    training: Images | None = None
    size: tuple[int, int, int] | None = None
    notes: tuple[str, ...] = ()


def takes_photographs(data: str, weights: Weights, image_size: int | None) -> bool:
    """Whether `data` is tested as photographs. A `folder` is not for the CIFAR nets, for nets that were trained here on small images, and with
    --image-size: those take its images as training took them."""
    if data != "folder":
        return data in PHOTOGRAPHS
    if weights.described:
        return image_size is None and "crop" in weights.described
    return image_size is None and (of_library(weights.model) or weights.model.startswith("imagenet:"))


def read_material(
    data: str, root: Path | None, parts: Sequence[str], *, as_photographs: bool, split: str, image_size: int | None, download: bool
) -> Material:
    """The parts of a data set. Raises InputError for what is absent, damaged, or has no such part."""
    if data not in (*NAMES, *PHOTOGRAPHS):
        raise InputError(f"Unknown data set {data!r}: choose one of {', '.join(dict.fromkeys((*NAMES, *PHOTOGRAPHS)))}.")
    if as_photographs:
        return _photographs(data, root, parts, split, image_size)
    loaded = load_data(data, root, split=split, download=download, image_size=image_size)
    tested = {part: _small(part, _part(loaded, part)) for part in parts}
    size = (loaded.channels, *loaded.image_size)
    return Material(loaded.name, loaded.fingerprint, loaded.split, loaded.classes, tested, loaded.train, size)


def normalisation_for(weights: Weights, material: Material) -> Normalisation:
    """What `weights` have their images normalised with, measured on the training images where they ask for that. Raises InputError where there
    are none, and where it is for other images than these."""
    normalisation = weights.normalisation
    if normalisation is None:
        if material.training is None:
            raise InputError(f"--normalise {weights.kind} measures small images: for {material.name} give --mean and --std.")
        normalisation = Normalisation.measured(material.training, weights.kind)
    crop = weights.described.get("crop", 1)  # of a net that was trained here on photographs, with a mean per pixel of its crops perhaps
    image = material.size or (3, crop, crop)
    shape = tuple(normalisation.mean.shape)
    if shape[0] != image[0] or shape[1:] not in ((1, 1), image[1:]) or len(normalisation.std) != image[0]:
        raise InputError(f"The mean has shape {shape} and the images {image}: give values for {image[0]} channels.")
    return normalisation


def _photographs(data: str, root: Path | None, parts: Sequence[str], split: str, image_size: int | None) -> Material:
    if split != "all" or image_size is not None:
        raise InputError(f"{data} is tested as it lies there: leave --split and --image-size out (--resize and --crop set a protocol's sizes).")
    found = [photographs(data, root, part) for part in parts]
    tested = {part: Tested(one.paths, one.labels, one.names) for part, one in zip(parts, found, strict=True)}
    notes = tuple(dict.fromkeys(note for one in found for note in (one.source, *one.notes)))
    return Material(data, found[0].fingerprint, "all", found[0].classes, tested, notes=notes)


def _small(part: str, images: Images) -> Tested:
    names = tuple(f"{part}/{place:05}" for place in range(len(images)))  # in canonical order, which every form of a data set has
    return Tested(images.images, images.labels.cpu().numpy(), names)


def _part(data: Data, part: str) -> Images:
    parts = {"test": data.test, "validation": data.validation, "train": data.train}
    if part not in parts:
        raise InputError(f"--on {part}: choose one of {', '.join(parts)}.")
    if parts[part] is None:
        raise InputError("There is no validation part without a split: give one, such as --split 45k/5k.")
    return parts[part]
