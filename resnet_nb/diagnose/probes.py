"""Probes on one's own net and pictures: under which setting does the net score best, and is that more than chance?

Settings that differ from the user's in one thing are tried on the same images, each against the user's by McNemar's exact test. Chance alone
makes one of twenty look good, so each p is multiplied by the number of settings tried in its step (Bonferroni); what passes at `level` and
scores best is taken over, and the next step looks for a second fault from there. A step is only made where the one before found something, so that
a sound set-up gets a false alarm with a probability of at most `level`, whatever the number of steps.
"""

import copy
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from tqdm.auto import tqdm

from resnet_nb.audience import silenced
from resnet_nb.data import Images
from resnet_nb.data.pictures import read_picture
from resnet_nb.diagnose.settings import KINDS, NORMS, Geometry, Setting, alternatives
from resnet_nb.errors import InputError
from resnet_nb.findings.paired import McNemar, mcnemar
from resnet_nb.stats import wilson_interval

BATCH = 128  # images; in training mode the statistics are those of so many
CHUNK = 1_000  # photographs in memory at a time
LEAST = 2  # pictures: batch statistics of one alone may be of a single value
LEVEL = 0.01
STEPS = 3  # faults looked for, one after the other
ALIKE = 0.05  # two settings whose paired p is larger are not told apart
COLUMNS = [
    "step", "kind", "setting", "images", "error", "error_low", "error_high", "difference", "only_before", "only_this", "p", "p_corrected",
    "better", "seconds",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was tried. own, best: the user's setting and the one under which the net scores best; `changes` lead from the one to the other.

    table: one row a setting, the user's first; error with its 95 % interval, and difference to the setting of the step before it, in percent
    and points; only_before, only_this: images that only the one or the other gets right. comparison: own (a) against best (b).
    alike: settings of the last change's step that are not told apart from it. subset, seed: which images were drawn. unreadable: why some
    images were left out.
    """

    table: pd.DataFrame
    own: Setting
    best: Setting
    changes: tuple[str, ...]
    alike: tuple[str, ...]
    comparison: McNemar
    subset: int
    seed: int
    unreadable: tuple[str, ...] = ()

    @property
    def tried(self) -> int:
        """Settings tried besides the user's."""
        return len(self.table) - 1


def probe(
    net: nn.Module,
    pictures: Images | Sequence[Path],
    setting: Setting,
    labels: Sequence[int] | None = None,
    *,
    subset: int = 1_000,
    kinds: Sequence[str] = KINDS,
    level: float = LEVEL,
    seed: int = 0,
) -> Diagnosis:
    """Try other settings than the user's `setting` on `subset` pictures, drawn from `seed`; the net is left as it was.

    net: any classifier, on the device where it is to run and in the mode that the user evaluates in: a net in training mode is taken at its
    word. pictures: small images, or photographs' paths with their `labels` (places among the net's outputs), for which `setting` has a geometry.
    kinds: which of `settings.KINDS` to try. level: the chance of a false alarm. Raises InputError for pictures that do not fit net or setting.
    """
    _check(pictures, setting, labels, kinds)
    setting = replace(setting, normalisation=setting.normalisation.to("cpu"))  # where the others are made
    bench = _Bench(net, pictures, labels, _drawn(len(pictures), seed)[:subset], setting)
    if len(bench.targets) < LEAST:
        first = f": {bench.unreadable[0]}" if bench.unreadable else "."
        raise InputError(f"Probes compare settings on {LEAST} pictures or more, and {len(bench.targets)} can be read{first}")
    current, changes, alike = setting, [], ()
    rows = [bench.row(0, "yours", "as given", setting, setting, 1, level)]
    for step in range(1, STEPS + 1):
        others = bench.others(current, kinds)
        bar = tqdm(others, desc=f"step {step}", unit="setting", disable=silenced(), leave=False)
        found = [bench.row(step, kind, name, current, other, len(others), level) for kind, name, other in bar]
        rows += found
        better = [other for row, other in zip(found, others, strict=True) if row["better"]]
        if not better:
            break
        _, name, winner = bench.best(current, better)
        changes.append(name)
        alike = tuple(name for _, name, other in better if other is not winner and bench.test(winner, other).p > ALIKE)
        current = winner
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Diagnosis(table, setting, current, tuple(changes), alike, bench.test(setting, current), subset, seed, bench.unreadable)


def confirm(
    diagnosis: Diagnosis, net: nn.Module, pictures: Images | Sequence[Path], labels: Sequence[int] | None = None, *, images: int | None = None
) -> McNemar:
    """The user's setting (a) against the best (b) on the pictures that `probe` did not draw, all of them or so many `images`.

    Give the same net, pictures and labels. The setting was chosen on other pictures, so that p needs no correction. Raises InputError where
    no picture is left.
    """
    rest = _drawn(len(pictures), diagnosis.seed)[diagnosis.subset :][:images]
    if not len(rest):
        raise InputError(f"All {len(pictures)} pictures were drawn for the probes: probe a smaller subset to keep some for a confirmation.")
    right = []
    for chunk in np.array_split(rest, -(-len(rest) // CHUNK)):
        bench = _Bench(net, pictures, labels, chunk, diagnosis.own)
        right.append([bench.right(one) for one in (diagnosis.own, diagnosis.best)])
    return mcnemar(*(np.concatenate(one) for one in zip(*right, strict=True)))


def giving(diagnosis: Diagnosis, measured: float) -> pd.DataFrame:
    """The settings whose 95 % interval holds the error `measured` elsewhere, in percent: the ways in which it may have come about."""
    table = diagnosis.table
    return table[(table["error_low"] <= measured) & (measured <= table["error_high"])]


def verdict(diagnosis: Diagnosis) -> str:
    """One sentence: the setting under which the net scores best, against the user's, with the paired test and its correction."""
    own, found = diagnosis.table.iloc[0], diagnosis.comparison
    if not diagnosis.changes:
        rest = diagnosis.table[1:]
        least = f", the smallest corrected p of a better one being {_least(rest):.2g}" if len(rest) else ""
        return (
            f"On {own['images']:,} images none of {diagnosis.tried} other settings scores better than yours ({_percent(own)}) "
            f"by more than chance{least}."
        )
    p = min(1.0, found.p * diagnosis.tried)
    shown = f"p = {p:.2g}" if p > 1e-300 else "p < 1e-300"
    changes = " and then ".join(diagnosis.changes)
    text = (
        f"The net scores best with {changes}: {abs(found.difference):.2f} points less error than as given ({_percent(own)}), "
        f"with {found.only_b} images that only it gets right and {found.only_a} that only yours does "
        f"(McNemar's exact test on {found.images:,} images, {shown} after multiplying by the {diagnosis.tried} settings tried)"
    )
    if diagnosis.best.order is not None and diagnosis.own.order is None:
        text += "; the order of the classes was fitted on the other half of the images, as one scored where it was fitted would look too good"
    if diagnosis.alike:
        text += f"; not told apart from the last change: {', '.join(diagnosis.alike)}"
    return text + "."


def _least(rows: pd.DataFrame) -> float:
    return min([1.0, *rows["p_corrected"][rows["difference"] < 0]])


def _percent(row: pd.Series) -> str:
    return f"{row['error']:.2f} %, 95 % interval {row['error_low']:.2f} to {row['error_high']:.2f}"


def _check(pictures: Images | Sequence[Path], setting: Setting, labels: Sequence[int] | None, kinds: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(f"There is no probe {unknown[0]!r}: choose from {', '.join(KINDS)}.")
    if not len(pictures):
        raise InputError("There are no pictures to probe with: give some.")
    if isinstance(pictures, Images):
        if setting.geometry is not None or labels is not None:
            raise InputError("Small images are taken whole and bring their labels: leave geometry and labels out, or give paths.")
    elif setting.geometry is None or labels is None or len(labels) != len(pictures):
        raise InputError("Photographs need a geometry (resize and crop) and one label each: give both.")


def _drawn(count: int, seed: int) -> np.ndarray:
    """(count,) int64: places in a random order, as data sets lie in the order of their classes."""
    return np.random.default_rng(seed).permutation(count)


class _Bench:
    """One net and the pictures drawn: what it predicts under any setting, each computed once."""

    def __init__(self, net: nn.Module, pictures: Images | Sequence[Path], labels: Sequence[int] | None, drawn: np.ndarray, own: Setting):
        self.net, self.unreadable, self.predictions = net, (), {}
        if isinstance(pictures, Images):
            places = torch.from_numpy(drawn).to(pictures.labels.device)
            whole, targets = pictures.images[places], pictures.labels[places]
            self.pixels = lambda geometry: whole
        else:
            first, kept, self.unreadable = _read([pictures[place] for place in drawn], own.geometry)
            paths, targets = [pictures[place] for place in drawn[kept]], torch.tensor([int(labels[place]) for place in drawn[kept]])
            later = functools.lru_cache(maxsize=1)(lambda geometry: _read(paths, geometry)[0])
            self.pixels = lambda geometry: first if geometry == own.geometry else later(geometry)
        self.targets = targets.cpu().numpy()
        self.outputs = _scores(net, self.seen(own).images[:2], own).shape[1]
        if not 0 <= self.targets.min() <= self.targets.max() < self.outputs:
            raise InputError(f"The labels go from {targets.min()} to {targets.max()} and the net has {self.outputs} outputs: map them first.")

    def seen(self, setting: Setting) -> Images:
        """The images as `setting` hands them to its normalisation."""
        pixels = self.pixels(setting.geometry)
        return Images(pixels.flip(1) if setting.swapped else pixels, torch.from_numpy(self.targets))

    def predicted(self, setting: Setting) -> np.ndarray:
        """(N,) int64: the output with the highest score, -1 where a score is not a number."""
        if setting not in self.predictions:
            found = _scores(self.net, self.seen(setting).images, setting)
            self.predictions[setting] = torch.where(found.isnan().any(1), -1, found.argmax(1)).cpu().numpy()
        return self.predictions[setting]

    def right(self, setting: Setting) -> np.ndarray:
        """(N,) bool: which images are classified rightly."""
        predicted = self.predicted(setting)
        classes = predicted if setting.order is None else np.where(predicted < 0, -1, np.asarray(setting.order)[predicted])
        return classes == self.targets

    def compared(self, a: Setting, b: Setting) -> tuple[np.ndarray, np.ndarray]:
        """Which images are right under the one and under the other: all, or the half on which no order of the classes was fitted."""
        start = 0 if a.order is None and b.order is None else self.half
        return self.right(a)[start:], self.right(b)[start:]

    def test(self, a: Setting, b: Setting) -> McNemar:
        return mcnemar(*self.compared(a, b))

    @property
    def half(self) -> int:
        return len(self.targets) // 2

    def others(self, current: Setting, kinds: Sequence[str]) -> list[tuple[str, str, Setting]]:
        """(kind, name, setting) of all that is to be tried from `current`."""
        others = list(alternatives(current, self.net, self.seen(current), kinds))
        if "class order" in kinds and self.half:
            order = self.fitted_order(current)
            moved = sum(place != label for place, label in enumerate(order))
            ordered = replace(current, order=order)
            self.predictions[ordered] = self.predicted(current)
            others.append(("class order", f"the classes in another order ({moved} of {self.outputs} outputs stand for others)", ordered))
        return others

    def best(self, current: Setting, better: list[tuple[str, str, Setting]]) -> tuple[str, str, Setting]:
        """The one of `better` with the lowest error. An order of the classes, which was fitted, gives way to a setting that does as well."""
        ranked = sorted(better, key=lambda entry: self.test(current, entry[2]).difference)
        plain = [entry for entry in ranked if entry[2].order == current.order]
        if plain and self.test(plain[0][2], ranked[0][2]).p > ALIKE:
            return plain[0]
        return ranked[0]

    def fitted_order(self, setting: Setting) -> tuple[int, ...]:
        """The class that each output stands for where the first half of the images agrees best; what none of them tells stays as it is."""
        predicted, targets = self.predicted(setting)[: self.half], self.targets[: self.half]
        counts = np.eye(self.outputs) / (2 * self.outputs)  # all ties together weigh less than one image
        np.add.at(counts, (predicted[predicted >= 0], targets[predicted >= 0]), 1)
        return tuple(map(int, linear_sum_assignment(counts, maximize=True)[1]))

    def row(self, step: int, kind: str, name: str, before: Setting, this: Setting, tried: int, level: float) -> dict:
        """One row of the table; `tried`: the settings of its step, by which p is multiplied."""
        start = time.perf_counter()
        _, right = self.compared(before, this)
        found = self.test(before, this)
        low, high = wilson_interval(int((~right).sum()), len(right))
        corrected = min(1.0, found.p * tried)
        return {
            "step": step, "kind": kind, "setting": name, "images": found.images, "error": 100 * float((~right).mean()), "error_low": low,
            "error_high": high, "difference": found.difference, "only_before": found.only_a, "only_this": found.only_b, "p": found.p,
            "p_corrected": corrected, "better": found.difference < 0 and corrected < level, "seconds": time.perf_counter() - start,
        }  # fmt: skip


@torch.no_grad()
def _scores(net: nn.Module, images: Tensor, setting: Setting) -> Tensor:
    """Scores (N, outputs) float32 of uint8 images (N, C, H, W) under `setting`, by a copy of `net`, so that nothing of it moves."""
    variant = copy.deepcopy(net)
    for module in variant.modules():
        if isinstance(module, NORMS) and setting.epsilon is not None:
            module.eps = setting.epsilon
    if setting.training is not None:
        variant.train(setting.training)
    device = next(net.parameters()).device
    normalisation = setting.normalisation.to(device)
    found = []
    with torch.random.fork_rng():  # dropout in training mode: the same draws for every setting, and none of the user's
        torch.manual_seed(0)
        for batch in images.tensor_split(-(-len(images) // BATCH)):  # of nearly equal size: batch statistics of a last few images would be bad ones
            out = variant(normalisation(batch.to(device)))
            found.append((out if isinstance(out, Tensor) else out[0]).float())  # some library nets add auxiliary scores in training mode
    return torch.cat(found)


def _read(paths: Sequence[Path], geometry: Geometry) -> tuple[Tensor, np.ndarray, tuple[str, ...]]:
    """uint8 pictures (n, 3, crop, crop), the places of those that could be read, and why others could not."""
    pixels, kept, faults = [], [], []
    for place, path in enumerate(paths):
        try:
            pixels.append(geometry(read_picture(Path(path))))
            kept.append(place)
        except (InputError, OSError) as error:
            faults.append(str(error))
    if not kept:
        raise InputError(f"None of the {len(paths)} pictures can be read: {faults[0]}")
    return torch.stack(pixels), np.asarray(kept), tuple(faults)
