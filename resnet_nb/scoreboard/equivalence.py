"""Are two ways to train equally good? Paired runs, and a margin stated before them; a test that finds no difference shows no equality.

Nothing here imports torch.
"""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from resnet_nb.errors import InputError
from resnet_nb.recipes import LATER, SILENT, completed
from resnet_nb.records import of_kind
from resnet_nb.stats import mean_interval


@dataclass(frozen=True)
class Equivalence:
    """The mean of b minus a over `pairs` pairs, and what it says about the margin; all in the values' unit.

    interval: of the mean difference, covering 2 level - 1 (90 % at level 0.95). p: the larger p value of the two one-sided tests.
    verdict: "equivalent" where the interval lies within ±margin, "different by more than the margin" where it lies outside, else "undecided".
    """

    pairs: int
    difference: float
    interval: tuple[float, float]
    margin: float
    p: float

    @property
    def verdict(self) -> str:
        low, high = self.interval
        if -self.margin < low and high < self.margin:
            return "equivalent"
        return "different by more than the margin" if low > self.margin or high < -self.margin else "undecided"


def equivalent(a: ArrayLike, b: ArrayLike, margin: float, level: float = 0.95) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987): is the mean difference of pairs above -margin, and below margin?

    a, b: (N,) values of the same seeds under either way, in the same order. Both tests reject at 1 - level exactly where the interval lies
    within ±margin. Raises ValueError for other shapes, fewer than two pairs, values that are not finite, a margin that is not positive, and a
    level that is not between 0.5 and 1.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"Arrays of shape {a.shape} and {b.shape} are not pairs: give one value for each of the same seeds.")
    if not 0 < margin < inf or not 0.5 < level < 1:
        raise ValueError(f"Margin {margin} and level {level}: the margin is positive, the level between 0.5 and 1.")
    differences = b - a
    interval = mean_interval(differences, 2 * level - 1)
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / sqrt(len(differences))
    p = max(_p_above(mean + margin, error, len(a)), _p_above(margin - mean, error, len(a)))
    return Equivalence(len(a), mean, interval, margin, p)


def _p_above(distance: float, error: float, pairs: int) -> float:
    """The p value of "the mean is not above the bound" for a mean that lies `distance` above it; without any spread it is certain."""
    if error == 0:
        return 0.5 if distance == 0 else float(distance < 0)
    return float(stats.t.sf(distance / error, pairs - 1))


def pairs(records: Iterable[dict], field: str = "precision") -> pd.DataFrame:
    """The test errors (percent) of training runs in pairs that differ in one field of the recipe alone: a row a model and seed that has both.

    records: those of one study. field: of the recipe, with two values among them. Returns columns model, seed, and one for each of the two values,
    the field's default first. A seed that was run with one value alone has no row. Raises InputError where the field does not have two values,
    the runs of a model differ in more than it (in length, width, rate or kind of device, say), a run is there twice, or no seed has both.
    """
    runs = of_kind("training", records)
    values = {_text(completed(record["recipe"]).get(field)) for record in runs}
    if len(values) != 2:
        raise InputError(f"The runs have {len(values)} values of the recipe's {field} ({', '.join(sorted(values)) or 'none'}): pairs need two.")
    first, second = sorted(values, key=lambda value: (value != _text(LATER.get(field)), value))
    by_model: dict[str, list[dict]] = {}
    for record in runs:
        by_model.setdefault(record["model"]["name"], []).append(record)
    rows = []
    for model, own in by_model.items():
        _check_alike(model, own, field)
        rows += [(model, record["seed"], _text(completed(record["recipe"]).get(field)), record["final"]["test_error"]) for record in own]
    table = pd.DataFrame(rows, columns=["model", "seed", field, "test_error"])
    if table.duplicated(["model", "seed", field]).any():
        raise InputError("Two runs are of one model, seed and recipe: choose the records of one study.")
    wide = table.pivot(index=["model", "seed"], columns=field, values="test_error").dropna()
    if wide.empty:
        raise InputError(f"No seed was run with both {first} and {second}: run `resnet-nb sweep` on the study again.")
    return wide[[first, second]].rename_axis(columns=None).reset_index()


def _check_alike(model: str, runs: list[dict], field: str) -> None:
    """Raise InputError, naming what differs, unless a model's runs differ in seed and `field` alone. Names and drawing decide no number."""
    asked = []
    for record in runs:
        net = {name: record["model"].get(name) for name in ("width", "init", "norm")}
        data = {f"data {name}": record["data"][name] for name in ("name", "fingerprint", "split")}
        recipe = {name: value for name, value in completed(record["recipe"]).items() if name not in SILENT | {field}}
        made = {"iterations": record["iterations"], "protocol": record["protocol"], "device": record["provenance"]["device"]}
        asked.append({**recipe, **net, **data, **made})
    differ = [name for name in dict.fromkeys(itertools.chain(*asked)) if len({_text(one.get(name)) for one in asked}) > 1]
    if differ:
        raise InputError(f"The runs of {model} differ in {' and '.join(differ)} too: choose those that differ in {field} alone.")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
