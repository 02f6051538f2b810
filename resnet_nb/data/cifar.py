"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from any of their forms: the official archive, an .npz file, or class folders."""

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_nb.data.pictures import Part, read_part
from resnet_nb.errors import InputError

CIFAR10 = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
CIFAR100 = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
    palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
    turtle wardrobe whale willow_tree wolf woman worm""".split()
)


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets: its classes, how many images it has, and what its official archive is called."""

    name: str
    classes: tuple[str, ...]
    counts: tuple[int, int]
    unpacked: str
    archive: str
    loader: str


SETS = {
    "cifar10": Cifar("cifar10", CIFAR10, (50_000, 10_000), "cifar-10-batches-py", "cifar-10-python.tar.gz", "CIFAR10"),
    "cifar100": Cifar("cifar100", CIFAR100, (50_000, 10_000), "cifar-100-python", "cifar-100-python.tar.gz", "CIFAR100"),
}


@dataclass(frozen=True)
class Source:
    """Where a form of the data set was found, and how to read it."""

    form: str
    path: Path
    read: Callable[[], dict[str, Part]]


def find(dataset: Cifar, root: Path) -> Source | None:
    """The first form that lies under `root`: the official archive, NAME.npz, or class folders. Nothing is read yet."""
    if (root / dataset.unpacked).is_dir():
        return Source("official archive", root / dataset.unpacked, lambda: read_official(dataset, root))
    if (root / dataset.archive).is_file():
        return Source("official archive, packed", root / dataset.archive, lambda: read_packed(dataset, root))
    for path in (root / f"{dataset.name}.npz", root):
        if path.is_file() and path.suffix == ".npz":
            return Source("npz", path, lambda path=path: read_npz(dataset, path))
    for folder in (root / dataset.name, root):
        if (folder / "train").is_dir() and set(dataset.classes[:2]) <= {e.name for e in (folder / "train").iterdir()}:
            return Source("class folders", folder, lambda folder=folder: read_folders(dataset, folder))
    return None


def read(dataset: Cifar, root: Path, download: bool = False) -> dict[str, Part]:
    """Images (N, 32, 32, 3) uint8 and labels of "train" and "test". Raises InputError where they are absent or damaged."""
    if not root.exists() and not download:
        raise InputError(f"There is no folder {root}: give the one that holds {dataset.name}, or --download to fetch it there.")
    source = find(dataset, root)
    if source is None and not download:
        raise InputError(
            f"{root} holds no {dataset.name}: put {dataset.unpacked}/, {dataset.name}.npz or {dataset.name}/train/CLASS/*.png there, "
            f"or let --download fetch the official archive."
        )
    try:
        parts = source.read() if source else fetch(dataset, root)
    except PermissionError as error:
        raise InputError(f"Cannot read {error.filename or root} (permission denied): check its permissions.") from error
    where = source.path if source else root
    for (name, (images, labels)), count in zip(parts.items(), dataset.counts, strict=True):
        _check(dataset, where, name, images, labels, count)
    return parts


def _check(dataset: Cifar, where: Path, name: str, images: np.ndarray, labels: np.ndarray, count: int) -> None:
    """Every form of the data set has the same shapes, and its official number of images, evenly over the classes."""
    again = "fetch it again"
    if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3):
        raise InputError(f"{where}: the {name} images are {images.dtype} {images.shape} and should be uint8 (N, 32, 32, 3): {again}.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise InputError(f"{where}: the {name} labels are {labels.dtype} {labels.shape} for {len(images)} images: {again}.")
    if len(labels) and (labels.min() < 0 or labels.max() >= len(dataset.classes)):
        raise InputError(f"{where}: the {name} labels reach from {labels.min()} to {labels.max()}, not 0 to {len(dataset.classes) - 1}: {again}.")
    if len(images) != count:
        raise InputError(f"{where} has {len(images)} {name} images and {dataset.name} has {count}: {again}.")
    per_class = np.bincount(labels, minlength=len(dataset.classes))
    if (per_class != count // len(dataset.classes)).any():
        odd = int(np.argmax(per_class != count // len(dataset.classes)))
        raise InputError(f"{where}: class {dataset.classes[odd]} has {per_class[odd]} {name} images, not {count // len(dataset.classes)}: {again}.")


def read_npz(dataset: Cifar, path: Path) -> dict[str, Part]:
    """NAME.npz with x_train, y_train, x_test, y_test; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(stored.files)
            if missing:
                raise InputError(f"{path} lacks {', '.join(sorted(missing))}: it needs x_train, y_train, x_test and y_test.")
            return {part: (stored[f"x_{part}"], stored[f"y_{part}"].reshape(-1)) for part in ("train", "test")}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{path} is damaged or is not an .npz of plain arrays: fetch or make it again.") from error


def read_folders(dataset: Cifar, folder: Path) -> dict[str, Part]:
    """`folder`/{train,test}/CLASS/ with PNG or lossless WebP files."""
    return {part: read_part(folder / part, dataset.classes, lossless=True) for part in ("train", "test")}


def read_official(dataset: Cifar, root: Path) -> dict[str, Part]:
    """The unpacked official archive, whose checksums torchvision verifies."""
    import torchvision

    parts = {}
    for part in ("train", "test"):
        try:
            loaded = getattr(torchvision.datasets, dataset.loader)(root, train=part == "train", download=False)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, KeyError, ValueError) as error:
            if isinstance(error, PermissionError):
                raise
            path = root / dataset.unpacked
            raise InputError(f"{path} is damaged or incomplete: remove it and fetch the archive again (--download).") from error
        if tuple(loaded.classes) != dataset.classes:
            raise InputError(f"{root / dataset.unpacked} names other classes than {dataset.name} has: fetch it again.")
        parts[part] = loaded.data, np.array(loaded.targets)
    return parts


def read_packed(dataset: Cifar, root: Path) -> dict[str, Part]:
    """The official archive as it was fetched: checked, unpacked beside itself, and read. It is never fetched over."""
    import torchvision
    from torchvision.datasets.utils import check_integrity, extract_archive

    path = root / dataset.archive
    if not check_integrity(path, getattr(torchvision.datasets, dataset.loader).tgz_md5):
        raise InputError(f"{path} is damaged (its MD5 is not the official one): remove it and fetch it again (--download).")
    try:
        extract_archive(str(path), str(root))
    except OSError as error:
        raise InputError(f"Cannot unpack {path} ({error.strerror or error}): free some space, or unpack it elsewhere.") from error
    return read_official(dataset, root)


def fetch(dataset: Cifar, root: Path) -> dict[str, Part]:
    """Fetch the official archive into `root` with torchvision."""
    import torchvision

    try:
        root.mkdir(parents=True, exist_ok=True)
        getattr(torchvision.datasets, dataset.loader)(root, download=True)
    except (OSError, RuntimeError) as error:  # URLError and HTTPError are OSErrors
        (root / dataset.archive).unlink(missing_ok=True)  # what a broken transfer left
        reason = getattr(error, "reason", None) or error
        raise InputError(f"Cannot fetch {dataset.name} ({reason}): check the network, or put {dataset.archive} into {root} yourself.") from error
    return read_official(dataset, root)
