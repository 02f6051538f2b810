"""Every figure of the notebooks, as functions of recorded runs and published numbers; nothing here imports torch.

One style throughout: residual nets are blue with round markers, plain nets vermilion with square ones (Okabe and Ito's palette, told
apart in grey by marker and label); training thin and dashed, test bold and solid, as the paper draws them; published values are open
markers, measured ones filled. Each function returns a matplotlib Figure that belongs to nobody: show or save it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"residual": "#0072B2", "plain": "#D55E00"}
MARKERS = {"residual": "o", "plain": "s"}
GREY = "#555555"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
TRAINING = {"linestyle": "--", "linewidth": 1.2}
TEST = {"linestyle": "-", "linewidth": 2.2}


@contextmanager
def house_style() -> Iterator[None]:
    """The style of every figure, inside the block only."""
    with mpl.rc_context(STYLE):
        yield


def _panels(count: int, width: float = 8.5, height: float = 3.8, **options: object) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, **options)[0]
    return figure, list(axes)


def error_by_depth(runs: pd.DataFrame, title: str, *, live: pd.DataFrame | None = None) -> Figure:
    """Final training error (left) and test error (right) against depth, plain and residual.

    runs: recorded runs, one a row, with columns family, depth, seed, train_error, test_error (percent): medians joined by a line, each
    run a dot, so that the spread is seen. live: the same columns, one seed, drawn as crosses.
    """
    with house_style():
        figure, axes = _panels(2, sharey=True)
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
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
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
        figure, axes = _panels(2, sharey=True)
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
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _label_lines(axis: Axes, curves: pd.DataFrame, depths: Sequence[int], colour: str) -> None:
    """Each line's depth to the right of its end, spread so that labels do not overlap."""
    ends = {d: curves[curves["depth"] == d].groupby("iteration")["error"].mean().iloc[-1] for d in depths}
    last = curves["iteration"].max()
    placed = -np.inf
    for depth, end in sorted(ends.items(), key=lambda item: item[1]):
        placed = max(end, placed + 5.5)
        axis.annotate(f"{depth}", (last, end), xytext=(last * 1.03, placed), va="center", color=colour, fontsize=9)
    axis.text(last * 1.03, placed + 6.5, "layers", color=colour, fontsize=9)
    axis.set_xlim(0, last * 1.14)


def published_cifar(published: pd.DataFrame, title: str) -> Figure:
    """Published test errors on CIFAR-10 against depth, one open marker a value, with its spread where one is printed.

    published: `published.cifar_errors()`. A lower bound is an arrow upwards from a bar; values that nobody has checked at their source are
    grey and marked "?"; values read off a figure are marked "~".
    """
    with house_style():
        figure, (axis,) = _panels(1, width=8.5, height=4.4)
        rows = published[published["depth"] < 1000]
        labels = list(dict.fromkeys(rows["source_label"]))
        shapes = dict(zip(labels, "osD^vP", strict=False))
        for (label, family), group in rows[~rows["bound"]].groupby(["source_label", "family"], sort=False):
            shift = 1.2 * (labels.index(label) - (len(labels) - 1) / 2)
            for _, row in group.iterrows():
                colour = COLOURS[family] if row["verified"] else "#999999"
                value = row["mean"] if pd.notna(row["mean"]) else row["value"]
                spread = row["std"] if pd.notna(row["std"]) else None
                axis.errorbar(
                    row["depth"] + shift, value, yerr=spread, fmt=shapes[label], color=colour, markerfacecolor="white",
                    markersize=7, markeredgewidth=1.6, capsize=3, linewidth=1.2,
                )  # fmt: skip
                mark = ("~" if row["approximate"] else "") + ("" if row["verified"] else "?")
                axis.annotate(mark, (row["depth"] + shift, value), xytext=(6, 3), textcoords="offset points", color=colour)
        top = 15.0
        for _, row in rows[rows["bound"]].iterrows():
            axis.annotate(
                f"plain-{row['depth']}: over {row['value']:g} %\n(training, off the scale)", (row["depth"], top - 0.2), xytext=(row["depth"], top - 2.4),
                ha="center", va="top", color=COLOURS[row["family"]], arrowprops={"arrowstyle": "->", "color": COLOURS[row["family"]], "linewidth": 1.8},
            )  # fmt: skip
        for label in labels:
            axis.plot([], [], shapes[label], color=GREY, markerfacecolor="white", markeredgewidth=1.6, label=label)
        for family in ("plain", "residual"):
            axis.plot([], [], "-", linewidth=3, color=COLOURS[family], label=f"{family} nets")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axis.set_xticks(sorted(rows["depth"].unique()))
        axis.set_xlabel("depth (weighted layers)")
        axis.set_ylabel("test error (%), whole 32x32 image")
        axis.set_ylim(5.5, top)
        axis.set_title(title, fontsize=12, fontweight="bold")
    return figure


def protocol_numbers(published: pd.DataFrame, title: str) -> Figure:
    """Top-1 errors of one and the same nets under three test protocols, joined net by net.

    published: columns depth, protocol (in order), error (percent).
    """
    with house_style():
        figure, (axis,) = _panels(1, width=7.5, height=3.9)
        protocols = list(dict.fromkeys(published["protocol"]))
        styles = dict(zip(sorted(published["depth"].unique()), ("-", "--", ":"), strict=False))
        for depth, group in published.groupby("depth"):
            places = [protocols.index(p) for p in group["protocol"]]
            axis.plot(places, group["error"], "o", linestyle=styles[depth], color=COLOURS["residual"], markerfacecolor="white", markeredgewidth=1.8, markersize=8, linewidth=1.6)
            for place, error in zip(places, group["error"], strict=True):
                low = depth != min(styles)
                axis.annotate(f"{error:g}", (place, error), xytext=(9, -3 if low else 3), textcoords="offset points", va="top" if low else "bottom")
            axis.annotate(f"ResNet-{depth}", (places[0], group["error"].iloc[0]), xytext=(-12, 0), textcoords="offset points", ha="right", va="center", fontweight="bold", color=COLOURS["residual"])
        axis.set_xticks(range(len(protocols)), protocols)
        axis.set_xlim(-0.55, len(protocols) - 0.6)
        axis.set_ylabel("top-1 error (%), ImageNet validation")
        axis.set_title(title, fontsize=12, fontweight="bold")
    return figure
