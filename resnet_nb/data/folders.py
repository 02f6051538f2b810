"""Class folders: `train/CLASS/FILE` and `test/CLASS/FILE`."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_nb.data.pictures import crop_centre, read_picture
from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the class folders in `folder`, sorted. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: a data set of images has train/CLASS/FILE and test/CLASS/FILE.")
    names = tuple(entry.name for entry in _entries(folder) if entry.is_dir())
    if not names:
        raise InputError(f"{folder} has no class folders: put each class's images in a folder of its own.")
    return names


def read_folder(folder: Path, classes: tuple[str, ...], *, side: int | None = None, lossless: bool = False) -> Part:
    """Every image under `folder`/CLASS as RGB; labels count `classes`.

    side: resize and crop to `side` x `side` pixels (`pictures.crop_centre`); None asks that all images be of one size
    already. lossless: refuse JPEG and lossy WebP. Files that are no images by their names are passed over. Raises
    InputError naming the file or folder at fault, OSError where the system cannot read it.
    """
    unknown = sorted(set(class_names(folder)) - set(classes))
    if unknown:
        raise InputError(
            f"{folder / unknown[0]} is no class of the training images or of this data set: remove or rename it."
        )
    files = [(path, label) for label, name in enumerate(classes) for path in image_files(folder / name)]
    labels = np.array([label for _, label in files], dtype=np.int64)
    return Part(_read_files([path for path, _ in files], side, lossless), labels)


def _read_files(files: list[Path], side: int | None, lossless: bool) -> np.ndarray:
    """(N, H, W, 3) uint8, filled in place: a list of images would need the memory twice.

    One file after the other: on two cores 10,000 small PNG files took 1.4 s so, and 2.0 s with two threads.
    """
    pixels = None
    for place, path in enumerate(files):
        picture = read_picture(path, lossless=lossless)
        picture = picture if side is None else crop_centre(picture, side)
        if pixels is None:
            pixels = np.empty((len(files), picture.height, picture.width, 3), np.uint8)
        if pixels.shape[1:3] != picture.size[::-1]:
            (height, width), size = pixels.shape[1:3], f"{picture.width}x{picture.height}"
            raise InputError(
                f"{path} has {size} pixels where {files[0]} has {width}x{height}: give --image-size, such as 64."
            )
        pixels[place] = picture
    return pixels


def image_files(folder: Path) -> list[Path]:
    """The files in the class folder `folder` that are images by their names, sorted. Raises InputError where there is none, or a folder in it."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: every class needs images, to train and to test with.")
    entries = list(_entries(folder))
    nested = next((entry.path for entry in entries if entry.is_dir()), None)
    if nested:
        raise InputError(
            f"{nested} is a folder in a class folder, whose images would be left out: move them up, or it away."
        )
    files = [Path(entry.path) for entry in entries if Path(entry.name).suffix.lower() in _suffixes()]
    if not files:
        raise InputError(f"{folder} holds no image: every class needs images.")
    return files


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    """What lies in `folder`, by name, but for hidden entries such as .DS_Store or .ipynb_checkpoints."""
    with os.scandir(folder) as entries:
        yield from sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


@cache
def _suffixes() -> frozenset[str]:
    """Of the formats that Pillow reads, such as ".png"."""
    extensions = Image.registered_extensions()
    return frozenset(suffix for suffix, form in extensions.items() if form in Image.OPEN)
