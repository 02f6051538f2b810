"""Do gradients vanish, and is that the reason of degradation? Verdicts from the tables of atlases, traces and times. Nothing here imports torch."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from resnet_nb.verdicts import Verdict

FLAT = 0.05  # growth a layer within 1 plus or minus this is neither vanishing nor exploding


def vanishes_at_birth(growths: Mapping[int, float], what: str = "plain nets with He's weights and batch normalisation") -> Verdict:
    """Do gradients vanish backwards at initialisation? growths: depth to growth a layer, of several depths.

    Supported where every one is under 1 - FLAT, not where every one is over 1 - FLAT, undecided between.
    """
    least, most = min(growths.values()), max(growths.values())
    supported = True if most < 1 - FLAT else False if least > 1 - FLAT else None
    how = "grow" if least > 1 + FLAT else "shrink" if most < 1 - FLAT else "neither grow nor shrink throughout"
    return Verdict(f"Gradients of {what} vanish at initialisation", supported, f"Backwards they {how}: {least:.2f} to {most:.2f} times a layer.")


def healthy(table: pd.DataFrame, when: str, limit: float = 100.0) -> Verdict:
    """The paper's sentence on plain nets (4.1), that backward gradients were verified to have healthy norms with batch normalisation.

    table: rows with depth and ratio (the first block's gradient over the last one's); when: "at initialisation", say. "Healthy" is not defined
    there; it is read as: the first within a factor of `limit` of the last, in every net.
    """
    spread = table.assign(spread=np.exp(np.abs(np.log(table["ratio"]))))["spread"]
    supported = True if spread.max() <= limit else False if spread.min() > limit else None
    at = ", ".join(f"{row.ratio:.2g} ({int(row.depth)} layers)" for row in table.sort_values("depth").itertuples())
    why = f"First over last: {at}" + ("; so some nets are, and some are not." if supported is None else ".")
    return Verdict(f"{when.capitalize()} the first block's gradient is within {limit:g} times the last one's", supported, why)


def pace(traces: pd.DataFrame, late: int) -> pd.Series:
    """What the first steps did to the first stage: stretched (its weights' norm), turned (an update's angle), both over those of the first
    update, and beside (that angle over the third stage's), at the last update that was looked at up to number `late`.

    traces: rows of traces with columns stage, iteration, weight_norm, angle; medians over layers and seeds.
    """
    middle = traces.groupby(["stage", "iteration"])[["weight_norm", "angle"]].median()
    own, last = middle.loc["stage 1"], middle.loc["stage 3"]
    at = max(step for step in own.index if step <= late)
    stretched, turned = own.loc[at] / own.loc[own.index.min()]
    return pd.Series({"stretched": stretched, "turned": turned, "beside": own.loc[at, "angle"] / last.loc[at, "angle"]})


def frozen_by_the_first_steps(traces: pd.DataFrame, late: int) -> Verdict:
    """Are the early layers stopped by the steps themselves? traces, late: as for `pace`.

    Supported where the first stage's weights are at least twice as long as at first, and an update turns them less than a fifth as far as the third
    stage's; not supported where neither is so.
    """
    found = pace(traces, late)
    happened = found["stretched"] >= 2, found["beside"] < 0.2
    supported = True if all(happened) else None if any(happened) else False
    stretched, beside = found["stretched"], found["beside"]
    why = f"Its weights are {stretched:.2g} times as long as at first; an update turns them {beside:.2g} times as far as the third's."
    return Verdict("The first steps stretch the first stage's weights until updates hardly turn them", supported, why)


def removes_slowness(times: pd.DataFrame, change: str, *, control: str, least: float = 2.0) -> Verdict:
    """Does a change make the loss fall `least` times as fast?

    times: rows with change, seed, iterations to a loss (infinite where it was not reached). Compared seed by seed with the control. Supported where
    every seed is faster and the median speed-up is at least `least`; not supported where the median is less than that; else undecided. With an even
    number of seeds both of the middle ones count.
    """
    by = times.pivot(index="seed", columns="change", values="iterations")
    both = by[[control, change]].dropna()
    if both.empty:
        raise ValueError(f"No seed was run with {change!r} and with {control!r}.")
    gains = (both[control] / both[change]).where(np.isfinite(both[change]), 0.0)  # one that never arrives gains nothing
    lower, upper = (gains.quantile(0.5, interpolation=side) for side in ("lower", "higher"))
    supported = True if lower >= least and (gains > 1).all() else False if upper < least else None
    said = [f"{gain:.2f}" if np.isfinite(gain) else "without limit, as the control does not get there" for gain in gains]
    why = f"Against the control's speed, seed by seed: {', '.join(said)}."
    return Verdict(f"With {change} the loss falls {least:g} times as fast", supported, why)


def remedies(times: pd.DataFrame, *, control: str) -> dict[str, Verdict]:
    """`removes_slowness` for each change of plain nets in the table but the control; the rows need a column family too."""
    changes = times.loc[times["family"] == "plain", "change"].drop_duplicates()
    return {change: removes_slowness(times, change, control=control) for change in changes if change != control}


def closes_gap(ends: pd.DataFrame, change: str, *, control: str, goal: str, least: float = 0.5) -> Verdict:
    """Does a change make up for the missing shortcut?

    ends: rows with change, seed, train_error (percent), all after the same iterations; goal: the rows of the residual net. The share of the way from
    control to goal is taken seed by seed. Supported where it is at least `least` with every seed, not supported where it is less with every seed.
    """
    by = ends.pivot(index="seed", columns="change", values="train_error")[[control, change, goal]].dropna()
    if by.empty:
        raise ValueError(f"No seed was run with {change!r}, {control!r} and {goal!r}.")
    shares = (by[control] - by[change]) / (by[control] - by[goal])
    supported = True if (shares >= least).all() else False if (shares < least).all() else None
    why = f"Seed by seed: {', '.join(f'{100 * share:.1f} %' for share in shares)}."
    return Verdict(f"With {change} at least {100 * least:g} % of the gap to the residual net is closed", supported, why)


def article(at_birth: Verdict, frozen: Verdict, remedies: Mapping[str, Verdict]) -> Verdict:
    """The article's sentence: "the reason for this degradation is the vanishing gradient".

    remedies: by change, as `removes_slowness` gives them. Not supported where gradients do not vanish at birth and no change that gives the early
    layers their steps back makes the loss fall as fast as asked for.
    Supported where they vanish at birth and such a change helps; undecided in every other case.
    """
    helps = [name for name, verdict in remedies.items() if verdict.supported]
    if at_birth.supported is False and not helps:
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
    removed = f"removing that helps ({', '.join(helps)})" if helps else "no change that was tried against that helps as much as asked for"
    why = f"{birth[at_birth.supported].capitalize()}; {later}; {removed}."
    return Verdict("The reason for the degradation is the vanishing gradient", supported, why)
