"""Gradients from layer to layer, their growth beside theory, how soon they are forgotten along a line of inputs, and what changed steps gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, headline, house_style, panels
from resnet_nb.findings.vanishing import FIRST_STAGE

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
VALUES = {
    "output_gradient": "gradient's norm at each output", "scale_free": "gradient's norm x weights' norm", "angle": "angle of one update (radians)",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Curve:
    """One net's atlas as a line: label, family ("plain" or "residual"), table (columns layer and a value), theory: growth a row, or None."""

    label: str
    family: str
    table: pd.DataFrame
    theory: float | None = None


def layer_by_layer(groups: Mapping[str, Sequence[Curve]], title: str, *, value: str = "output_gradient", relative: bool = True) -> Figure:
    """A value of each convolution, or block, against its place, logarithmic; a panel a group of nets, at most six a panel.

    groups: {the panel's name: nets}, whose tables are atlases or streams. relative: each net's values over that of its last row. Dotted grey: what
    theory says of the first stage, from one row to the next, drawn from its last. A value of zero, which has no logarithm, is left out.
    """
    blocks = not any(curve.table["layer"].str.contains("conv").any() for curves in groups.values() for curve in curves)
    with house_style():
        figure, axes = panels(len(groups), width=7.5, height=3.9, sharey=True)
        for axis, (name, curves) in zip(axes, groups.items(), strict=True):
            for style, curve in zip(STYLES, curves, strict=False):
                _curve(axis, curve, value, relative, style)
            axis.set_title(name)
            axis.set_yscale("log")
            axis.set_xlabel(f"{'block' if blocks else 'convolution'}, from input to output")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend(fontsize=8, loc="best")
        axes[0].set_ylabel(VALUES[value] + (",\nover that of the last" if relative else ""))
        headline(figure, title)
    return figure


def _curve(axis: Axes, curve: Curve, value: str, relative: bool, style: object) -> None:
    convolutions = curve.table["layer"].str.contains("conv")
    rows = curve.table[convolutions] if convolutions.any() else curve.table
    values = rows[value].to_numpy(float)
    places = np.arange(1, len(values) + 1)
    if relative:
        values = values / values[-1]
    shown = np.isfinite(values) & (values > 0)
    axis.plot(places[shown], values[shown], linestyle=style, color=COLOURS[curve.family], linewidth=1.8, label=curve.label)
    stage = np.flatnonzero(rows["layer"].str.startswith(FIRST_STAGE))
    if curve.theory is not None and len(stage) and shown[stage].all():
        line = values[stage[-1]] * curve.theory ** (stage[-1] - stage)
        axis.plot(places[stage], line, linestyle=":", color=GREY, linewidth=3.0, alpha=0.7)


def growths(table: pd.DataFrame, title: str) -> Figure:
    """Measured growth a layer beside theory, a row a kind of net. table: columns net, family, depth, growth, theory (missing where there is none).

    A growth that is zero or missing, since the gradient is too small for its 32 bits, is left out.
    """
    table = table[table["growth"] > 0]
    nets = list(dict.fromkeys(table["net"]))
    depths = sorted(table["depth"].unique())
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=0.34 * len(nets) + 1.4)
        for row, net in enumerate(nets):
            own = table[table["net"] == net]
            family = own["family"].iloc[0]
            for depth, growth in zip(own["depth"], own["growth"], strict=True):
                shade = 0.35 + 0.65 * depths.index(depth) / max(len(depths) - 1, 1)
                axis.plot(growth, row, MARKERS[family], color=COLOURS[family], alpha=shade, markersize=5 + 2 * depths.index(depth))
            if own["theory"].notna().any():
                axis.plot(own["theory"].iloc[0], row, "D", markerfacecolor="none", markeredgecolor="black", markersize=10)
        axis.axvline(1, color=GREY, linewidth=1.2)
        axis.set_yticks(range(len(nets)), nets, fontsize=9)
        axis.invert_yaxis()
        axis.set_xscale("log")
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.2, 1.5) if 0.9 * table["growth"].min() < tick < 1.2 * table["growth"].max()]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("growth of the gradient's norm a layer backwards, first stage (under 1: it vanishes)", x=0.3)
        axis.set_ylabel("kind of net")
        axis.plot([], [], "D", markerfacecolor="none", markeredgecolor="black", markersize=9, label="theory of wide nets")
        for depth in depths:
            axis.plot([], [], "o", color=GREY, markersize=5 + 2 * depths.index(depth), label=f"measured, {depth} layers")
        axis.legend(loc="upper left", fontsize=8)
        headline(figure, title)
    return figure


def autocorrelations(groups: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Autocorrelation of gradients against the lag, a panel a group: {panel: {net: values at lags 0, 1, ...}}; residual nets are in their colour."""
    with house_style():
        figure, axes = panels(len(groups), width=7.5, height=3.6, sharey=True)
        for axis, (name, nets) in zip(axes, groups.items(), strict=True):
            for style, (net, values) in zip(STYLES, nets.items(), strict=False):
                family = "residual" if "residual" in net else "plain"
                axis.plot(range(len(values)), values, linestyle=style, color=COLOURS[family], linewidth=1.8, label=net)
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.set_title(name)
            axis.set_xlabel("lag (steps of the grid of inputs)")
            axis.legend(fontsize=8)
        axes[0].set_ylabel("autocorrelation of the gradient")
        headline(figure, title)
    return figure


def shares_at_birth(table: pd.DataFrame, title: str) -> Figure:
    """The branch's share against the block's place, both logarithmic: columns way, place, share (mean squares, geometric means over seeds).

    A way whose branches are all zero is named in a note. Grey: 1 / place.
    """
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=3.6)
        silent = []
        for style, (way, own) in zip(STYLES, table.groupby("way", sort=False), strict=False):
            means = own.groupby("place")["share"].apply(lambda values: np.exp(np.log(values).mean()) if (values > 0).all() else 0.0)
            if means.any():
                axis.plot(means.index, means, linestyle=style, color=COLOURS["residual"], linewidth=1.8, label=way)
            else:
                silent.append(way)
        places = np.array(sorted(table["place"].unique()))
        axis.plot(places, 1 / places, ":", color=GREY, linewidth=3, alpha=0.7, label="1 / number of the block")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("block, from input to output")
        axis.set_ylabel("branch over shortcut, mean squares")
        axis.legend(fontsize=9, title=f"zero throughout: {', '.join(silent)}" if silent else None, title_fontsize=9)
        headline(figure, title)
    return figure


def by_change(times: pd.DataFrame, order: Sequence[str], title: str, *, value: str, label: str, limit: float = np.inf) -> Figure:
    """What runs came to, a row a change: each seed a mark, their median a bar. times: columns change, family and `value`; label: of the axis.

    A value that is infinite was not reached within `limit`: it is drawn there as an arrow.
    """
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=0.42 * len(order) + 1.3)
        for row, change in enumerate(order):
            own = times[times["change"] == change]
            family = own["family"].iloc[0]
            for place, found in enumerate(sorted(own[value])):
                late = not np.isfinite(found)
                marker = ">" if late else MARKERS[family]
                axis.plot(limit if late else found, row + 0.12 * (place - 1), marker, color=COLOURS[family], markersize=6, alpha=0.8)
            middle = float(own[value].median())
            if np.isfinite(middle):
                axis.plot([middle, middle], [row - 0.3, row + 0.3], color="black", linewidth=2)
                axis.annotate(f"{middle:.3g}", (middle, row - 0.3), xytext=(4, 0), textcoords="offset points", fontsize=8, va="bottom")
        axis.set_yticks(range(len(order)), order, fontsize=9)
        axis.set_ylim(len(order) - 0.5, -0.7)
        axis.set_xlim(left=0)
        axis.set_xlabel(f"{label} (bar: median)")
        axis.set_ylabel("change")
        headline(figure, title)
    return figure


def microscope(curves: Sequence[Curve], title: str) -> Figure:
    """Two panels for the explorer: the gradient at each convolution's output, and the angle by which one update turns its weights.

    The last curve is the present one, bold; earlier ones are thin.
    """
    with house_style():
        figure, axes = panels(2, width=8.5, height=3.8)
        for number, curve in enumerate(curves):
            now = number == len(curves) - 1
            rows = curve.table[curve.table["layer"].str.contains("conv")]
            look = {"color": COLOURS[curve.family], "linestyle": STYLES[(len(curves) - 1 - number) % len(STYLES)], "linewidth": 2.4 if now else 1.2}
            for axis, value in zip(axes, ("output_gradient", "angle"), strict=True):
                values = rows[value].where(rows[value] > 0)
                axis.plot(range(1, len(rows) + 1), values, alpha=1.0 if now else 0.6, label=curve.label, marker="." if now else None, **look)
        for axis, value in zip(axes, ("output_gradient", "angle"), strict=True):
            axis.set_yscale("log")
            axis.set_xlabel("convolution, from input to output")
            axis.set_ylabel(VALUES[value])
        if curves:
            axes[0].legend(fontsize=8)
        headline(figure, title)
    return figure
