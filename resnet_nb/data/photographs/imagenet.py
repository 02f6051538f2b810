"""ImageNet, ImageNetV2 and Imagenette, with labels in the thousand classes of the published nets.

imagenet     50,000 validation images of ILSVRC 2012 (Russakovsky et al. 2015): class folders val/nXXXXXXXX/, or a flat folder with the
             labels of the development kit or of Kaggle's table beside it; 1,281,167 training images, class folders train/nXXXXXXXX/
imagenetv2   10,000 new images (Recht et al. 2019), matched-frequency, class folders 0 to 999
imagenette   ten classes of ImageNet (fast.ai), imagenette2, imagenette2-320 or imagenette2-160

What lies in the folders is taken as it is: too few or too many images are no error, and a note says so.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from resnet_nb.data.cifar import FOLDERS, Found
from resnet_nb.data.folders import class_names
from resnet_nb.data.load import data_root, explained
from resnet_nb.data.photographs.devkit import IMAGE, validation_labels
from resnet_nb.data.photographs.photographs import Photographs, class_files, collect, find_folder, folder
from resnet_nb.data.photographs.thousand import imagenet_classes, wnid_labels
from resnet_nb.errors import InputError

FLAT = "flat folder"
BASES = (".", "imagenet", "ILSVRC2012", "ILSVRC")
VALIDATION = ("val", "validation", "ILSVRC2012_img_val", "Data/CLS-LOC/val", ".")  # the last but one is Kaggle's
TRAINING = ("train", "ILSVRC2012_img_train", "Data/CLS-LOC/train")
IMAGE_FILE = re.compile(IMAGE.pattern + r"\.(?:jpe?g|png|webp)", re.ASCII | re.IGNORECASE)
WNID = re.compile(r"n\d{8}", re.ASCII)
TRAINING_IMAGES, VALIDATION_IMAGES, MATCHED_IMAGES = 1_281_167, 50_000, 10_000
MATCHED = ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency", "imagenetv2")
OTHER_VARIANTS = ("threshold", "top-images")  # in the names of ImageNetV2's other two folders
IMAGENETTE = {
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip
IMAGENETTES = ("imagenette2", "imagenette2-320", "imagenette2-160", "imagenette")
IMAGENETTE_IMAGES = {"train": 9_469, "val": 3_925}  # of imagenette2, in each of its sizes
TESTS_NOTHING = "its pictures come from ImageNet's own training and validation sets, so it tests no pretrained net"


def photographs(name: str, root: Path | str | None = None, part: str = "test") -> Photographs:
    """The collection called `name`, one of PHOTOGRAPHS. root: where data lies, else the variable RESNET_NB_DATA.

    part: "test", for which ImageNet and Imagenette have their validation images, or "train", which ImageNetV2 has not. Raises InputError,
    one sentence with the remedy, for whatever is absent, damaged or mislabelled. Nothing is decoded: pictures are read while they are scored.
    """
    place = _place(name, root)
    with explained(place):
        return PHOTOGRAPHS[name][1](place, part)


def find_photographs(name: str, root: Path | str | None = None, part: str = "test") -> Found:
    """Where the collection lies and in which form. Raises InputError that says what to put where, if it is nowhere."""
    place = _place(name, root)
    with explained(place):
        return PHOTOGRAPHS[name][0](place, part)


def available_photographs(root: Path | str | None = None) -> list[dict]:
    """For each collection: `name`, where it was `found`, its `form`, or else the `remedy`, as `data.available` has them. Nothing is read."""
    rows = []
    for name in COLLECTIONS:
        try:
            found, remedy = find_photographs(name, root), None
        except InputError as error:
            found, remedy = None, str(error)
        rows.append({"name": name, "found": found and str(found.path), "form": found and found.form, "remedy": remedy})
    return rows


def describe_photographs(found: Photographs) -> dict:
    """What `resnet-nb data NAME` prints: JSON-ready."""
    present = [found.classes[label] for label in np.unique(found.labels)]
    return {
        "name": found.name,
        "source": found.source,
        "fingerprint": found.fingerprint,
        "classes": len(present),
        "class_names": ", ".join(present[:10]) + (" ..." if len(present) > 10 else ""),
        "images": len(found),
        "notes": " ".join(found.notes) or None,
    }


def find_imagenet(root: Path, part: str = "test") -> Found:
    """The first folder of validation images in `root`, or `root` itself: class folders, or flat. Of training images: class folders."""
    if part == "train":
        return _find_training(root)
    if part != "test":
        raise InputError(f"--on {part}: imagenet has the parts test (its validation images) and train.")
    for base in BASES:
        for name in VALIDATION:
            form = _form(root / base / name)
            if form:
                return Found(form, root / base / name)
    packed = next((path for path in (root / "ILSVRC2012_img_val.tar", root / "imagenet" / "ILSVRC2012_img_val.tar") if path.is_file()), None)
    if packed:
        raise InputError(f"{packed} is still packed: unpack it into {packed.parent / 'val'}, and the devkit beside it.")
    raise InputError(
        f"ImageNet's validation images are not in {root}: put them into val/nXXXXXXXX/ there, "
        f"or into val/ with ILSVRC2012_devkit_t12 or Kaggle's LOC_val_solution.csv beside it."
    )


def _find_training(root: Path) -> Found:
    for place in (root / base / name for base in BASES for name in TRAINING):
        if _form(place) == FOLDERS:
            return Found(FOLDERS, place)
    raise InputError(f"ImageNet's training images are not in {root}: unpack ILSVRC2012_img_train.tar and the tars in it into train/nXXXXXXXX/ there.")


def _form(place: Path) -> str | None:
    if not place.is_dir():
        return None
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries]
    flat = sum(IMAGE_FILE.fullmatch(name) is not None for name in names)
    classes = sum(WNID.fullmatch(name) is not None for name in names)
    if flat and classes:
        outside = f"{classes} class folders and {flat:,} images outside them"
        raise InputError(f"{place} holds {outside}: sort these into their classes, or move the folders away.")
    return FOLDERS if classes else FLAT if flat else None


def imagenet(root: Path, part: str = "test") -> Photographs:
    """ImageNet's images in the order of their file names: for validation that is the same in both forms, and so is the fingerprint."""
    found = find_imagenet(root, part)
    files, says = _in_classes(found.path) if found.form == FOLDERS else _in_one_folder(found.path)
    files.sort()
    twice = next((one for one, other in zip(files[1:], files, strict=False) if one[0] == other[0]), None)
    if twice:
        raise InputError(f"{twice[1]} lies in another class folder too: remove it where it does not belong.")
    what, whole = ("training", TRAINING_IMAGES) if part == "train" else ("validation", VALIDATION_IMAGES)
    source = f"ImageNet's {what} images, {found.form}, {found.path}{says}"
    notes = _notes(files, whole, f"ImageNet's {what} set", even=part != "train")
    return collect("imagenet", files, imagenet_classes(), source, notes)


def _in_classes(place: Path) -> tuple[list[tuple[str, Path, int]], str]:
    labels = wnid_labels(class_names(place), place)
    return [(path.name, path, label) for _, path, label in class_files(place, labels)], ""


def _in_one_folder(place: Path) -> tuple[list[tuple[str, Path, int]], str]:
    labels, says = validation_labels(place)
    numbers = {path: int(match[1]) for path in place.iterdir() if (match := IMAGE_FILE.fullmatch(path.name))}
    unlabelled = next((path for path, number in numbers.items() if number not in labels), None)
    if unlabelled:
        raise InputError(f"{says} has no label for {unlabelled}: take the whole file, or remove the image.")
    return [(path.name, path, labels[number]) for path, number in numbers.items()], f", labels of {says.name}"


def find_imagenetv2(root: Path, part: str = "test") -> Found:
    """The matched-frequency folder in `root`, or `root` itself where it holds class folders of numbers."""
    _only_test("imagenetv2", part)
    for place in (*(root / name for name in MATCHED), root):
        if place.is_dir() and any(name.isdecimal() for name in os.listdir(place)):
            return Found(FOLDERS, place)
    raise InputError(f"ImageNetV2 is not in {root}: unpack imagenetv2-matched-frequency.tar.gz there, which makes {MATCHED[0]}/0 to 999.")


def imagenetv2(root: Path, part: str = "test") -> Photographs:
    """ImageNetV2, by label and file name. Its folders sort as numbers: as text 10 comes before 2, and 988 of the 1,000 classes would be wrong."""
    place = find_imagenetv2(root, part).path
    labels = _numbered(class_names(place), place)
    files = class_files(place, labels)
    other = next((variant for variant in OTHER_VARIANTS if variant in place.name), None)
    notes = [f"This is the variant {other} of ImageNetV2, whose errors are lower than those of matched-frequency."] if other else []
    notes += _notes(files, MATCHED_IMAGES, "ImageNetV2")
    return collect("imagenetv2", files, imagenet_classes(), f"ImageNetV2, {other or 'matched-frequency'}, {place}", notes)


def _numbered(names: Sequence[str], place: Path) -> dict[str, int]:
    odd = next((name for name in names if not re.fullmatch(r"[0-9]{1,4}", name) or int(name) > 999), None)
    if odd or len({int(name) for name in names}) < len(names):
        raise InputError(f"{place / odd if odd else place}: ImageNetV2's class folders are the numbers 0 to 999, each once; remove what is none.")
    return {name: int(name) for name in names}


def find_imagenette(root: Path, part: str = "test") -> Found:
    """The largest Imagenette in `root`, or `root` itself."""
    if part not in ("train", "test"):
        raise InputError(f"--on {part}: imagenette has the parts test (its val folder) and train.")
    name = "train" if part == "train" else "val"
    for place in (*(root / size for size in IMAGENETTES), root):
        if any((place / name / wnid).is_dir() for wnid in IMAGENETTE):
            return Found(FOLDERS, place / name)
    raise InputError(f"Imagenette is not in {root}: unpack imagenette2.tgz there, or imagenette2-320.tgz or -160, with {name}/nXXXXXXXX/.")


def imagenette(root: Path, part: str = "test") -> Photographs:
    """Imagenette, by label and file name, its labels those of the thousand classes."""
    place = find_imagenette(root, part).path
    present = class_names(place)
    unknown = next((wnid for wnid in present if wnid not in IMAGENETTE), None)
    if unknown:
        raise InputError(f"{place / unknown} is none of Imagenette's ten classes: remove it.")
    files = class_files(place, {wnid: IMAGENETTE[wnid] for wnid in present})
    notes = _notes(files, IMAGENETTE_IMAGES[place.name], f"imagenette2's {place.name} folder", even=False)
    return collect("imagenette", files, imagenet_classes(), f"Imagenette, {place}; {TESTS_NOTHING}", notes)


def _notes(files: Sequence[tuple[str, Path, int]], images: int, whole: str, even: bool = True) -> list[str]:
    """What is unusual in the number of images; `even`: the thousand classes have as many each."""
    if len(files) != images:
        return [f"{len(files):,} images, not the {images:,} of {whole}: the result is that of these alone."]
    counts = np.bincount([label for _, _, label in files], minlength=1000)
    odd = np.flatnonzero(counts != images // 1000) if even else []
    if len(odd) == 0:
        return []
    name, count = imagenet_classes()[odd[0]], counts[odd[0]]
    return [f"Class {odd[0]} ({name}) has {count} images, not {images // 1000} as in {whole}: some lie in the wrong class."]


def _only_test(name: str, part: str) -> None:
    if part != "test":
        raise InputError(f"--on {part}: of {name} only the images to test with are read, so leave --on out.")


def _place(name: str, root: Path | str | None) -> Path:
    if name not in PHOTOGRAPHS:
        raise InputError(f"Unknown collection of photographs {name!r}: choose one of {', '.join(PHOTOGRAPHS)}.")
    place = data_root(root)
    if not place.is_dir():
        raise InputError(f"There is no folder {place}: give --data-root the folder in which {name} lies.")
    return place


PHOTOGRAPHS: dict[str, tuple[Callable[[Path, str], Found], Callable[[Path, str], Photographs]]] = {
    "imagenet": (find_imagenet, imagenet),
    "imagenetv2": (find_imagenetv2, imagenetv2),
    "imagenette": (find_imagenette, imagenette),
    "folder": (find_folder, folder),
}
COLLECTIONS = ("imagenet", "imagenetv2", "imagenette")  # those that are no folder of the user's own
