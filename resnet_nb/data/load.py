"""From a data set's name to its tensors: where it lies, how it is read and checked, in which order and split."""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_nb.data.canonical import canonical_order, fingerprint
from resnet_nb.data.cifar import CIFARS, FOLDERS, INSTEAD, OFFICIAL, Found, find_cifar, read_cifar
from resnet_nb.data.digits import CLASSES as DIGITS
from resnet_nb.data.digits import read_digits
from resnet_nb.data.folders import class_names, read_folder
from resnet_nb.data.sets import Data, Part
from resnet_nb.data.splits import split_training
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError

VARIABLE = "RESNET_NB_DATA"
NAMES = ("digits", *CIFARS, "folder")

# Of the data sets as published: one that differs by a pixel or a label is refused. CIFAR-10's is that of the images on
# which four public checkpoints score the errors their author publishes; CIFAR-100's was taken from a copy in PNG files,
# cyizhuo/CIFAR-100-dataset on GitHub, whose pixels bear no trace of JPEG.
KNOWN_FINGERPRINTS = {
    "digits": "sha256:4740b7720801fa82ed968b76fb50ca8aa6bb86f9eed801eb353289d4fbb2607c",
    "cifar10": "sha256:bf2f222ebf049a1e29e3e3f056d1ac45f4a74b90e68f5d7b3b86f63ead9d9d50",
    "cifar100": "sha256:f73e1ae74f34541d30c65a5778bfe579f560a87e6ba51df2fe3492a9cee94107",
}


def load_data(
    name: str,
    root: Path | str | None = None,
    *,
    split: str | None = None,
    download: bool = False,
    device: str = "cpu",
    image_size: int | None = None,
) -> Data:
    """Load a data set whole.

    root: where data lies, else the variable RESNET_NB_DATA. split: "all" (None is the same), or such as "45k/5k", for
    choosing anything: the paper trains on all 50,000 images and used that split to fix the length of training.
    download: fetch the official archive into `root` where the data set is absent; a file that lies there is never
    fetched over. device: "cpu", "cuda", "mps" or "auto". image_size: `folder` only, the side in pixels that images are
    resized and cropped to.

    `folder` reads root/train/CLASS/FILE and root/test/CLASS/FILE (root/val where there is no root/test) in any format
    of Pillow's. What JPEG files decode to, and what resizing gives, is up to the libraries' versions, and so is the
    fingerprint of such a data set.

    Raises InputError, one sentence with the remedy, for whatever is absent, damaged, mislabelled or of the wrong shape.
    """
    _check_usage(name, image_size)
    place = resolve_device(device)
    found = _locate(name, root, download)
    with explained(found.path):
        classes, parts = _read(name, found, image_size)
    ordered = {part: images.take(canonical_order(images)) for part, images in parts.items()}
    identity = fingerprint(classes, ordered)
    _check_published(name, found, identity)
    train, validation, split = split_training(ordered["train"], split)
    tensors = [part and part.images() for part in (train, validation, ordered["test"])]
    return Data(name, classes, *tensors, split, identity, str(found)).to(place)


def find(name: str, root: Path | str | None = None) -> Found | None:
    """Where the data set lies and in which form, None where it is not there. Nothing is read.

    Raises InputError for an unknown name, for no root at all, and for one that cannot be read.
    """
    _check_usage(name)
    if name == "digits":
        return Found("embedded in scikit-learn", None)
    folder = data_root(root)
    with explained(folder):
        return find_cifar(CIFARS[name], folder) if name in CIFARS else _find_folder(folder)


def available(root: Path | str | None = None) -> list[dict]:
    """For each named data set: `name`, where it was `found`, its `form`, or else the `remedy`. Nothing is read."""
    return [_row(name, root) for name in NAMES]


def describe(data: Data) -> dict:
    """What `resnet-nb data NAME` prints: JSON-ready."""
    return {
        "name": data.name,
        "source": data.source,
        "fingerprint": data.fingerprint,
        "classes": len(data.classes),
        "class_names": ", ".join(data.classes[:10]) + (" ..." if len(data.classes) > 10 else ""),
        "image": f"{data.channels} x {data.image_size[0]} x {data.image_size[1]}",
        "split": data.split,
        "train_images": len(data.train),
        "validation_images": len(data.validation) if data.validation else 0,
        "test_images": len(data.test),
    }


def _check_usage(name: str, image_size: int | None = None) -> None:
    if name not in NAMES:
        near = difflib.get_close_matches(name.lower(), NAMES)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"Unknown data set {name!r}: {hint}Choose one of {', '.join(NAMES)}.")
    if image_size is not None and (name != "folder" or image_size < 1):
        raise InputError(f"--image-size {image_size}: it is a number of pixels, and for --data folder alone.")


def data_root(root: Path | str | None) -> Path:
    """Where data lies: `root`, else the variable RESNET_NB_DATA. Raises InputError where neither is given."""
    chosen = root or os.environ.get(VARIABLE)
    if not chosen:
        raise InputError(f"Where does the data lie? Give --data-root DIR or set the variable {VARIABLE}.")
    return Path(chosen).expanduser()


def _locate(name: str, root: Path | str | None, download: bool) -> Found:
    """Where the data set lies, once it is fetched if that was asked for. Raises InputError where it is nowhere."""
    found = find(name, root)
    if found is None and download and name in CIFARS:
        from resnet_nb.data.archive import download as fetch  # imports torchvision

        fetch(CIFARS[name].official(), data_root(root))
        found = find(name, root)
    if found is None:
        here = data_root(root)
        raise InputError(f"{f'{name} is not in' if here.exists() else 'There is no folder'} {here}: {_remedy(name)}.")
    return found


def _remedy(name: str) -> str:
    if name == "folder":
        return "put images into train/CLASS/ and test/CLASS/ (or val/CLASS/) there"
    dataset = CIFARS[name]
    return (
        f"put {dataset.archive}, {name}.npz or {name}/train/CLASS/*.png with {name}/test/CLASS/*.png there, "
        f"or let --download fetch the official archive"
    )


def _find_folder(root: Path) -> Found | None:
    if (root / "train").is_dir() and _test_folder(root).is_dir():
        return Found(FOLDERS, root)
    return None


def _test_folder(root: Path) -> Path:
    return root / "val" if (root / "val").is_dir() and not (root / "test").is_dir() else root / "test"


def _read(name: str, found: Found, side: int | None) -> tuple[tuple[str, ...], dict[str, Part]]:
    if name == "digits":
        return DIGITS, read_digits()
    if name in CIFARS:
        return CIFARS[name].classes, read_cifar(CIFARS[name], found)
    folders = {"train": found.path / "train", "test": _test_folder(found.path)}
    classes = class_names(folders["train"])
    parts = {part: read_folder(folder, classes, side=side) for part, folder in folders.items()}
    _check_same_size(found.path, parts)
    return classes, parts


def _check_same_size(root: Path, parts: dict[str, Part]) -> None:
    train, test = (f"{width}x{height}" for _, height, width, _ in (part.pixels.shape for part in parts.values()))
    if train != test:
        raise InputError(
            f"{root}: images to train with have {train} pixels, to test {test}: give --image-size, such as 64."
        )


def _check_published(name: str, found: Found, identity: str) -> None:
    """Refuse what calls itself by a published data set's name and differs from it."""
    known = KNOWN_FINGERPRINTS.get(name, identity)
    if identity == known or found.form in OFFICIAL:  # the archive's MD5s are the publisher's own
        return
    if name == "digits":
        raise InputError(
            "The digits of this scikit-learn differ from those of every release so far: install another version of it."
        )
    title = CIFARS[name].title
    raise InputError(f"{found.path} is not the published {title}, an image or a label differs: {INSTEAD}.")


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turns the system's errors inside the block into an InputError that names the file, or `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Cannot read {error.filename or path} ({error.strerror or error}): check that it is there and may be read."
        ) from error
    except MemoryError as error:
        raise InputError(
            f"The images in {path} do not fit into memory: give a smaller --image-size, or fewer images."
        ) from error


def _row(name: str, root: Path | str | None) -> dict:
    try:
        found = find(name, root)
        remedy = None if found else f"in {data_root(root)}, {_remedy(name)}"
    except InputError as error:
        found, remedy = None, str(error)
    return {
        "name": name,
        "found": found and str(found.path or found.form),
        "form": found and found.form,
        "remedy": remedy,
    }
