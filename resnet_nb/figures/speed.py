"""Iterations to a loss against depth, with the laws of growth; and what longer training or another recipe changes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, headline, house_style, panels
from resnet_nb.findings.speed import Comparison

LAW_LINES = {"exponential": "-", "power law": ":"}


def time_by_depth(middle: pd.DataFrame, laws: Mapping[tuple[str, float], Comparison], title: str, *, guess: float | None = None) -> Figure:
    """Iterations until the running loss is under a value, on a log scale, against depth: one panel a loss, the highest first.

    middle: `speed.medians` of both families; laws: the comparison for each (family, loss) that has one. Bars run from the fastest to the slowest
    seed; a bound is an open marker with an arrow. guess: iterations that a reader predicted for the plain net of 56 layers, at the lowest loss.
    """
    losses = sorted(middle["loss"].unique(), reverse=True)
    with house_style():
        figure, axes = panels(len(losses), width=9.0, height=4.0, sharey=True)
        for axis, loss in zip(axes, losses, strict=True):
            for family, group in middle[middle["loss"] == loss].groupby("family"):
                _medians(axis, group, COLOURS[family], MARKERS[family])
                if (family, loss) in laws:
                    _laws(axis, laws[family, loss], group["depth"], COLOURS[family])
            axis.set_title(f"until the loss is under {loss:g}")
            axis.set_xlabel("depth (weighted layers)")
            axis.set_xticks(sorted(middle["depth"].unique()))
            axis.tick_params(axis="x", labelsize=8.5)
        _log_scale(axes[0], "iterations (mini-batches of 128)")
        axes[0].set_ylim(middle["lowest"].min() / 1.5, 4 * middle["iterations"].max())
        if guess is not None:
            axes[-1].plot([56], [guess], "*", color="black", markersize=13, zorder=5, label="your prediction")
        _key(axes[0])
        if guess is not None:
            axes[-1].legend(loc="lower right")
        headline(figure, title)
    return figure


def _medians(axis: Axes, group: pd.DataFrame, colour: str, marker: str) -> None:
    """Points with the extreme seeds; an arrow upwards where a seed never arrived, and an open point where most did not."""
    known, bounds = group[~group["censored"]], group[group["censored"]]
    top = known["highest"].where(np.isfinite(known["highest"]), known["iterations"])
    bars = np.abs([known["iterations"] - known["lowest"], top - known["iterations"]])
    axis.errorbar(known["depth"], known["iterations"], yerr=bars, fmt=marker, color=colour, markersize=6, capsize=2.5, zorder=3)
    axis.plot(bounds["depth"], bounds["iterations"], marker, color=colour, markersize=6, markerfacecolor="white", zorder=3)
    for _, row in group[np.isinf(group["highest"])].iterrows():
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.5}
        axis.annotate("", (row["depth"], row["iterations"] * 1.7), (row["depth"], row["iterations"]), arrowprops=arrow)


def _laws(axis: Axes, both: Comparison, depths: pd.Series, colour: str) -> None:
    line = np.linspace(depths.min(), depths.max(), 100)
    for law in (both.exponential, both.power_law):
        axis.plot(line, law.iterations(line), LAW_LINES[law.name], color=colour, linewidth=1.4, zorder=2)


def _log_scale(axis: Axes, label: str) -> None:
    axis.set_yscale("log")
    axis.set_yticks([10, 20, 50, 100, 200, 500, 1000])
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.minorticks_off()
    axis.set_ylabel(label)


def _key(axis: Axes) -> None:
    for family, colour in COLOURS.items():
        axis.plot([], [], MARKERS[family], color=colour, label=f"{family} nets")
    for name, style in LAW_LINES.items():
        axis.plot([], [], style, color=GREY, label=name)
    axis.legend(loc="upper left", fontsize=8.5)


def time_by_setting(middle: pd.DataFrame, title: str) -> Figure:
    """Iterations until the running loss is under a value, on a log scale, against depth: one panel a setting, one loss in each.

    middle: `speed.medians_by_setting`, of one loss a setting, panels in its order. Bars and bounds as in `time_by_depth`.
    """
    settings = list(dict.fromkeys(middle["setting"]))
    with house_style():
        figure, axes = panels(len(settings), width=9.6, height=3.8, sharey=True)
        for axis, setting in zip(axes, settings, strict=True):
            own = middle[middle["setting"] == setting]
            for family, group in own.groupby("family"):
                axis.plot(group["depth"], group["iterations"], color=COLOURS[family], linewidth=1.2, alpha=0.6)
                _medians(axis, group, COLOURS[family], MARKERS[family])
            axis.set_title(setting.replace(", ", "\n").replace("\n", ", ", 1) + f"\nuntil loss {own['loss'].iloc[0]:g}", fontsize=9)
            axis.set_xticks(sorted(own["depth"].unique()))
            axis.tick_params(axis="x", labelsize=8.5)
            axis.set_xlim(middle["depth"].min() - 5, middle["depth"].max() + 5)
        figure.supxlabel("depth (weighted layers)", fontsize=10)
        _log_scale(axes[0], "iterations (mini-batches of 128)")
        axes[0].set_ylim(middle["lowest"].min() / 1.5, 2.2 * middle["iterations"].max())
        for family, colour in COLOURS.items():
            axes[0].plot([], [], MARKERS[family], color=colour, label=f"{family} nets")
        axes[0].legend(loc="upper left", fontsize=8.5)
        headline(figure, title)
    return figure


def lengths(runs: pd.DataFrame, title: str) -> Figure:
    """Final training error against the number of iterations, one panel a net; each run a dot, medians joined.

    runs: columns family, depth, iterations, train_error (percent), seed.
    """
    nets = sorted({(row.family, row.depth) for row in runs.itertuples()})
    with house_style():
        figure, axes = panels(len(nets), width=8.5, height=3.5, sharey=True)
        for axis, (family, depth) in zip(axes, nets, strict=True):
            group = runs[(runs["family"] == family) & (runs["depth"] == depth)]
            middle = group.groupby("iterations")["train_error"].median()
            axis.plot(middle.index, middle, "--", color=COLOURS[family], linewidth=1.2)
            axis.plot(group["iterations"], group["train_error"], MARKERS[family], color=COLOURS[family], markersize=5.5, alpha=0.7)
            for length, value in middle.items():
                axis.annotate(f"{value:.1f}", (length, value), (7, 5), textcoords="offset points", color=COLOURS[family])
            axis.set_xscale("log")
            axis.set_xticks(sorted(runs["iterations"].unique()))
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.minorticks_off()
            axis.margins(x=0.2)
            axis.set_title(f"{family}, {depth} layers")
            axis.set_xlabel("iterations (log scale)")
        axes[0].set_ylabel("final training error (%)")
        axes[0].set_ylim(bottom=-1.5)
        headline(figure, title)
    return figure


def chances(runs: pd.DataFrame, order: Sequence[str], title: str) -> Figure:
    """Final training error of one net under several recipes, one row a recipe in the given order, each run a dot and the median a bar.

    runs: columns recipe, train_error (percent), seed; order: the recipes, top first.
    """
    with house_style():
        figure, (axis,) = panels(1, width=8.5, height=0.9 + 0.42 * len(order))
        for place, name in zip(range(len(order), 0, -1), order, strict=True):
            values = runs.loc[runs["recipe"] == name, "train_error"]
            axis.plot(values, [place] * len(values), MARKERS["plain"], color=COLOURS["plain"], markersize=5.5, alpha=0.7)
            axis.plot([values.median()] * 2, [place - 0.3, place + 0.3], color=COLOURS["plain"], linewidth=2.2)
            axis.annotate(f"{values.median():.1f}", (values.median(), place + 0.3), (0, 1), textcoords="offset points", ha="center", fontsize=8.5)
        axis.set_yticks(range(len(order), 0, -1), order)
        axis.set_ylim(0.4, len(order) + 0.8)
        axis.set_ylabel("what was changed")
        axis.set_xlabel("final training error (%)")
        axis.set_xlim(left=-1.5)
        headline(figure, title)
    return figure
