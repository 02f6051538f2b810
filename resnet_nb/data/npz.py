"""A data set in one NumPy file: x_train, y_train, x_test, y_test."""

from pathlib import Path

import numpy as np

from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> dict[str, Part]:
    """The training and test images in `path`: x (N, H, W, C) uint8, y (N,) of any integer type. Nothing is unpickled.

    Raises InputError naming the file where it is damaged or holds something else, OSError where the system cannot read
    it.
    """
    arrays = _read_arrays(path)
    return {name: _checked(path, name, arrays[f"x_{name}"], arrays[f"y_{name}"]) for name in ("train", "test")}


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as stored:
                _check_keys(path, stored.files)
                return {key: stored[key] for key in KEYS}
        except InputError:
            raise
        except Exception as error:  # zipfile and NumPy raise a dozen types on damaged bytes
            pickled = "Object arrays" in str(error)
            why = "holds pickled objects, which can run code" if pickled else "is truncated, damaged or no .npz file"
            raise InputError(f"{path} {why}: replace it with one of plain arrays ({', '.join(KEYS)}).") from error


def _check_keys(path: Path, held: list[str]) -> None:
    missing = ", ".join(key for key in KEYS if key not in held)
    if missing:
        raise InputError(
            f"{path} lacks {missing} (it holds {', '.join(held[:8]) or 'nothing'}): save it with {', '.join(KEYS)}."
        )


def _checked(path: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> Part:
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        found = f"{pixels.dtype} {pixels.shape}"
        raise InputError(f"{path}: x_{name} is {found}, not uint8 (images, height, width, channels): save it so.")
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1]:
        found = f"{labels.dtype} {labels.shape}"
        raise InputError(f"{path}: y_{name} is {found}, not an integer for each of {len(pixels):,} images: save it so.")
    return Part(pixels, labels.astype(np.int64))
