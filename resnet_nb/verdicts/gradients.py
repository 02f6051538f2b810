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
    return Verdict(f"{when.capitalize()} the first block's gradient is within {limit:g} times the last one's", supported, f"First over last: {at}.")


def frozen_by_the_first_steps(traces: pd.DataFrame, *, early: int, late: int) -> Verdict:
    """Are the early layers stopped by the steps themselves? traces: rows of traces with columns stage, iteration, weight_norm, angle.

    Supported where, between iterations `early` and `late`, the first stage's median weight norm has at least doubled and the median angle of its
    updates has fallen to less than a tenth; not supported where neither happened.
    """
    own = traces[traces["stage"] == "stage 1"].groupby("iteration")[["weight_norm", "angle"]].median()
    before, after = own.loc[early], own.loc[late]
    norms, angles = after["weight_norm"] / before["weight_norm"], after["angle"] / before["angle"]
    happened = norms >= 2, angles < 0.1
    supported = True if all(happened) else None if any(happened) else False
    why = f"From update {early + 1} to {late + 1} its weights' norm is {norms:.2g}-fold and the angle of an update {angles:.2g}-fold."
    return Verdict("The steps themselves freeze the first stage", supported, why)


def removes_slowness(times: pd.DataFrame, change: str, *, control: str, least: float = 2.0) -> Verdict:
    """Does a change make the loss fall `least` times as fast?

    times: rows with change, seed, iterations to a loss (infinite where it was not reached). Compared seed by seed with the control. Supported where
    every seed is faster and the median speed-up is at least `least`; not supported where the median is less than that; else undecided.
    """
    by = times.pivot(index="seed", columns="change", values="iterations")
    both = by[[control, change]].dropna()
    if both.empty:
        raise ValueError(f"No seed was run with {change!r} and with {control!r}.")
    gains = both[control] / both[change]
    middle = float(gains.median())
    supported = True if middle >= least and (gains > 1).all() else False if middle < least else None
    why = f"Against the control's speed, seed by seed: {', '.join(f'{gain:.2f}' for gain in sorted(gains))}."
    return Verdict(f"With {change} the loss falls {least:g} times as fast", supported, why)


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
    later = {True: "the steps shrink the early layers' updates", False: "the steps do not shrink them", None: "what the steps do is undecided"}
    birth = {True: "they vanish at birth", False: "they do not vanish at birth", None: "whether they vanish at birth is undecided"}
    removed = f"removing that helps ({', '.join(helps)})" if helps else "no change that was tried against that helps as much as asked for"
    why = f"{birth[at_birth.supported].capitalize()}; {later[frozen.supported]}; {removed}."
    return Verdict("The reason for the degradation is the vanishing gradient", supported, why)
