"""Named data sets as uint8 tensors on a device.

digits      scikit-learn's handwritten digits, 16x16 grey, 1,400 to train and 397 to test; embedded, the default
cifar10     50,000 and 10,000 colour images of 32x32 pixels, 10 classes
cifar100    the same with 100 classes
folder      one's own images: train/CLASS/FILE and test/CLASS/FILE (or val)

On loading, images are put in canonical order (label, then SHA-256 of the pixels), so that every form of a data set has the same
fingerprint and gives the same batches and splits.
"""

import difflib
import os
from pathlib import Path

import torch

from resnet_nb.data import cifar, digits, pictures
from resnet_nb.data.canonical import canonical, fingerprint, split_images
from resnet_nb.data.types import Data, Images
from resnet_nb.errors import InputError

__all__ = ["NAMES", "Data", "Images", "available", "describe", "load_data"]

NAMES = ("digits", "cifar10", "cifar100", "folder")
VARIABLE = "RESNET_NB_DATA"

# of the data sets as published; one that differs by a pixel is not that data set
FINGERPRINTS = {
    "digits": "sha256:4740b7720801fa82ed968b76fb50ca8aa6bb86f9eed801eb353289d4fbb2607c",
    "cifar10": "sha256:bf2f222ebf049a1e29e3e3f056d1ac45f4a74b90e68f5d7b3b86f63ead9d9d50",
}


def load_data(
    name: str,
    root: Path | str | None = None,
    *,
    split: str = "all",
    download: bool = False,
    device: torch.device | str = "cpu",
    image_size: int | None = None,
) -> Data:
    """Load a data set whole.

    root: where data lies, else the variable RESNET_NB_DATA. split: "all", or such as "45k/5k", for choosing anything (the paper trains on all
    50,000 images and used that split to fix the length of training). download: fetch the official archive where the data set is absent.
    image_size: `folder` only, the side in pixels that images are resized and cropped to.
    Raises InputError, one sentence with the remedy, for whatever is absent, damaged, mislabelled or of the wrong shape.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"Unknown data set {name!r}: {hint}choose one of {', '.join(NAMES)}.")
    if image_size is not None and (name != "folder" or image_size < 1):
        raise InputError(f"--image-size {image_size}: it is a number of pixels, and for the data set folder alone.")
    classes, parts = _read(name, root, download, image_size)
    ordered = {part: canonical(*arrays) for part, arrays in parts.items()}
    found = fingerprint(classes, ordered)
    if found != FINGERPRINTS.get(name, found):
        where = "scikit-learn" if name == "digits" else _root(root)
        raise InputError(f"The {name} of {where} is not the published one (a pixel or a label differs): fetch it again.")
    train, validation, split_name = split_images(ordered["train"], split)
    return Data(name, classes, train, validation, ordered["test"], split_name, found).to(device)


def _read(name: str, root: Path | str | None, download: bool, image_size: int | None) -> tuple[tuple[str, ...], dict]:
    if name == "digits":
        return digits.CLASSES, digits.read()
    place = _root(root)
    if name in cifar.SETS:
        dataset = cifar.SETS[name]
        return dataset.classes, cifar.read(dataset, place, download)
    if download:
        raise InputError("--download is for data sets that are published, not for --data folder.")
    test = "test" if (place / "test").is_dir() else "val" if (place / "val").is_dir() else "test"
    classes = pictures.class_folders(place / "train")
    return classes, {part: pictures.read_part(place / where, classes, size=image_size) for part, where in (("train", "train"), ("test", test))}


def _root(root: Path | str | None) -> Path:
    chosen = root or os.environ.get(VARIABLE)
    if not chosen:
        raise InputError(f"Where does the data lie? Give --data-root DIR or set the variable {VARIABLE}.")
    return Path(chosen).expanduser()


def describe(data: Data) -> dict:
    """What `resnet-nb data NAME` prints: JSON-ready."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "classes": len(data.classes),
        "class_names": ", ".join(data.classes[:10]) + (" ..." if len(data.classes) > 10 else ""),
        "image": f"{data.channels} x {data.image_size[0]} x {data.image_size[1]}",
        "split": data.split,
        "train_images": len(data.train),
        "validation_images": len(data.validation) if data.validation else 0,
        "test_images": len(data.test),
    }


def available(root: Path | str | None = None) -> list[dict]:
    """For each named data set: name, where it was `found` (None if not), its form, and the remedy. Nothing is loaded."""
    rows = [{"name": "digits", "found": "embedded (scikit-learn)", "form": "package", "remedy": None}]
    chosen = root or os.environ.get(VARIABLE)
    for name, dataset in cifar.SETS.items():
        source = cifar.find(dataset, Path(chosen).expanduser()) if chosen and Path(chosen).expanduser().exists() else None
        remedy = f"set {VARIABLE} or give --data-root" if not chosen else f"put {name}.npz into {chosen}, or --download"
        rows.append(
            {
                "name": name,
                "found": str(source.path) if source else None,
                "form": source.form if source else None,
                "remedy": None if source else remedy,
            }
        )
    return rows
