"""Errors against depth and against iterations, of recorded and of live runs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, TEST, TRAINING, headline, house_style, panels


def error_by_depth(runs: pd.DataFrame, title: str, *, live: pd.DataFrame | None = None) -> Figure:
    """Final training error (left) and test error (right) against depth, plain and residual.

    runs: recorded runs, one a row, with columns family, depth, seed, train_error, test_error (percent): medians joined by a line, each
    run a dot, so that the spread is seen. live: the same columns, one seed, drawn as crosses.
    """
    with house_style():
        figure, axes = panels(2, sharey=True)
        for axis, column, name, line in zip(axes, ("train_error", "test_error"), ("Training", "Test"), (TRAINING, TEST), strict=True):
            for family, group in runs.groupby("family"):
                middle = group.groupby("depth")[column].median()
                axis.plot(middle.index, middle, color=COLOURS[family], **line)
                axis.plot(group["depth"], group[column], MARKERS[family], color=COLOURS[family], markersize=4.5, alpha=0.65)
                _label_end(axis, middle, family)
            if live is not None:
                for family, group in live.groupby("family"):
                    axis.plot(group["depth"], group[column], "x", color=COLOURS[family], markersize=9, markeredgewidth=2)
            axis.set_title(f"{name} error")
            axis.set_xlabel("depth (weighted layers)")
            axis.set_xticks(sorted(runs["depth"].unique()))
            axis.margins(x=0.12)
        axes[0].set_ylabel("error (%)")
        axes[0].set_ylim(bottom=-1.5)
        if live is not None:
            axes[1].plot([], [], "x", color=GREY, markersize=9, markeredgewidth=2, label="trained here, one seed")
            axes[1].plot([], [], "o", color=GREY, markersize=4.5, label="recorded, one dot a run; line: median")
            axes[1].legend(loc="upper left")
        headline(figure, title)
    return figure


def _label_end(axis: Axes, series: pd.Series, family: str) -> None:
    """The family's name beside the last point of its line."""
    above = series.iloc[-1] > series.iloc[0] + 1
    axis.annotate(
        family, (series.index[-1], series.iloc[-1]), xytext=(-6, 7 if above else 6), textcoords="offset points",
        ha="right", va="bottom", color=COLOURS[family], fontweight="bold",
    )  # fmt: skip


def training_curves(curves: pd.DataFrame, title: str) -> Figure:
    """The running training error of every net against iterations: plain on the left, residual on the right.

    curves: columns family, depth, seed, iteration, error (percent, running mean over the augmented batches); seeds are averaged.
    Shallow nets are light, deep ones dark, and each line is labelled with its depth.
    """
    with house_style():
        figure, axes = panels(2, sharey=True)
        for axis, family in zip(axes, ("plain", "residual"), strict=True):
            group = curves[curves["family"] == family]
            depths = sorted(group["depth"].unique())
            for rank, depth in enumerate(depths):
                line = group[group["depth"] == depth].groupby("iteration")["error"].mean()
                shade = 0.35 + 0.65 * (rank + 1) / len(depths)
                width = 0.8 + 1.6 * (rank + 1) / len(depths)
                axis.plot(line.index, line, color=COLOURS[family], alpha=shade, linewidth=width, linestyle="--")
            _label_lines(axis, group, depths, COLOURS[family])
            axis.set_title(f"{family} nets")
            axis.set_xlabel("iteration (mini-batches of 128)")
        axes[0].set_ylabel("running training error (%)")
        axes[0].set_ylim(-2, 92)
        headline(figure, title)
    return figure


def _label_lines(axis: Axes, curves: pd.DataFrame, depths: Sequence[int], colour: str) -> None:
    """Each line's depth to the right of its end, spread so that labels do not overlap; one label where all lines end together."""
    ends = {d: curves[curves["depth"] == d].groupby("iteration")["error"].mean().iloc[-1] for d in depths}
    last = curves["iteration"].max()
    place, beside = last * 1.03, {"va": "center", "color": colour, "fontsize": 9}
    axis.set_xlim(0, last * 1.19)
    if max(ends.values()) - min(ends.values()) < 3:
        axis.annotate(f"{min(depths)} to {max(depths)} layers", (last, 5), ha="right", **beside)
        return
    height = -np.inf
    for depth, end in sorted(ends.items(), key=lambda item: item[1]):
        height = max(end, height + 5.5)
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6}
        axis.annotate(f"{depth}", (last, end), (place * 1.03, height), arrowprops=leader, **beside)
    axis.text(place * 1.03, height + 6.5, "layers", **beside)


def running_curve(points: Sequence[tuple[int, float, float]], total: int) -> Figure:
    """The running training error of one run that is under way.

    points: (iteration, loss, error in percent), as `Curve.running` holds them; total: iterations of the whole run.
    """
    with house_style():
        figure, (axis,) = panels(1, width=5.5, height=2.6)
        axis.plot([step for step, _, _ in points], [error for _, _, error in points], color=GREY, **TRAINING)
        axis.set_xlim(0, total)
        axis.set_ylim(0, 100)
        axis.set_xlabel("iteration")
        axis.set_ylabel("running error (%)")
    return figure
