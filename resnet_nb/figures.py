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
        figure, (axis,) = _panels(1, width=5.5, height=2.6)
        axis.plot([step for step, _, _ in points], [error for _, _, error in points], color=GREY, **TRAINING)
        axis.set_xlim(0, total)
        axis.set_ylim(0, 100)
        axis.set_xlabel("iteration")
        axis.set_ylabel("running error (%)")
    return figure


def published_cifar(published: pd.DataFrame, title: str) -> Figure:
    """Published test errors on CIFAR-10 against depth: open markers, one row of the table each, with its spread where one is printed.

    published: `published.cifar_errors()`. Values that were read off a figure are marked "~", those that nobody has checked at their source
    are grey and marked "?", and the bound on the plain net of 110 layers is an arrow out of the figure.
    """
    with house_style():
        figure, (axis,) = _panels(1, width=8.5, height=4.6)
        rows = published[published["depth"] < 1000]
        labels = list(dict.fromkeys(rows["source_label"]))
        shapes = dict(zip(labels, "osD^vPX*", strict=False))
        for _, row in rows[~rows["bound"]].iterrows():
            place = row["depth"] + 1.1 * (labels.index(row["source_label"]) - (len(labels) - 1) / 2)
            _published_point(axis, place, row, shapes[row["source_label"]])
        top = 14.6
        for _, row in rows[rows["bound"]].iterrows():
            colour, place = COLOURS[row["family"]], row["depth"]
            text = f"{row['family']}-{row['depth']}: its curve lies above\n{row['value']:g} %, and was left out"
            arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.8}
            axis.annotate(text, (place, top - 0.1), (place + 4, top - 1.6), ha="right", va="top", color=colour, arrowprops=arrow)
        for label in labels:
            axis.plot([], [], shapes[label], color=GREY, markerfacecolor="white", markeredgewidth=1.6, label=label)
        for family, colour in COLOURS.items():
            axis.plot([], [], "-", linewidth=3, color=colour, label=f"{family} nets")
        axis.plot([], [], " ", label="~ read off a figure or rounded")
        axis.plot([], [], " ", label="? not checked at its source (grey)")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axis.set_xticks(sorted(rows["depth"].unique()))
        axis.set_xlabel("depth (weighted layers)")
        axis.set_ylabel("CIFAR-10 test error (%)")
        axis.set_ylim(5.6, top)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _published_point(axis: Axes, place: float, row: pd.Series, marker: str) -> None:
    """One published value: its mean where there are several runs, with their standard deviation."""
    colour = COLOURS[row["family"]] if row["verified"] else "#999999"
    value = row["mean"] if pd.notna(row["mean"]) else row["value"]
    spread = row["std"] if pd.notna(row["std"]) else None
    look = {"color": colour, "markerfacecolor": "white", "markersize": 6.5, "markeredgewidth": 1.5, "capsize": 3}
    axis.errorbar(place, value, yerr=spread, fmt=marker, **look)
    marks = ("~" if row["approximate"] else "") + ("" if row["verified"] else "?")
    axis.annotate(marks, (place, value), (5, 2), textcoords="offset points", color=colour)


def protocol_numbers(published: pd.DataFrame, title: str) -> Figure:
    """Top-1 errors of the same nets under three test protocols, joined net by net.

    published: `published.three_protocols()`, with columns depth, protocol (in order), error (percent).
    """
    with house_style():
        figure, (axis,) = _panels(1, width=7.5, height=4.0)
        protocols = list(dict.fromkeys(published["protocol"]))
        depths = sorted(published["depth"].unique())
        blue = COLOURS["residual"]
        look = {"color": blue, "linestyle": "-", "markerfacecolor": "white", "markeredgewidth": 1.8, "markersize": 7}
        for rank, depth in enumerate(depths):
            group = published[published["depth"] == depth]
            places = [protocols.index(protocol) for protocol in group["protocol"]]
            axis.plot(places, group["error"], "o", linewidth=1 + 0.7 * rank, **look)
            below = depth == depths[-1]  # its numbers go under the line, those of the others over it
            side = {"ha": "right", "va": "top"} if below else {"ha": "left", "va": "bottom"}
            for place, error in zip(places, group["error"], strict=True):
                number = f"{error:.2f}".removesuffix("0")
                axis.annotate(number, (place, error), (-3, -6) if below else (5, 3), textcoords="offset points", **side)
            first = {"textcoords": "offset points", "ha": "right", "va": "center", "color": blue, "fontweight": "bold"}
            axis.annotate(f"ResNet-{depth}", (places[0], group["error"].iloc[0]), (-12, 3), **first)
        axis.set_xticks(range(len(protocols)), [protocol.replace(" (", "\n(") for protocol in protocols])
        axis.set_xlim(-0.5, len(protocols) - 0.75)
        axis.margins(y=0.12)
        axis.set_xlabel("test protocol, and where its value is printed")
        axis.set_ylabel("top-1 error (%), ImageNet validation")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure
