"""Do gradients vanish, and is that the reason of degradation? Verdicts from the tables of atlases, traces and times. Nothing here imports torch."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from resnet_nb.findings.verdicts import MISSING, Verdict, complete

FLAT = 0.05  # growth a layer within 1 plus or minus this is neither vanishing nor exploding


def vanishes_at_birth(growths: Mapping[int, float], what: str = "plain nets with He's weights and batch normalisation") -> Verdict:
    """Do gradients vanish backwards at initialisation? growths: depth to growth a layer, of several depths.

    Supported where every one is under 1 - FLAT, not where every one is over 1 - FLAT, undecided between, with one depth and without a finite growth.
    """
    text = f"Gradients of {what} vanish at initialisation"
    if len(growths) < 2 or not complete(list(growths.values())):
        return Verdict(text, None, "It takes two depths." if len(growths) < 2 else MISSING)
    least, most = min(growths.values()), max(growths.values())
    supported = True if most < 1 - FLAT else False if least > 1 - FLAT else None
    how = "grow" if least > 1 + FLAT else "shrink" if most < 1 - FLAT else "neither grow nor shrink throughout"
    return Verdict(text, supported, f"Backwards they {how}: {least:.2f} to {most:.2f} times a layer.")


def healthy(table: pd.DataFrame, when: str, limit: float = 100.0) -> Verdict:
    """The paper's sentence on plain nets (4.1), that backward gradients were verified to have healthy norms with batch normalisation.

    table: rows with depth and ratio (the first block's gradient over the last one's); when: "at initialisation", say. "Healthy" is not defined
    there; it is read as: the first within a factor of `limit` of the last, in every net. None where it holds for some of them alone, and without
    ratios that are finite and above 0.
    """
    text = f"{when.capitalize()} the first block's gradient is within {limit:g} times the last one's"
    if not complete(table["ratio"]) or (table["ratio"] <= 0).any():
        return Verdict(text, None, "There is no net." if table.empty else "A ratio is missing, not finite or not above 0.")
    spread = np.exp(np.abs(np.log(table["ratio"])))
    supported = True if spread.max() <= limit else False if spread.min() > limit else None
    at = ", ".join(f"{row.ratio:.2g} ({int(row.depth)} layers)" for row in table.sort_values("depth").itertuples())
    why = f"First over last: {at}" + ("; it holds for some nets and not for others." if supported is None else ".")
    return Verdict(text, supported, why)


def pace(traces: pd.DataFrame, late: int) -> pd.Series:
    """What the first steps did to the first stage: stretched (its weights' norm), turned (an update's angle), both over those of the first
    update, and beside (that angle over the third stage's), at the last update that was looked at up to number `late`.

    traces: rows of traces with columns stage, iteration, weight_norm, angle; medians over layers and seeds. Raises ValueError where they do not hold
    two updates up to `late` of both stages, and where a value is not finite or would be divided by 0.
    """
    seen = traces[traces["stage"].isin(["stage 1", "stage 3"]) & (traces["iteration"] <= late)]
    stages = seen.groupby("iteration")["stage"].nunique()
    updates = stages.index[stages == 2]
    if len(updates) < 2:
        raise ValueError(f"It takes two updates or more up to number {late} that were looked at in stage 1 and in stage 3.")
    first, at = updates.min(), updates.max()
    seen = seen[seen["iteration"].isin([first, at])]
    middle = seen.groupby(["stage", "iteration"])[["weight_norm", "angle"]].median()
    own, last = middle.loc["stage 1"], middle.loc["stage 3"]
    if not complete(seen[["weight_norm", "angle"]]) or min(*own.loc[first], last.loc[at, "angle"]) <= 0:
        raise ValueError("A norm or an angle is missing, not finite, or 0 where others are compared with it.")
    stretched, turned = own.loc[at] / own.loc[first]
    return pd.Series({"stretched": stretched, "turned": turned, "beside": own.loc[at, "angle"] / last.loc[at, "angle"]})


def frozen_by_the_first_steps(traces: pd.DataFrame, late: int) -> Verdict:
    """Are the early layers stopped by the steps themselves? traces, late: as for `pace`.

    Supported where the first stage's weights are at least twice as long as at first, and an update turns them less than a fifth as far as the third
    stage's; not supported where the weights are shorter and it turns them further; undecided else, and where `pace` has nothing to say.
    """
    text = "The first steps stretch the first stage's weights until updates hardly turn them"
    try:
        stretched, _, beside = pace(traces, late)
    except ValueError as error:
        return Verdict(text, None, str(error))
    supported = True if stretched >= 2 and beside < 0.2 else False if stretched < 2 and beside > 0.2 else None
    why = f"Its weights are {stretched:.2g} times as long as at first; an update turns them {beside:.2g} times as far as the third's."
    return Verdict(text, supported, why)


def removes_slowness(times: pd.DataFrame, change: str, *, control: str, least: float = 2.0) -> Verdict:
    """Does a change make the loss fall `least` times as fast?

    times: rows with change, seed, iterations to a loss (infinite where it was not reached). Compared seed by seed with the control. Supported where
    every seed is faster and the median speed-up is at least `least`; not supported where the median is less than that; else undecided, as with one
    seed or a missing number. With an even number of seeds both of the middle ones count. Raises ValueError as `_by_seed` does, and for iterations
    that are not above 0.
    """
    text = f"With {change} the loss falls {least:g} times as fast"
    both = _by_seed(times, "iterations", control, change)
    if (both <= 0).any(axis=None):
        raise ValueError("Iterations to a loss have to be above 0: give infinity where it was not reached.")
    if len(both) < 2 or both.isna().any(axis=None):
        return Verdict(text, None, "It takes two seeds." if len(both) < 2 else "A number of iterations is missing.")
    gains = (both[control] / both[change]).where(np.isfinite(both[change]), 0.0)  # one that never arrives gains nothing
    lower, upper = (gains.quantile(0.5, interpolation=side) for side in ("lower", "higher"))
    supported = True if lower >= least and (gains > 1).all() else False if upper < least else None
    said = [f"{gain:.2f}" if np.isfinite(gain) else "without limit, as the control does not get there" for gain in gains]
    why = f"Against the control's speed, seed by seed: {', '.join(said)}."
    return Verdict(text, supported, why)


def remedies(times: pd.DataFrame, *, control: str) -> dict[str, Verdict]:
    """`removes_slowness` for each change of plain nets in the table but the control; the rows need a column family too."""
    changes = times.loc[times["family"] == "plain", "change"].drop_duplicates()
    return {change: removes_slowness(times, change, control=control) for change in changes if change != control}


def closes_gap(ends: pd.DataFrame, change: str, *, control: str, goal: str, least: float = 0.5) -> Verdict:
    """Does a change make up for the missing shortcut?

    ends: rows with change, seed, train_error (percent), all after the same iterations; goal: the rows of the residual net. The share of the way from
    control to goal is taken seed by seed. Supported where it is at least `least` with every seed, not supported where it is less with every seed;
    undecided else, with one seed, without finite errors, and where the control is not above the goal with every seed. Raises ValueError as `_by_seed`
    does.
    """
    text = f"With {change} at least {100 * least:g} % of the gap to the residual net is closed"
    by = _by_seed(ends, "train_error", control, change, goal)
    if len(by) < 2 or not complete(by):
        return Verdict(text, None, "It takes two seeds." if len(by) < 2 else MISSING)
    if not (by[control] > by[goal]).all():
        return Verdict(text, None, "With some seed there is no gap: the control's error is not above the residual net's.")
    shares = (by[control] - by[change]) / (by[control] - by[goal])
    supported = True if (shares >= least).all() else False if (shares < least).all() else None
    why = f"Seed by seed: {', '.join(f'{100 * share:.1f} %' for share in shares)}."
    return Verdict(text, supported, why)


def _by_seed(table: pd.DataFrame, value: str, *changes: str) -> pd.DataFrame:
    """A row a seed, a column a change, of the seeds that every one of these changes was run with.

    Raises ValueError for a change named twice or unknown, for two runs of one change and seed, and where no seed is common to all.
    """
    if len(set(changes)) < len(changes):
        raise ValueError(f"A change cannot be compared with itself: {', '.join(map(repr, changes))}.")
    if unknown := set(changes) - set(table["change"]):
        raise ValueError(f"No run has the change {', '.join(map(repr, sorted(unknown)))}.")
    rows = table[table["change"].isin(changes)]
    if rows.duplicated(["change", "seed"]).any():
        raise ValueError("Two runs have one change and seed: choose one study and rate.")
    common = rows.groupby("seed").filter(lambda runs: len(runs) == len(changes))
    if common.empty:
        raise ValueError(f"No seed was run with each of {', '.join(map(repr, changes))}.")
    return common.pivot(index="seed", columns="change", values=value)


def article(at_birth: Verdict, frozen: Verdict, remedies: Mapping[str, Verdict]) -> Verdict:
    """The article's sentence: "the reason for this degradation is the vanishing gradient".

    remedies: by change, as `removes_slowness` gives them. Not supported where gradients do not vanish at birth and no change that gives the early
    layers their steps back makes the loss fall as fast as asked for, of one at least that was tried and each of them decided.
    Supported where they vanish at birth and such a change helps; undecided in every other case.
    """
    helps, untold = ([name for name, verdict in remedies.items() if verdict.supported is which] for which in (True, None))
    if at_birth.supported is False and remedies and not helps and not untold:
        supported = False
    elif at_birth.supported and helps:
        supported = True
    else:
        supported = None
    later = {
        True: "the first steps then slow the early layers down", False: "the first steps do not slow the early layers down",
        None: "what the first steps do is undecided",
    }[frozen.supported]  # fmt: skip
    birth = {True: "they vanish at birth", False: "they do not vanish at birth", None: "whether they vanish at birth is undecided"}
    if helps or untold:
        removed = f"removing that helps ({', '.join(helps)})" if helps else f"whether removing that helps is undecided ({', '.join(untold)})"
    else:
        removed = "no change that was tried against that helps as much as asked for" if remedies else "no change was tried against that"
    why = f"{birth[at_birth.supported].capitalize()}; {later}; {removed}."
    return Verdict("The reason for the degradation is the vanishing gradient", supported, why)
