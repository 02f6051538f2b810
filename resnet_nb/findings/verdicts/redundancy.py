"""Does ResNet reduce redundancy? The sentence turned into statements that measurements can support or contradict, and the verdict on each.

The statements were written down before the recorded tables were made, though not blind: some of the measures were known for one pair of public
nets. Each compares the nets of a pair, which differ in the shortcuts alone: depth, training, data and, where we trained them, seed are the same.
`kind` and `measure` are those of `probes.redundancy`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from resnet_nb.findings.verdicts import Verdict, complete
from resnet_nb.stats import FEWEST_RUNS, mean_interval

NET = ["source", "model", "family", "depth", "seed"]  # the columns that say which net a row is of
PAIR = ["source", "depth", "seed"]
UNKNOWN = -1  # in the place of a seed that nobody says


@dataclass(frozen=True)
class Statement:
    """says: of a residual net, beside the plain one of its pair. more: +1 if a higher measure supports it, -1 if a lower one does.

    scale_free: whether the measure stays where it is when a plain net's channels are rescaled without changing the net's function.
    """

    says: str
    kind: str
    measure: str
    more: int
    scale_free: bool

    @property
    def key(self) -> str:
        return f"{self.kind} {self.measure}"


STATEMENTS = (
    Statement("the channels of a state are less correlated", "state", "correlation", -1, True),
    Statement("a state varies in more directions", "state", "effective_rank", +1, False),
    Statement("a state varies in more directions, channels brought to one scale", "state", "scaled_rank", +1, True),
    Statement("successive states order images less alike", "state", "cka", -1, False),
    Statement("successive states are less alike in each place", "state", "position_cka", -1, False),
    Statement("less of a state follows linearly from the one before", "state", "unexplained", +1, True),
    Statement("the channels of an update are less correlated", "branch", "correlation", -1, True),
    Statement("successive updates order images less alike", "branch", "cka", -1, False),
    Statement("less of an update follows linearly from the one before", "branch", "unexplained", +1, True),
    Statement("successive changes order images less alike", "change", "cka", -1, False),
    Statement("less of a change follows linearly from the one before", "change", "unexplained", +1, True),
)


def statements() -> pd.DataFrame:
    """One row a statement: says, kind, measure, supported_by ("higher" or "lower"), scale_free."""
    rows = [(one.says, one.kind, one.measure, "higher" if one.more > 0 else "lower", one.scale_free) for one in STATEMENTS]
    return pd.DataFrame(rows, columns=["says", "kind", "measure", "supported_by", "scale_free"])


def by_net(table: pd.DataFrame, stage: int | None = None) -> pd.DataFrame:
    """One row a net, with a column for each statement's key: the mean over a stage's blocks, then over the stages, so that each counts once.

    table: rows of `probes.redundancy` with the columns NET. stage: of that stage alone. The input of the first block belongs to no block and is
    left out.
    """
    rows = table[(table["block"] > 0) & ((table["stage"] == stage) if stage is not None else True)]
    rows = rows.assign(seed=rows["seed"].fillna(UNKNOWN).astype(int))
    found = {}
    for one in STATEMENTS:
        chosen = rows[rows["kind"] == one.kind]
        found[one.key] = chosen.groupby([*NET, "stage"])[one.measure].mean().groupby(NET).mean()
    return pd.DataFrame(found).reset_index()


def differences(table: pd.DataFrame, stage: int | None = None) -> pd.DataFrame:
    """Residual minus plain, pair by pair: one row a pair, with the columns PAIR and a column for each statement's key."""
    nets = by_net(table, stage).set_index(PAIR)
    keys = [one.key for one in STATEMENTS]
    both = {family: group[keys] for family, group in nets.groupby("family")}
    if set(both) != {"plain", "residual"}:
        return pd.DataFrame(columns=[*PAIR, *keys])
    common = both["plain"].index.intersection(both["residual"].index)
    return (both["residual"].loc[common] - both["plain"].loc[common]).reset_index()


def judge(table: pd.DataFrame, stage: int | None = None) -> pd.DataFrame:
    """One row a statement: says, key, scale_free, side (+1 or -1), plain and residual (means over the pairs), difference with its 95 % interval
    (low, high), pairs, agree (pairs on the statement's side) and supported: True, False or None.

    It is True where every pair lies on the statement's side and the interval of the mean difference leaves out 0, False where every pair lies on the
    other side and the interval does so; else, with fewer than three pairs, and where a pair's difference is missing or not finite, None. Such pairs
    are not counted and are left out of the mean difference and its interval.
    """
    nets, apart = by_net(table, stage), differences(table, stage)
    paired = nets.merge(apart[PAIR], on=PAIR)
    means = paired.groupby("family")[[one.key for one in STATEMENTS]].mean()
    rows = []
    for one in STATEMENTS:
        found = apart[one.key].to_numpy(float)
        values = found[np.isfinite(found)]
        low, high = mean_interval(values) if len(values) >= FEWEST_RUNS else (np.nan, np.nan)
        agree = int((one.more * values > 0).sum())
        sure = complete(found) and len(values) >= FEWEST_RUNS and (low > 0 or high < 0)
        supported = (True if agree == len(values) else False if (one.more * values < 0).all() else None) if sure else None
        plain, residual = (means[one.key].get(family, np.nan) for family in ("plain", "residual"))
        mean = values.mean() if len(values) else np.nan
        rows.append((one.says, one.key, one.scale_free, one.more, plain, residual, mean, low, high, len(values), agree, supported))
    columns = ["says", "key", "scale_free", "side", "plain", "residual", "difference", "low", "high", "pairs", "agree", "supported"]
    return pd.DataFrame(rows, columns=columns).astype({"supported": object})


def verdict(judged: pd.DataFrame, scale_free: bool = False) -> Verdict:
    """On "ResNet reduces redundancy", from what `judge` found; scale_free: from those measures alone.

    Supported where every statement is, not supported where none is and one is contradicted; else, and without statements, undecided.
    """
    counted = judged[judged["scale_free"]] if scale_free else judged
    if counted.empty:
        return Verdict("These nets do not tell.", None, "no statement was judged")
    true, false = ([row.says for row in counted.itertuples() if row.supported is which] for which in (True, False))
    rest = len(counted) - len(true) - len(false)
    why = f"{len(true)} of {len(counted)} statements supported, {len(false)} contradicted, {rest} undecided"
    if len(true) == len(counted):
        return Verdict("ResNet reduces redundancy, by every measure used here.", True, why)
    if not true and false:
        return Verdict("No measure used here supports that ResNet reduces redundancy.", False, why)
    if not true:
        return Verdict("These nets do not tell.", None, why)
    return Verdict("It depends on the measure." if false else "Some measures say so, the others do not tell.", None, why)


def at_odds(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The statements, by key, that two judgements decide in opposite ways."""
    pairs = zip(one["key"], one["supported"], other["supported"], strict=True)
    return [key for key, here, there in pairs if here is not None and there is not None and here != there]
