"""How fast nets of different depths learn: iterations until a running loss, each depth at its best rate, and the two laws of growth.

Without torch. The paper conjectures "exponentially low convergence rates" for deep plain nets (section 4.1). Here that is a line through
log(iterations) against depth; the rival, a power law, is a line against log(depth), or a curve, where some iterations are needed at any depth (a
floor). They are fitted to the depths' medians over seeds; a depth of which most runs ended above the loss is a bound, not a value.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from resnet_nb.errors import InputError
from resnet_nb.records import family_and_depth

LAWS = ("exponential", "power law")
DECISIVE = 20.0  # how many times likelier one law must make the medians before the other is set aside
FLOOR_COST = 1.0  # nats that the floor's parameter has to earn (Akaike 1974)
FEWEST_DEPTHS = 4  # a line through three points leaves one degree of freedom for the spread


def times_to_loss(records: Iterable[dict], losses: Sequence[float]) -> pd.DataFrame:
    """Iterations until the running loss is under each of `losses` (nats): one row a run and loss.

    Columns: model, setting, family, depth, rate, seed, loss, after, until. A setting is the data, the width, and what else departs from the paper's
    nets, such as "digits, width 8, no normalisation". The loss was reached after iteration `after` and not later than
    `until`; a run that ended without reaching it has its last iteration as `after` and infinity as `until`.
    """
    rows = []
    for record in records:
        model = record["model"]
        family, depth = family_and_depth(model["name"])
        steps, running = [0, *record["curve"]["iteration"]], np.asarray(record["curve"]["loss"])
        for loss in losses:
            under = np.flatnonzero(running < loss)
            after, until = (steps[under[0]], steps[under[0] + 1]) if len(under) else (steps[-1], np.inf)
            rows.append((model["name"], _setting(record), family, depth, record["recipe"]["rate"], record["seed"], loss, after, until))
    names = ["model", "setting", "family", "depth", "rate", "seed", "loss", "after", "until"]
    return pd.DataFrame(rows, columns=names)


def _setting(record: dict) -> str:
    model = record["model"]
    kernels = "" if model["init"] == "he-fan-in" else f", {model['init']}"
    normalised = "" if model.get("norm", "batch") == "batch" else ", no normalisation"
    return f"{record['data']['name']}, width {model['width']}{kernels}{normalised}"


def at_best_rate(times: pd.DataFrame) -> pd.DataFrame:
    """The rows of each family's and depth's best rate for each loss, chosen among the rates that were run with the most seeds.

    Rates with fewer seeds are trials that showed where to look. Best is the least median time; where it is infinite or equal, the fewest
    censored runs, then the lower rate. A column `at_edge` says whether no lower or no higher rate was tried at all, so that a better one may
    lie outside.
    """
    chosen = []
    for _, group in times.groupby(["family", "depth", "loss"], sort=True):
        seeds = group.groupby("rate")["seed"].nunique()
        full = group[group["rate"].isin(seeds.index[seeds == seeds.max()])]
        rank = full.groupby("rate")["until"].agg(middle="median", censored=lambda until: np.isinf(until).sum())
        best = rank.reset_index().sort_values(["middle", "censored", "rate"])["rate"].iloc[0]
        chosen.append(group[group["rate"] == best].assign(at_edge=best in (group["rate"].min(), group["rate"].max())))
    return pd.concat(chosen, ignore_index=True)


def medians(times: pd.DataFrame) -> pd.DataFrame:
    """One row a family, depth and loss: the median over seeds of the iterations, or a bound on it.

    times: rows of one rate for each family, depth and loss. Columns: family, depth, loss, iterations, spacing, censored, reached, runs, lowest,
    highest, factor. `spacing` is what a time is known to, the iterations between two points of the curve. `factor`: how many times the iterations
    of the family's shallowest net (nan where those are a bound; a bound where its own are).
    A time is the middle between `after` and `until`. `censored` where the median run never reached the loss: `iterations` is then the
    median of what the runs are known to exceed, a bound. `lowest` and `highest` are over the runs, infinite where one did not reach it.
    """
    rows = []
    for (family, depth, loss), group in times.groupby(["family", "depth", "loss"], sort=True):
        middle = (group["after"] + group["until"]) / 2  # infinite where the loss was not reached
        value = float(np.sort(middle)[len(middle) // 2]) if len(middle) % 2 else float(middle.median())
        censored = not np.isfinite(value)
        bound = middle.where(np.isfinite(middle), group["after"]).median() if censored else value
        spacing = 0.0 if censored else float((group["until"] - group["after"])[np.isfinite(middle)].median())
        what = (family, depth, loss, float(bound), spacing, censored)
        rows.append((*what, int(np.isfinite(middle).sum()), len(group), middle.min(), middle.max()))
    names = ["family", "depth", "loss", "iterations", "spacing", "censored", "reached", "runs", "lowest", "highest"]
    found = pd.DataFrame(rows, columns=names)
    known = found.assign(iterations=found["iterations"].where(~found["censored"]))
    shallowest = known.groupby(["family", "loss"])["iterations"].transform(lambda values: values.iloc[0])  # rows go by depth
    return found.assign(factor=found["iterations"] / shallowest)


def medians_by_setting(*times: pd.DataFrame) -> pd.DataFrame:
    """The `medians` of each setting, every depth at its best rate among those of the setting; a column `setting`, in order of appearance.

    Runs of one setting should differ in depth, rate and seed alone.
    """
    settings = pd.concat(times).groupby("setting", sort=False)
    return pd.concat([medians(at_best_rate(own)).assign(setting=name) for name, own in settings], ignore_index=True)


def in_words(middle: pd.DataFrame) -> pd.Series:
    """The iterations of each row of `medians` as text, such as "32.5", or ">800" where they are a bound."""
    return middle["censored"].map({True: ">", False: ""}) + middle["iterations"].map("{:g}".format)


@dataclass(frozen=True)
class Law:
    """A fitted law of growth: log(iterations) = intercept + slope * (depth, or log(depth) for the power law), give or take `spread`.

    slope_interval: 95 %, from the profile of the likelihood, which without bounds among the data is the usual t interval.
    log_likelihood: of the depths' medians.
    """

    name: str
    intercept: float
    slope: float
    slope_interval: tuple[float, float]
    spread: float
    log_likelihood: float

    def iterations(self, depth: Sequence[float] | np.ndarray) -> np.ndarray:
        """The law's number of iterations at each depth."""
        return np.exp(self.intercept + self.slope * _scale(self.name, np.asarray(depth, float)))

    def growth(self, shallow: int, deep: int, slope: float | None = None) -> float:
        """How many times longer a net of `deep` layers takes than one of `shallow`, with the law's slope or another one."""
        low, high = _scale(self.name, np.array([shallow, deep], float))
        return float(np.exp((self.slope if slope is None else slope) * (high - low)))


def fit_law(name: str, middle: pd.DataFrame) -> Law:
    """The law called `name` ("exponential", "power law") that makes the medians likeliest, by maximum likelihood with bounds (Tobin 1958).

    middle: rows of `medians`, of one family and one loss. Raises InputError for another name, and where fewer than four depths have a value.
    """
    cost, best, centre = _fitted(name, middle)
    level, slope, log_spread = best.x
    count = len(middle)
    rise = count / 2 * np.log1p(stats.f.ppf(0.95, 1, count - 2) / (count - 2))  # exact for a regression without bounds
    ends = tuple(_profile_end(cost, best.x, best.fun + rise, side) for side in (-1, 1))
    return Law(name, float(level - slope * centre), float(slope), ends, float(np.exp(log_spread)), -float(best.fun))


def _fitted(name: str, middle: pd.DataFrame) -> tuple[Callable[[Sequence[float]], float], optimize.OptimizeResult, float]:
    """The negative log-likelihood of (level at the centre, slope, log spread), where it is least, and the centre."""
    if name not in LAWS:
        raise InputError(f"Unknown law {name!r}: choose one of {', '.join(LAWS)}.")
    data = _Medians.of(middle)
    place = _scale(name, data.depth)
    centre, start = place.mean(), np.polyfit(place[data.known], data.log_time[data.known], 1)

    def cost(parameters: Sequence[float]) -> float:
        level, slope, log_spread = parameters
        return data.misfit(level + slope * (place - centre), log_spread)

    return cost, _least(cost, [start[1] + start[0] * centre, start[0], np.log(0.1)]), centre


@dataclass(frozen=True)
class _Medians:
    """The columns of `medians` as arrays, for a cost that is computed some thousand times."""

    depth: np.ndarray
    log_time: np.ndarray
    known: np.ndarray
    rounding: np.ndarray

    @classmethod
    def of(cls, middle: pd.DataFrame) -> "_Medians":
        known = ~middle["censored"].to_numpy()
        if known.sum() < FEWEST_DEPTHS:
            raise InputError(f"A law of growth needs {FEWEST_DEPTHS} depths that reached the loss: choose a higher loss, or longer runs.")
        depth, time, spacing = (middle[name].to_numpy(float) for name in ("depth", "iterations", "spacing"))
        return cls(depth, np.log(time), known, spacing / (12**0.5 * time))

    def misfit(self, line: np.ndarray, log_spread: float) -> float:
        """The negative log-likelihood of the medians and bounds about `line` (log iterations); the curve's spacing adds to the spread."""
        spread = np.hypot(np.exp(max(log_spread, -7.0)), self.rounding)  # at least a thousandth: a perfect line would have no likelihood
        off = (self.log_time - line) / spread
        values = (off**2 / 2 + np.log(spread) + np.log(2 * np.pi) / 2)[self.known]
        return float(values.sum() - special.log_ndtr(-off[~self.known]).sum())


def _floor_cost(middle: pd.DataFrame) -> float:
    """The least negative log-likelihood of a power law above a floor, iterations = floor + factor * depth ** power, and what its parameter costs."""
    data = _Medians.of(middle)
    log_depth = np.log(data.depth)

    def cost(parameters: Sequence[float]) -> float:
        log_floor, log_factor, power, log_spread = parameters
        return data.misfit(np.logaddexp(log_floor, log_factor + power * log_depth), log_spread)

    first, last = data.log_time.min(), data.log_time.max()
    starts = [[first + shift, last - power * log_depth.max(), power, np.log(0.1)] for shift in (-3, -0.3) for power in (1.0, 3.0)]
    return min(_least(cost, start).fun for start in starts) + FLOOR_COST


@dataclass(frozen=True)
class Comparison:
    """The exponential and the power law on the same medians; ratio: how many times likelier the exponential makes them, each law at its best.

    ratio_without: the least and the greatest ratio with the runs of any one seed, or any one depth, left out, at the rates that all seeds chose.
    over_floor: the ratio to a power law above a floor, whose further parameter is paid for as Akaike's criterion says; over_floor_without: the least
    of it with a seed or depth left out, computed where all else says exponential (it takes seconds), and over_floor where not.
    """

    exponential: Law
    power_law: Law
    ratio: float
    ratio_without: tuple[float, float]
    over_floor: float
    over_floor_without: float

    @property
    def verdict(self) -> str:
        """What the medians show.

        "no growth shown": both slopes' intervals reach zero. "exponential", "power law": DECISIVE times likelier than the rival, whatever seed or
        depth is left out, and for the exponential than the power law above a floor. "consistent with exponential, not shown": DECISIVE times
        likelier than the power law on all medians, but not by each of those. "not decided" otherwise.
        """
        if self.exponential.slope_interval[0] <= 0 and self.power_law.slope_interval[0] <= 0:
            return "no growth shown"
        low, high = min(self.ratio, self.ratio_without[0]), max(self.ratio, self.ratio_without[1])
        if min(low, self.over_floor, self.over_floor_without) >= DECISIVE:
            return "exponential"
        if high <= 1 / DECISIVE:
            return "power law"
        return "consistent with exponential, not shown" if self.ratio >= DECISIVE else "not decided"


def compare_laws(times: pd.DataFrame) -> Comparison:
    """Fit the laws to the times of one family and one loss. Raises InputError as `fit_law` does."""
    middle = medians(times)
    exponential, power_law = (fit_law(name, middle) for name in LAWS)
    parts = [times[times["seed"] != seed] for seed in times["seed"].unique()] + [times[times["depth"] != depth] for depth in times["depth"].unique()]
    without = [medians(part) for part in parts]
    ratios = [_ratio(part) for part in without]
    ratio, over_floor = _ratio(middle), _over_floor(middle)
    so_far = min(ratio, *ratios, over_floor)
    least = min(map(_over_floor, without)) if so_far >= DECISIVE else over_floor
    return Comparison(exponential, power_law, ratio, (min(ratios), max(ratios)), over_floor, least)


def _ratio(middle: pd.DataFrame) -> float:
    """1, which decides nothing, where too few depths are left with a value."""
    if (~middle["censored"]).sum() < FEWEST_DEPTHS:
        return 1.0
    return _likelier(*(_fitted(name, middle)[1].fun for name in LAWS))


def _over_floor(middle: pd.DataFrame) -> float:
    """As `_ratio`, to a power law above a floor."""
    if (~middle["censored"]).sum() < FEWEST_DEPTHS:
        return 1.0
    return _likelier(_fitted("exponential", middle)[1].fun, _floor_cost(middle))


def _likelier(cost: float, rival: float) -> float:
    return float(np.exp(np.clip(rival - cost, -700, 700)))


def _scale(name: str, depth: np.ndarray) -> np.ndarray:
    return depth if name == "exponential" else np.log(depth)


def _least(cost: Callable[[Sequence[float]], float], start: Sequence[float]) -> optimize.OptimizeResult:
    return optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000})


def _profile_end(cost: Callable[[Sequence[float]], float], best: np.ndarray, limit: float, side: int) -> float:
    """Where, to one side of the best slope, the least cost over the other parameters reaches `limit`."""

    def above(slope: float) -> float:
        return _least(lambda rest: cost([rest[0], slope, rest[1]]), best[[0, 2]]).fun - limit

    step = side * max(abs(best[1]), 1e-3) / 10
    while above(best[1] + step) < 0:
        step *= 2
    return float(optimize.brentq(above, *sorted((best[1], best[1] + step)), rtol=1e-4))
