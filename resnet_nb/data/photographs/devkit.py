"""Labels of ImageNet's validation images where these lie in one flat folder: from the development kit, or from Kaggle's table.

The kit numbers the classes 1 to 1,000 in an order of its own (ILSVRC2012_ID), which is not that of the sorted wnids by which published nets count
them: its meta.mat leads from the one to the other.
"""

import csv
import re
from pathlib import Path

from resnet_nb.data.photographs.thousand import wnid_labels
from resnet_nb.errors import InputError

IMAGES = 50_000
IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})", re.ASCII)
TRUTH, META, TABLE = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "LOC_val_solution.csv"
KIT = ("ILSVRC2012_devkit_t12/data", "data", ".")
LEVELS = 4  # Kaggle's table lies beside ILSVRC/Data/CLS-LOC/val


def validation_labels(folder: Path) -> tuple[dict[int, int], Path]:
    """The label of image NUMBER in ILSVRC2012_val_NUMBER.JPEG, and the file that says so: beside the images in `folder` or up to four levels above.

    Raises InputError where there is none, or it is damaged.
    """
    for place in (folder, *folder.absolute().parents[:LEVELS]):
        for kit in (place / name for name in KIT):
            if (kit / TRUTH).is_file():
                return _read_kit(kit), kit / TRUTH
        if (place / TABLE).is_file():
            return _read_table(place / TABLE), place / TABLE
    raise InputError(
        f"{folder} holds images without labels: unpack ILSVRC2012_devkit_t12.tar.gz or put Kaggle's {TABLE} beside it, "
        f"or sort the images into class folders."
    )


def _read_kit(kit: Path) -> dict[int, int]:
    lines = (kit / TRUTH).read_text(errors="replace").split()
    label = _labels_of_ids(kit / META)
    if len(lines) != IMAGES or not set(lines) <= set(label):
        raise InputError(f"{kit / TRUTH} is damaged, it has not {IMAGES:,} lines from 1 to 1000: unpack the devkit again.")
    return {number: label[line] for number, line in enumerate(lines, 1)}


def _labels_of_ids(meta: Path) -> dict[str, int]:
    """The label of each ILSVRC2012_ID, in digits as in the ground truth. Above 1,000 stand groups of classes, which are no labels."""
    from scipy.io import loadmat  # slow to import

    if not meta.is_file():
        raise InputError(f"There is no {meta}, which says what the devkit's numbers mean: unpack the devkit again.")
    try:
        rows = loadmat(meta, squeeze_me=True)["synsets"]
        wnids = {str(int(row["ILSVRC2012_ID"])): str(row["WNID"]) for row in rows if row["num_children"] == 0}
    except Exception as error:  # SciPy's reader raises half a dozen types on damaged bytes
        raise InputError(f"{meta} is damaged: unpack the devkit again.") from error
    if set(wnids) != {str(number) for number in range(1, 1001)}:
        raise InputError(f"{meta} does not number a thousand classes: unpack ILSVRC2012_devkit_t12.tar.gz again.")
    label = wnid_labels(wnids.values(), meta)
    return {number: label[wnid] for number, wnid in wnids.items()}


def _read_table(table: Path) -> dict[int, int]:
    """Rows such as "ILSVRC2012_val_00000001,n01751748 111 108 230 366 n01751748 ...": the class and a box for each object of it."""
    with table.open(newline="", errors="replace") as file:
        rows = list(csv.reader(file))[1:]
    matches = [(IMAGE.fullmatch(row[0]), row[1].split()) for row in rows if len(row) == 2]
    if not rows or len(matches) < len(rows) or not all(match and words for match, words in matches):
        raise InputError(f"{table} is damaged, a row is not an image and its class: fetch it from Kaggle again.")
    wnids = {int(match[1]): words[0] for match, words in matches}
    label = wnid_labels(set(wnids.values()), table)
    return {number: label[wnid] for number, wnid in wnids.items()}
