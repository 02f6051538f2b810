"""Splits of the training images: some to train on, the rest to choose by, so that nothing is chosen on the test set."""

import re

import numpy as np

from resnet_nb.data.draws import SPLIT, permutation
from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError

WHOLE = "all"


def part_sizes(split: str | None, count: int) -> tuple[int, int] | None:
    """How many of `count` training images `split` trains on and keeps for validation; None for None and "all".

    split: two numbers of images, such as "45k/5k" or "45000/5000". Raises InputError where they do not add up, or
    cannot be read.
    """
    if split is None or split == WHOLE:
        return None
    match = re.fullmatch(r"([0-9]{1,9})(k?)/([0-9]{1,9})(k?)", split)
    if match is None:
        raise InputError(f"--split {split!r} is not understood: write all, or two numbers of images such as 45k/5k.")
    kept, held = (int(match[i]) * (1000 if match[i + 1] else 1) for i in (1, 3))
    if kept + held != count or not kept or not held:
        raise InputError(f"--split {split}: {kept} and {held} images are not the {count} training images in two parts.")
    return kept, held


def split_training(train: Part, split: str | None) -> tuple[Part, Part | None, str]:
    """Part the training images, which are in canonical order, as `split` says (see `part_sizes`).

    The first images of draws.permutation(0, SPLIT, 1, N), places in the canonical order, are trained on, the rest are
    kept for validation: every form of a data set has the same split, whatever the seed of a run (index 0 of that stream
    parts `digits`). Both parts keep canonical order. Returns training part, validation part or None, and the split's
    name, "all" or "45000/5000".
    """
    sizes = part_sizes(split, len(train))
    if sizes is None:
        return train, None, WHOLE
    drawn = permutation(0, SPLIT, 1, len(train))
    kept, held = (train.take(np.sort(places)) for places in np.split(drawn, [sizes[0]]))
    return kept, held, f"{sizes[0]}/{sizes[1]}"
