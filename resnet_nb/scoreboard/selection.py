"""Selection bias: how far a reported test error lies below what one run gives, when the epoch or the run was chosen on the test set.

The paper reports ResNet-110 as "best (mean ± std)" of five runs (He et al. 2015, Table 6). Recorded runs that were evaluated many times on
validation and test images tell what each way of choosing would have reported. Errors are in percent; nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from math import comb, gamma, sqrt

import numpy as np
import pandas as pd
from scipy import integrate, stats

from resnet_nb.errors import InputError
from resnet_nb.published import fact
from resnet_nb.stats import FEWEST_RUNS, mean_interval

LAST, BEST_EVALUATION, BEST_RUN, BEST_OF_ALL, ON_VALIDATION = WAYS = (
    "one run, last evaluation",
    "one run, best evaluation on test",
    "best run on test, last evaluation",
    "best run and evaluation on test",
    "run and evaluation chosen on validation",
)
# of each way: the column by which a run is chosen (none: any run is taken), that which is reported, and the same net's error on the other images
COLUMNS = {
    LAST: (None, "last_test", "last_validation"),
    BEST_EVALUATION: (None, "best_test", "best_validation"),
    BEST_RUN: ("last_test", "last_test", "last_validation"),
    BEST_OF_ALL: ("best_test", "best_test", "best_validation"),
    ON_VALIDATION: ("chosen_validation", "chosen_test", None),
}
SAME = ("model", "data", "recipe", "iterations")
SHARE = 2  # of the recorded runs, the part up to which a choice among n of them has an interval: see `optimism`


def chosen(runs: Sequence[dict]) -> pd.DataFrame:
    """What each run would report, a row a seed: the evaluation that was taken, and its errors on test and validation images.

    runs: training records that differ in the seed alone, with a validation part. Columns: seed, and three columns each of `last` (the last
    evaluation), `best` (the lowest test error; of equal ones the first, which is what a script keeps that saves a net when it improves) and
    `chosen` (the lowest validation error; of equal ones the latest, as the net was trained longest and the test images have no say):
    last_iteration, last_test, last_validation and so on. Raises InputError where there is no validation part, or the runs differ in more.
    """
    if not runs:
        raise InputError("There are no runs to choose from: load a study, such as digits-selection.")
    for field in SAME:
        if any(run[field] != runs[0][field] for run in runs):
            raise InputError(f"The runs differ in their {field}: choose those of one net, data set, recipe and length.")
    if len({run["seed"] for run in runs}) < len(runs):
        raise InputError("A seed occurs twice among the runs: choose one study.")
    return pd.DataFrame([_row(run) for run in sorted(runs, key=lambda run: run["seed"])])


def _row(run: dict) -> dict[str, float]:
    points = run["evaluations"]
    if points["validation_error"] is None:
        raise InputError(f"The run with seed {run['seed']} has no validation images: train it with --split, such as 1000/400 of the digits.")
    validation, test = np.array(points["validation_error"]), np.array(points["test_error"])
    places = {"last": len(test) - 1, "best": test.argmin(), "chosen": len(test) - 1 - validation[::-1].argmin()}
    row: dict[str, float] = {"seed": run["seed"]}
    for name, place in places.items():
        row |= {f"{name}_iteration": points["iteration"][place], f"{name}_test": test[place], f"{name}_validation": validation[place]}
    return row


def expected_choice(keys: Sequence[float], values: Sequence[float], n: int) -> float:
    """Expected value of the run with the lowest key among n that are drawn, without replacement, from the N given.

    Exact: the lowest key is at least k in comb(runs with a key of at least k, n) of the comb(N, n) sets. Of runs with equal keys each is taken
    equally often. With values = keys it is the expected minimum. keys, values: N numbers; n: 1 to N, else ValueError.
    """
    keys, values = np.asarray(keys, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not 1 <= n <= len(keys):
        raise ValueError(f"{n} of {len(keys)} runs cannot be drawn.")
    total, expected = comb(len(keys), n), 0.0
    for key in np.unique(keys):
        sets = comb(int((keys >= key).sum()), n) - comb(int((keys > key).sum()), n)
        expected += sets / total * values[keys == key].mean()
    return float(expected)


def optimism(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """What each way of choosing is expected to report for 1 to N runs, and how far that lies below the mean of the last evaluations.

    table: `chosen`, N rows. Columns, a row for each of `WAYS` and number of runs n: way; runs; expected, the reported test error; honest, the
    mean test error of the last evaluations, with honest_low and honest_high; below = honest - expected, in percentage points, with low and
    high; kept: how much lower than on average the same nets' error is on images that had no part in the choice, with kept_low and kept_high
    (validation images where the test images chose; the test images, hence `below` again, where the validation images did). What is below and
    not kept is optimism.

    The expectations are exact for sets of n of the recorded runs, and so unbiased for n new ones. The intervals are for new seeds with the
    same images: t of N - 1 degrees on the jackknife's standard error. A bootstrap draws some runs twice and so has fewer to choose from: the
    best of n of 24 simulated normal runs lay in its 95 % intervals in 89 % (n = 2) to 80 % (n = 12) of 500 repetitions, in the jackknife's in
    94 to 87 % of 1,500. For n over N / 2 both fail (75 and 83 % at n = 20): low and high are missing there. Raises InputError for fewer than
    three runs.
    """
    count = len(table)
    if count < FEWEST_RUNS:
        raise InputError(f"{count} runs show no spread: give at least {FEWEST_RUNS}.")
    columns = {name: table[name].to_numpy(dtype=np.float64) for name in table}
    without = [{name: np.delete(column, place) for name, column in columns.items()} for place in range(count)]
    quantile = stats.t.ppf((1 + level) / 2, count - 1)
    honest = columns["last_test"].mean()
    honest_low, honest_high = mean_interval(columns["last_test"], level)
    rows = []
    for way in WAYS:
        for n in range(1, count + 1):
            gains = np.array(_gains(columns, way, n))
            halves = [np.nan, np.nan]
            if n <= count // SHARE:
                halves = quantile * _jackknife_error(np.array([_gains(rest, way, n) for rest in without]))
            low, high = gains - halves, gains + halves
            rows.append((way, n, honest - gains[0], honest, honest_low, honest_high, *np.transpose([gains, low, high]).ravel()))
    names = ["way", "runs", "expected", "honest", "honest_low", "honest_high", "below", "low", "high", "kept", "kept_low", "kept_high"]
    return pd.DataFrame(rows, columns=names)


def _gains(columns: Mapping[str, np.ndarray], way: str, n: int) -> tuple[float, float]:
    """`below` and `kept` of a way of choosing among n of the runs."""
    key, reported, other = COLUMNS[way]
    keys = columns[key] if key else np.zeros(len(columns["last_test"]))  # all equal: each run is taken equally often
    below = columns["last_test"].mean() - expected_choice(keys, columns[reported], n)
    if other is None:
        return below, below
    return below, columns["last_validation"].mean() - expected_choice(keys, columns[other], n)


def _jackknife_error(without: np.ndarray) -> np.ndarray:
    """Standard errors (Tukey 1958) from the statistics (N, ...) that leave out one run each; on average not too small (Efron and Stein 1981)."""
    count = len(without)
    return np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))


def normal_minimum(n: int) -> float:
    """By how many standard deviations the least of n independent normal draws is expected to lie below the mean: 1.163 for five."""
    integral, _ = integrate.quad(lambda x: -n * x * stats.norm.pdf(x) * stats.norm.sf(x) ** (n - 1), -np.inf, np.inf)
    return float(integral)


def published_gap(id: str = "c6.resnet110") -> dict[str, object]:
    """The published best of several runs against their printed mean: is it as far below as the best of normal draws would be?

    Returns fact_id, verified, value, mean, std (percent), runs; points = mean - value and below, the same in printed standard deviations, with
    least and most, what it can be given the rounding of the three to 0.01; expected: `normal_minimum` of as many draws. The printed deviation
    is that of the same runs, and smaller than the true one on average: expected_in_sample is what mean minus best is then expected to be, in
    deviations with n - 1 in the denominator, and expected_in_population with n (the paper does not say which). Both are exact: for normal
    draws the ratio does not depend on the deviation (Basu 1955). Raises InputError where the fact has no mean of several runs.
    """
    known = fact(id)
    spread = known.extra.get("mean_std")
    if spread is None:
        raise InputError(f"The fact {id} has no printed mean of several runs: c6.resnet110 has.")
    mean, std, runs = spread["mean"], spread["std"], spread["runs"]
    points, half = mean - known.value, 0.005  # half: of the last printed digit
    expected = normal_minimum(runs)
    shrunk = sqrt(2 / (runs - 1)) * gamma(runs / 2) / gamma((runs - 1) / 2)  # mean of the sample's deviation, in true ones
    return {
        "fact_id": id, "verified": known.verified, "value": known.value, "mean": mean, "std": std, "runs": runs, "points": points,
        "below": points / std, "least": (points - 2 * half) / (std + half), "most": (points + 2 * half) / (std - half),
        "expected": expected, "expected_in_sample": expected / shrunk, "expected_in_population": expected / shrunk * sqrt(runs / (runs - 1)),
    }  # fmt: skip
