"""When a published number counts as reproduced: the rule that was fixed before the runs, what it can see, public runs judged by it. Without torch.

The rule (`stats.reproduced`): the published value lies in the prediction interval of one more run, and within `scoreboard.MARGIN` points of the
runs' mean.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from resnet_nb.published import PAPER_TABLE6, cifar_errors
from resnet_nb.scoreboard.scoreboard import MARGIN
from resnet_nb.stats import FEWEST_RUNS

SPREAD = 0.2  # points; the standard deviations of five runs that are published for these nets lie between 0.13 and 0.27
DRAWS = 20_000  # simulated studies; a chance of 0.5 is then known to ±0.007


def half_width(std: float, runs: int, level: float = 0.95) -> float:
    """Half the width, in points, of the prediction interval of one more run: t·s·√(1 + 1/n)."""
    return float(stats.t.ppf((1 + level) / 2, runs - 1) * std * (1 + 1 / runs) ** 0.5)


def half_widths(runs: Sequence[int], std: float = SPREAD) -> pd.DataFrame:
    """`half_width` for each number of runs; columns runs, half_width."""
    return pd.DataFrame({"runs": list(runs), "half_width": [half_width(std, count) for count in runs]})


def chance_of_reproduced(difference: float, runs: int, *, std: float = SPREAD, margin: float = MARGIN, draws: int = DRAWS, seed: int = 0) -> float:
    """How often the rule says "reproduced" of a published run whose recipe is `difference` points better in truth than ours.

    Simulated: the published number is one draw, ours are `runs`, all normal with standard deviation `std` in points.
    """
    random = np.random.default_rng(seed)
    published = random.normal(-difference, std, draws)
    ours = random.normal(0.0, std, (draws, runs))
    off = np.abs(published - ours.mean(1))
    half = half_width(1.0, runs) * ours.std(1, ddof=1)
    return float(((off <= half) & (off <= margin)).mean())


def chances(differences: Sequence[float], runs: Sequence[int], **options: float) -> pd.DataFrame:
    """`chance_of_reproduced` for every number of runs and true difference; columns runs, difference, chance."""
    rows = [(count, difference, chance_of_reproduced(difference, count, **options)) for count in runs for difference in differences]
    return pd.DataFrame(rows, columns=["runs", "difference", "chance"])


def judged_by_summary(published: float, mean: float, std: float, runs: int, margin: float = MARGIN) -> str:
    """`stats.reproduced` where of the runs only mean, standard deviation and number are known."""
    if runs < FEWEST_RUNS:
        return "too few runs"
    off, slack = abs(published - mean), 1e-9
    return "reproduced" if off <= half_width(std, runs) + slack and off <= margin + slack else "not reproduced"


def _paper_and_others() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The exact published errors: the paper's, indexed by family and depth, with the mean of its runs as `compared`, and those of others."""
    table = cifar_errors()
    exact = table[~(table["approximate"] | table["bound"])]
    exact = exact.assign(compared=exact["mean"].fillna(exact["value"]))
    own = exact["source_label"] == PAPER_TABLE6
    return exact[own].set_index(["family", "depth"]), exact[~own]


def off_the_paper() -> pd.Series:
    """How far each exact error that others published lies from the paper's for the same net, in points; runs of several by their mean."""
    paper, others = _paper_and_others()
    both = others.join(paper["compared"].rename("paper"), on=["family", "depth"], how="inner")
    return (both["compared"] - both["paper"]).set_axis(both["source_label"])


def public_runs() -> pd.DataFrame:
    """Public sets of several runs, judged by the rule against the paper's number for the same net.

    One row a net that the paper prints an exact error of and others a mean of at least three runs. Columns: model, source_label, mean, std, runs,
    low, high (where one more of those runs would lie), paper (a mean where one is printed), difference, verdict, fault and caveat (known, of
    their code or recipe, else missing), fact_id.
    """
    paper, others = _paper_and_others()
    several = others[others["runs"].ge(FEWEST_RUNS) & others["std"].notna()]
    rows = []
    for row in several.join(paper["compared"].rename("paper"), on=["family", "depth"], how="inner").to_dict("records"):
        mean, half, paper_error = row["mean"], half_width(row["std"], int(row["runs"])), row["paper"]
        name = f"{'plain' if row['family'] == 'plain' else 'resnet'}{row['depth']}"
        verdict = judged_by_summary(paper_error, mean, row["std"], int(row["runs"]))
        what = (name, row["source_label"], mean, row["std"], int(row["runs"]), mean - half, mean + half, paper_error, mean - paper_error)
        rows.append((*what, verdict, row["fault"], row["caveat"], row["fact_id"]))
    names = ["model", "source_label", "mean", "std", "runs", "low", "high", "paper", "difference", "verdict", "fault", "caveat", "fact_id"]
    return pd.DataFrame(rows, columns=names)
