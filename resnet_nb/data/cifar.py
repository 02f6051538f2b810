"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in any of their forms: official archive, .npz file, or class folders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_nb.data.folders import read_folder
from resnet_nb.data.npz import read_npz
from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets, and what its official archive is called.

    images: how many there are to train and to test with, evenly over the classes. batches: the folder that the archive
    becomes; first_batch: a file in it. official: gives torchvision's class, which is slow to import.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    images: dict[str, int]
    batches: str
    first_batch: str
    archive: str
    official: Callable[[], type]


@dataclass(frozen=True)
class Found:
    """Where a data set was found, and in which form; path None where it is embedded in a library."""

    form: str
    path: Path | None

    def __str__(self) -> str:
        return f"{self.form}, {self.path}" if self.path else self.form


INSTEAD = "move it away and --download the official archive, or read a data set of your own with --data folder"
ARCHIVE, PACKED, NPZ, FOLDERS = "official archive", "official archive, packed", "npz file", "class folders"
OFFICIAL = (ARCHIVE, PACKED)


def find_cifar(dataset: Cifar, root: Path) -> Found | None:
    """The first form in `root`, or that `root` is: official archive, unpacked or not, NAME.npz, class folders."""
    for folder in (root / dataset.batches, root):
        if (folder.name == dataset.batches and folder.is_dir()) or (folder / dataset.first_batch).is_file():
            return Found(ARCHIVE, folder)
    for file, form in ((root / dataset.archive, PACKED), (root / f"{dataset.name}.npz", NPZ)):
        if file.is_file():
            return Found(form, file)
    if root.is_file():
        return Found(PACKED if root.name.endswith((".tar.gz", ".tgz")) else NPZ, root)
    for folder in (root / dataset.name, root):
        if (folder.name == dataset.name and folder.is_dir()) or _has_a_class(dataset, folder):
            return Found(FOLDERS, folder)
    return None


def _has_a_class(dataset: Cifar, folder: Path) -> bool:
    return any((folder / "train" / name).is_dir() for name in dataset.classes)


def read_cifar(dataset: Cifar, found: Found) -> dict[str, Part]:
    """The training and test images, (N, 32, 32, 3) uint8, in the order of the files.

    Raises InputError naming what is absent, damaged or not this data set, OSError where the system cannot read it.
    """
    parts = _read_form(dataset, found)
    for name, part in parts.items():
        _check(dataset, found.path, name, part)
    return parts


def _read_form(dataset: Cifar, found: Found) -> dict[str, Part]:
    if found.form == NPZ:
        return read_npz(found.path)
    if found.form == FOLDERS:
        return {name: read_folder(found.path / name, dataset.classes, lossless=True) for name in ("train", "test")}
    from resnet_nb.data.archive import read_batches, read_packed  # imports torchvision

    return (read_packed if found.form == PACKED else read_batches)(dataset.official(), found.path)


def _check(dataset: Cifar, path: Path, name: str, part: Part) -> None:
    """Refuse what has other shapes, labels or numbers of images than the data set that it is called."""
    last, count = len(dataset.classes) - 1, dataset.images[name]
    if part.pixels.shape != (count, 32, 32, 3):
        found, wanted = part.pixels.shape, (count, 32, 32, 3)
        raise InputError(f"{path}: the {name} images are {found}, not {wanted} as in {dataset.title}: {INSTEAD}.")
    low, high = part.labels.min(), part.labels.max()
    if low < 0 or high > last:
        raise InputError(f"{path}: the {name} labels run from {low} to {high}, not from 0 to {last}: {INSTEAD}.")
    per_class = np.bincount(part.labels, minlength=len(dataset.classes))
    even = count // len(dataset.classes)
    if (per_class != even).any():
        odd = int(np.argmax(per_class != even))
        raise InputError(
            f"{path}: class {dataset.classes[odd]} has {per_class[odd]} {name} images, not {even}: {INSTEAD}."
        )


def _torchvision(name: str) -> Callable[[], type]:
    def load() -> type:
        import torchvision

        return getattr(torchvision.datasets, name)

    return load


CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    classes=tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    images={"train": 50_000, "test": 10_000},
    batches="cifar-10-batches-py",
    first_batch="data_batch_1",
    archive="cifar-10-python.tar.gz",
    official=_torchvision("CIFAR10"),
)

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    classes=tuple(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()
    ),
    images={"train": 50_000, "test": 10_000},
    batches="cifar-100-python",
    first_batch="train",
    archive="cifar-100-python.tar.gz",
    official=_torchvision("CIFAR100"),
)

CIFARS = {dataset.name: dataset for dataset in (CIFAR10, CIFAR100)}
