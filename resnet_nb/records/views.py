"""Recorded views: the scores that a net gave to each view of each picture, in one small file, from which every protocol is computed anew.

A view's logits are those whose softmax is the view's posterior; for the dense forms, whose posterior is a mean over windows, its logarithm, and the
same for the other rules. Half precision is enough for errors: `save` counts the predictions that it changes. Nothing here imports torch.
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp

from resnet_nb.errors import InputError
from resnet_nb.files import DAMAGED, write_atomically

FORMAT = 1
# what a view is: "crop" or "dense", the short side that it is resized to, zeros around it, where it lies, mirrored, the dense form's rule
COLUMNS = ("form", "short", "pad", "place", "mirrored", "rule")


@dataclass(frozen=True)
class Views:
    """N pictures under V views of one net.

    logits: float32 (N, V, classes). labels: int64 (N,). names: N strings. views: a table of V rows with COLUMNS; `short` is 0 for pictures as they
    are. about: what JSON holds: model, weights, data, normalisation, provenance.
    """

    logits: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    views: pd.DataFrame
    about: dict

    def __post_init__(self) -> None:
        count, views, _ = self.logits.shape
        if (count, count, views) != (len(self.labels), len(self.names), len(self.views)):
            raise InputError(f"{count} pictures with {len(self.labels)} labels, {len(self.names)} names and {len(self.views)} of {views} views.")

    def where(self, **wanted: object) -> "Views":
        """Those views whose columns have the wanted values, or one of several. Raises InputError where there is none."""
        keep = np.ones(len(self.views), bool)
        for column, value in wanted.items():
            keep &= self.views[column].isin([value] if isinstance(value, str | int | bool) else list(value)).to_numpy()
        if not keep.any():
            raise InputError(f"No recorded view has {', '.join(f'{name} {value}' for name, value in wanted.items())}.")
        return replace(self, logits=self.logits[:, keep], views=self.views[keep].reset_index(drop=True))

    def posterior(self, average: str = "softmax") -> np.ndarray:
        """Scores (N, classes) that sum to one: views of one short side are averaged, then the short sides, each counting once (section 3.4).

        average: "softmax" averages the views' posteriors, "logits" their logits before one softmax.
        """
        return np.exp(log_posterior(self.logits, self.views["short"].to_numpy(), average))

    def right(self, average: str = "softmax") -> np.ndarray:
        """(N,) bool: whether the likeliest class is the label."""
        return self.posterior(average).argmax(1) == self.labels

    def error(self, average: str = "softmax") -> float:
        """Top-1 error in percent."""
        return 100 * float(1 - self.right(average).mean())


def log_posterior(logits: np.ndarray, shorts: np.ndarray, average: str = "softmax") -> np.ndarray:
    """Log scores (N, classes) of logits (N, V, classes), whose views have the short sides `shorts` (V,). See `Views.posterior`."""
    if average not in ("softmax", "logits"):
        raise InputError(f"Unknown average {average!r}: softmax or logits.")
    sides, counts = np.unique(shorts, return_counts=True)
    share = 1 / (len(sides) * counts[np.searchsorted(sides, shorts)])  # of each view, so that each short side counts once
    if average == "logits":
        return log_softmax(np.einsum("nvc,v->nc", logits, share), axis=1)
    return logsumexp(log_softmax(logits, axis=2), axis=1, b=share[None, :, None])


def of_same_pictures(several: Iterable[Views]) -> bool:
    """Whether all are of the same pictures, with the same labels, in the same order; False where there is none."""
    views = list(several)
    return bool(views) and all(one.names == views[0].names and np.array_equal(one.labels, views[0].labels) for one in views)


def beside(parts: Sequence[Views]) -> Views:
    """The views of several files of one net on the same pictures, in order; a view that is there twice is kept once, as it comes first.

    `about` holds what all parts say alike, and under "files" what each says. Raises InputError where pictures, labels or the net differ: its
    weights, their checksum, or the normalisation of what it was given; and where there is no part.
    """
    if not of_same_pictures(parts):
        raise InputError("Recorded views can be joined where they are of the same pictures in the same order, with the same labels.")
    first = parts[0].about
    for key in ("weights", "weights_sha256", "normalisation"):
        if other := next((part.about for part in parts if part.about.get(key) != first.get(key)), None):
            raise InputError(f"Recorded views of two nets are not joined: {key} is {first.get(key)} in one file and {other.get(key)} in another.")
    table = pd.concat([part.views for part in parts], ignore_index=True)
    keep = ~table.duplicated().to_numpy()
    alike = {key: value for key, value in first.items() if all(key in part.about and part.about[key] == value for part in parts)}
    return Views(
        np.concatenate([part.logits for part in parts], axis=1)[:, keep], parts[0].labels, parts[0].names, table[keep].reset_index(drop=True),
        alike | {"files": [part.about for part in parts]},
    )  # fmt: skip


def together(members: Sequence[Views], average: str = "softmax") -> Views:
    """An ensemble (section 3.4's last sentence): the members' posteriors, or logits, averaged; a file with one view.

    Raises InputError where the members' pictures differ, or there is none.
    """
    if not of_same_pictures(members):
        raise InputError("An ensemble needs recorded views of the same pictures, with the same labels, in the same order.")
    if len({member.logits.shape[2] for member in members}) > 1:
        raise InputError("An ensemble's members tell the same classes apart: these have other numbers of them.")
    scores = [log_posterior(member.logits, member.views["short"].to_numpy(), average) for member in members]
    logits = log_posterior(np.stack(scores, axis=1), np.zeros(len(scores)), average)
    row = pd.DataFrame([("crop", 0, 0, "ensemble", False, "")], columns=list(COLUMNS))
    return Views(logits[:, None], members[0].labels, members[0].names, row, {"members": [member.about for member in members]})


def save(path: Path, views: Views) -> int:
    """Write float16 scores to `path` atomically; returns how many predictions of single views the rounding changes."""
    rounded = views.logits.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise InputError("The scores are too large for half precision, or not numbers: the weights hold nan or infinity.")
    head = {"format": FORMAT, "views": views.views.to_dict("list"), "about": views.about}
    buffer = io.BytesIO()
    names = np.array(views.names, dtype=np.str_)
    np.savez_compressed(buffer, logits=rounded, labels=views.labels.astype(np.int64), names=names, head=np.array(json.dumps(head)))
    write_atomically(path, buffer.getvalue())
    return int((rounded.argmax(2) != views.logits.argmax(2)).sum())


def load(path: Path) -> Views:
    """Read what `save` wrote; nothing in the file is run. Raises InputError naming the file where it is absent, damaged or of another format."""
    if not Path(path).is_file():
        raise InputError(f"There is no file of recorded views {path}: make one with resnet-nb evaluate ... --save-scores {path}.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            head = json.loads(str(stored["head"]))
            table = pd.DataFrame(head["views"])[list(COLUMNS)]
            kept = stored["logits"].astype(np.float32), stored["labels"], tuple(map(str, stored["names"])), table, head["about"]
    except DAMAGED as error:
        raise InputError(f"{path} is damaged or holds no recorded views: make it anew with --save-scores.") from error
    if head["format"] != FORMAT:
        raise InputError(f"{path} has format {head['format']} and this version reads {FORMAT}: make it anew with --save-scores.")
    return Views(*kept)
