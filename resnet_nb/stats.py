"""Intervals and tests beside every measured number. Errors are in percent; nothing here imports torch.

Two kinds of chance are kept apart: which images happen to be in the test set (`wilson_interval`, one trained net), and
which seed a net was trained with (`mean_interval`, `prediction_interval`, several trained nets).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_RUNS = 3  # two runs give t = 12.7: an interval that holds nearly anything


def wilson_interval(wrong: int, images: int, level: float = 0.95) -> tuple[float, float]:
    """Bounds, in percent, of the error rate behind `wrong` errors on `images` images (Wilson 1927).

    Unlike the usual p ± z·√(p(1 − p)/n) it stays in 0 to 100, and has a width where nothing or everything is wrong.
    Raises ValueError for counts that cannot be.
    """
    if images < 1 or not 0 <= wrong <= images:
        raise ValueError(f"{wrong} wrong of {images} images cannot be: count again.")
    z = stats.norm.ppf((1 + level) / 2)
    rate = wrong / images
    centre = rate + z * z / (2 * images)
    half = z * sqrt(rate * (1 - rate) / images + (z / (2 * images)) ** 2)
    scale = 1 + z * z / images
    low = 0.0 if wrong == 0 else (centre - half) / scale  # exact at the ends, where rounding would leave 1e-17
    high = 1.0 if wrong == images else (centre + half) / scale
    return float(100 * low), float(100 * high)


def mean_interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float]:
    """Where the mean over all seeds lies: mean ± t·s/√n.

    Raises ValueError for fewer than two values, or one that is not finite.
    """
    sample = _sample(values)
    return _around_mean(sample, level, sqrt(1 / len(sample)))


def prediction_interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float]:
    """Where the value of one more run lies: mean ± t·s·√(1 + 1/n), s with n − 1 in the denominator, t of n − 1 degrees.

    Five seeds with s = 0.2 give ±0.6. Raises ValueError for fewer than two values, or one that is not finite.
    """
    sample = _sample(values)
    return _around_mean(sample, level, sqrt(1 + 1 / len(sample)))


def _sample(values: Iterable[float]) -> np.ndarray:
    sample = np.asarray(list(values), dtype=np.float64)
    if len(sample) < 2:
        raise ValueError(f"A spread cannot be seen in {len(sample)} value(s): give at least two runs.")
    if not np.isfinite(sample).all():
        raise ValueError("A value is missing or not finite: leave that run out, and say so.")
    return sample


def _around_mean(sample: np.ndarray, level: float, factor: float) -> tuple[float, float]:
    half = stats.t.ppf((1 + level) / 2, len(sample) - 1) * sample.std(ddof=1) * factor
    return float(sample.mean() - half), float(sample.mean() + half)


def reproduced(
    published: float, values: Iterable[float], *, margin: float, fewest: int = FEWEST_RUNS, level: float = 0.95
) -> str:
    """"reproduced", "not reproduced" or "too few runs": does `published` stand, given runs with several seeds?

    It does if it lies in the prediction interval of one more run, and the runs' mean is within `margin` points of it.
    The margin, stated before the runs, keeps a wide spread from reproducing everything. Ends of both count as inside.
    """
    sample = list(values)
    if len(sample) < fewest:
        return "too few runs"
    low, high = prediction_interval(sample, level)
    slack = 1e-9  # points: 6.1 + 0.5 is less than 6.6 in floating point
    kept = low - slack <= published <= high + slack and abs(np.mean(sample) - published) <= margin + slack
    return "reproduced" if kept else "not reproduced"


@dataclass(frozen=True)
class DepthTrend:
    """The deepest and the shallowest net of one family, compared seed by seed.

    differences: deep minus shallow, in percentage points, in the order of `seeds`. higher: seeds that have the deeper
    net's value higher; ties: equal. p: two-sided exact sign test over the seeds that differ; n of them cannot give less
    than 2 / 2ⁿ, which is 0.0625 for five.
    """

    family: str
    column: str
    shallow: int
    deep: int
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    higher: int
    ties: int
    p: float

    @property
    def mean_difference(self) -> float:
        return float(np.mean(self.differences))


def depth_trend(table: pd.DataFrame, column: str) -> DepthTrend:
    """Is `column` higher for the deepest net than for the shallowest? Only seeds that both were trained with count.

    table: recorded runs of one family that differ in depth and seed alone (columns family, depth, seed and `column`).
    Raises ValueError for several families, one depth, two runs of one depth and seed, missing values, no common seed.
    """
    families = list(table["family"].unique())
    if len(families) != 1:
        raise ValueError(f"A trend needs one family, not {len(families)}: choose by table['family'].")
    if table.duplicated(["depth", "seed"]).any():
        raise ValueError("Two runs have one depth and seed: choose one study, width, data set, recipe and length.")
    if table["depth"].nunique() < 2:
        raise ValueError("A trend needs nets of two depths.")
    by_seed = table.pivot(index="seed", columns="depth", values=column)
    shallow, deep = int(by_seed.columns.min()), int(by_seed.columns.max())
    differences = (by_seed[deep] - by_seed[shallow]).dropna()
    common = set(table["seed"][table["depth"] == deep]) & set(table["seed"][table["depth"] == shallow])
    if not common:
        raise ValueError(f"No seed was run with both {shallow} and {deep} layers.")
    if len(differences) < len(common):
        raise ValueError(f"The column {column!r} has missing values.")
    higher, ties = int((differences > 0).sum()), int((differences == 0).sum())
    return DepthTrend(
        families[0], column, shallow, deep, tuple(int(seed) for seed in differences.index),
        tuple(float(value) for value in differences), higher, ties, sign_test(higher, len(differences) - ties),
    )  # fmt: skip


def sign_test(higher: int, pairs: int) -> float:
    """Chance of a split at least as uneven as `higher` of `pairs`, were each pair as likely higher as lower.

    Exact and two-sided; 1.0 for no pairs. Raises ValueError for counts that cannot be.
    """
    if not 0 <= higher <= pairs:
        raise ValueError(f"{higher} of {pairs} pairs cannot be higher: count again.")
    return float(stats.binomtest(higher, pairs, 0.5).pvalue) if pairs else 1.0
