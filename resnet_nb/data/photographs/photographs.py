"""Collections of photographs as lists of files: they are too large for one tensor, and are decoded while a net is tested on them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_nb.data.cifar import FOLDERS, Found
from resnet_nb.data.folders import class_names, image_files
from resnet_nb.errors import InputError


@dataclass(frozen=True, eq=False)
class Photographs:
    """A named collection of photographs, none of them opened yet.

    paths: one file an image; names: what identifies each within the collection, wherever that lies. labels: (N,) int64, places in `classes`.
    fingerprint: "sha256:..." (see `fingerprint`). source: for people, what was read and what it can show. notes: sentences on what is unusual,
    such as missing images; whoever shows a result shows them too.
    """

    name: str
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    source: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def collect(name: str, files: Sequence[tuple[str, Path, int]], classes: tuple[str, ...], source: str, notes: Sequence[str]) -> Photographs:
    """A collection of `files`, each a name, a path and a label, in that order; their sizes are looked up, for the fingerprint."""
    names, paths, labels = zip(*files, strict=True)
    identity = fingerprint(names, labels, [path.stat().st_size for path in paths])
    return Photographs(name, paths, names, np.array(labels, dtype=np.int64), classes, source, identity, tuple(notes))


def fingerprint(names: Sequence[str], labels: Sequence[int], sizes: Sequence[int]) -> str:
    """ "sha256:" and the SHA-256 of one line an image, its name, label and size in bytes parted by tabs, in the collection's order.

    Sizes stand in for contents: hashing ImageNet's 50,000 validation files reads 6.3 GB before the first result, looking up their sizes reads
    none of them. A picture that is cut short or encoded anew is noticed so; one damaged without a change of size is not.
    """
    rows = zip(names, labels, sizes, strict=True)
    lines = "".join(f"{name}\t{label}\t{size}\n" for name, label, size in rows)
    return f"sha256:{hashlib.sha256(lines.encode(errors='surrogateescape')).hexdigest()}"


def class_files(folder: Path, labels: dict[str, int]) -> list[tuple[str, Path, int]]:
    """The images in `folder`/CLASS for the classes in `labels`, as "CLASS/FILE", path and label, by label and then by name."""
    ordered = sorted(labels, key=labels.get)
    return [(f"{name}/{path.name}", path, labels[name]) for name in ordered for path in image_files(folder / name)]


def find_folder(root: Path, part: str = "test") -> Found:
    """Where the class folders of a part lie: `root`/train; `root`/test, else `root`/val, else `root` itself for "test".

    Raises InputError where they are nowhere, or the part is another.
    """
    if part not in ("train", "test"):
        raise InputError(f"--on {part}: class folders have the parts test (or val) and train.")
    for name in ("train",) if part == "train" else ("test", "val"):
        if (root / name).is_dir():
            return Found(FOLDERS, root / name)
    if part == "train" or (root / "train").is_dir() or not root.is_dir():
        raise InputError(f"There are no {part} images in {root}: put each class's images into a folder of its own, {root / part}/CLASS/.")
    return Found(FOLDERS, root)


def folder(root: Path, part: str = "test") -> Photographs:
    """One's own photographs in class folders. Labels count the sorted names of the training classes, where `root`/train is, else of these.

    Names sort as text, as for training and as torchvision's ImageFolder has them. Raises InputError naming what is absent or no class.
    """
    place = find_folder(root, part).path
    present = class_names(place)
    classes = class_names(root / "train") if (root / "train").is_dir() else present
    unknown = sorted(set(present) - set(classes))
    if unknown:
        raise InputError(f"{place / unknown[0]} is no class of the training images in {root / 'train'}: remove or rename it.")
    files = class_files(place, {name: classes.index(name) for name in present})
    return collect("folder", files, classes, f"class folders, {place}", _notes_on_numbers(classes))


def _notes_on_numbers(classes: tuple[str, ...]) -> list[str]:
    numbers = all(name.isdecimal() for name in classes)
    if not numbers or sorted(classes, key=int) == list(classes):
        return []
    return [f"The classes are numbers sorted as text ({', '.join(classes[:3])} ...), so that class {classes[2]} has label 2."]
