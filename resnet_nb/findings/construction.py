"""What became of the solution that a deepened net was given: read off the recorded curves, without torch."""

import pandas as pd

SMOOTH = 5  # iterations: one batch of 128 has an error with a standard deviation of up to 4 points
LEFT = 5.0  # percent of the smoothed batches' error above which a net has left a solution that makes no errors
END = 20  # iterations at the end whose mean says where the run has come to
RUN = ["family", "depth", "rate", "seed"]


def smoothed(curves: pd.DataFrame) -> pd.DataFrame:
    """`curves` (columns family, depth, rate, seed, iteration, error in percent) by run and iteration, with a column `batches`: the mean error of
    the last five batches."""
    curves = curves.sort_values([*RUN, "iteration"], ignore_index=True)
    mean = curves.groupby(RUN)["error"].rolling(SMOOTH, min_periods=1).mean()
    return curves.assign(batches=mean.to_numpy())


def departures(curves: pd.DataFrame) -> pd.DataFrame:
    """One row a run: family, depth, rate, seed, highest (smoothed error, percent), left (whether that is over LEFT), left_at (iteration, or
    missing), end (mean error of the last twenty batches)."""
    rows = []
    for run, group in smoothed(curves).groupby(RUN):
        over = group.loc[group["batches"] > LEFT, "iteration"]
        rows.append((*run, group["batches"].max(), len(over) > 0, over.min() if len(over) else None, group["error"].tail(END).mean()))
    return pd.DataFrame(rows, columns=[*RUN, "highest", "left", "left_at", "end"]).astype({"left_at": "Int64"})


def departures_by_setting(curves: pd.DataFrame) -> pd.DataFrame:
    """`departures` for each family, depth and rate: runs, left (how many), and of highest and end the median, of highest the
    greatest, of end the least and the greatest."""
    by = departures(curves).groupby(["family", "depth", "rate"])
    return by.agg(
        runs=("seed", "size"), left=("left", "sum"), highest=("highest", "median"), worst_highest=("highest", "max"),
        end=("end", "median"), best_end=("end", "min"), worst_end=("end", "max"),
    ).reset_index()  # fmt: skip


def beside_evaluations(curves: pd.DataFrame, evaluated: pd.DataFrame) -> pd.DataFrame:
    """`evaluated` (columns of RUN, iteration, train_error) with the smoothed error of the same run's batches at the same iteration."""
    return evaluated.merge(smoothed(curves)[[*RUN, "iteration", "batches"]], on=[*RUN, "iteration"])
