"""Collections of photographs to train on: the files of a training and of a test part, with labels that count the classes of this collection."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resnet_nb.data.photographs.imagenet import IMAGENETTE, photographs
from resnet_nb.data.photographs.photographs import Photographs
from resnet_nb.errors import InputError

NAMES = ("imagenet", "imagenette", "folder")


@dataclass(frozen=True, eq=False)
class PhotoData:
    """What `resnet_nb.data.Data` is for small images: here files, none of them opened.

    classes: the names that labels count. crop: side in pixels of what a net is given. fingerprint: "sha256:..." of both parts'.
    """

    name: str
    classes: tuple[str, ...]
    train: Photographs
    test: Photographs
    crop: int
    validation: None = None
    split: str = "all"
    channels: int = 3

    @property
    def fingerprint(self) -> str:
        return f"sha256:{hashlib.sha256((self.train.fingerprint + self.test.fingerprint).encode()).hexdigest()}"

    @property
    def source(self) -> str:
        said = [f"{self.train.source}, {len(self.train):,} images to train with", f"{self.test.source}, {len(self.test):,} to test"]
        return "; ".join(said) + "." + "".join(f" {note}" for note in dict.fromkeys((*self.train.notes, *self.test.notes)))

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels of a crop."""
        return self.crop, self.crop

    @property
    def evaluated(self) -> np.ndarray:
        """The training images on which the training error is measured, places in `train`: as many as there are test images, evenly spaced over
        the classes, or all where they are fewer. Measuring it on all of ImageNet's would take a third of an epoch's time."""
        return evenly(len(self.train), len(self.test))


def evenly(total: int, count: int) -> np.ndarray:
    """(min(count, total),) int64: so many of the places 0 to total - 1, evenly spaced, the first one among them."""
    count = min(count, total)
    return np.arange(count, dtype=np.int64) * total // count


def training_photographs(name: str, root: Path | str | None, crop: int) -> PhotoData:
    """Both parts of the collection `name`, one of NAMES, in `root` or the folder in the variable RESNET_NB_DATA.

    Labels of `imagenet` are those of the published nets, of `imagenette` 0 to 9 in the same order, and of a `folder` they count the sorted names of
    the class folders in train/, so that a net trained on Imagenette is tested with `--data folder` and the folder of Imagenette itself.
    Raises InputError, one sentence with the remedy, for whatever is absent or mislabelled.
    """
    if name not in NAMES:
        raise InputError(f"--data {name} is no collection of photographs to train on: choose {', '.join(NAMES)}, or another --recipe.")
    train, test = (photographs(name, root, part) for part in ("train", "test"))
    if name == "imagenette":
        train, test = (_counted(part) for part in (train, test))
    return PhotoData(name, train.classes, train, test, crop)


def _counted(part: Photographs) -> Photographs:
    """Imagenette with labels 0 to 9 in place of those in the thousand classes."""
    known = sorted(IMAGENETTE.values())
    return replace(part, labels=np.searchsorted(known, part.labels), classes=tuple(part.classes[label] for label in known))
