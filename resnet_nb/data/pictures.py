"""Class folders of image files: `train/CLASS/FILE` and `test/CLASS/FILE` (or `val`)."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from resnet_nb.errors import InputError

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
Part = tuple[np.ndarray, np.ndarray]


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted. Raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: a data set of images has train/CLASS/FILE and test/CLASS/FILE.")
    names = tuple(sorted(entry.name for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith(".")))
    if not names:
        raise InputError(f"{folder} has no class folders: put each class's images in a folder of its own.")
    return names


def read_part(folder: Path, classes: tuple[str, ...], *, size: int | None = None, lossless: bool = False) -> Part:
    """Every image under `folder`/CLASS as (N, H, W, 3) uint8, with labels (N,) int64 that count `classes`.

    Images become RGB as torchvision's loader makes them. size: the short side is resized to it (PIL, bilinear, antialiased) and the centre is
    cropped to size x size; None asks that all be of one size already. lossless: refuse JPEG and lossy WebP.
    Raises InputError naming the file or folder at fault.
    """
    unknown = set(class_folders(folder)) - set(classes)
    if unknown:
        raise InputError(f"{folder / min(unknown)} is no class of this data set ({', '.join(classes[:10])}): remove or rename it.")
    images, labels, first = [], [], None
    for label, name in enumerate(classes):
        files = _image_files(folder / name)
        if not files:
            raise InputError(f"{folder / name} holds no image: every class needs some.")
        for path in files:
            image = read_image(path, size=size, lossless=lossless)
            if first is None:
                first = path, image.shape
            if image.shape != first[1]:
                (h, w, _), (fh, fw, _) = image.shape, first[1]
                raise InputError(f"{path} has {w}x{h} pixels where {first[0].name} has {fw}x{fh}: give one size, such as --image-size 64.")
            images.append(image)
            labels.append(label)
    return np.stack(images), np.array(labels, dtype=np.int64)


def read_image(path: Path, *, size: int | None = None, lossless: bool = False) -> np.ndarray:
    """One image file as (H, W, 3) uint8; see `read_part`."""
    try:
        with Image.open(path) as image:
            if lossless and (image.format == "JPEG" or (image.format == "WEBP" and _is_lossy_webp(path))):
                raise InputError(
                    f"{path} is lossy ({image.format}), and a re-saved copy costs a ResNet-20 one to two points of error: "
                    f"use PNG or lossless WebP, or the official archive (--download)."
                )
            picture = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image ({error}): replace or remove it.") from error
    return np.asarray(picture if size is None else _resized(picture, size))


def _resized(picture: Image.Image, size: int) -> Image.Image:
    """Short side to `size`, then the centre, as torchvision's Resize and CenterCrop do."""
    from torchvision.transforms.v2 import functional as transforms

    return transforms.center_crop(transforms.resize(picture, [size], antialias=True), [size, size])


def _is_lossy_webp(path: Path) -> bool:
    """Whether a WebP file has a lossy ("VP8 ") image chunk; the format names its chunks in four letters."""
    content = path.read_bytes()
    place = 12
    while place + 8 <= len(content):
        name, length = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        place += 8 + length + length % 2
    return False


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in _listing(folder) if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _listing(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder} ({error.strerror}): check its permissions.") from error
