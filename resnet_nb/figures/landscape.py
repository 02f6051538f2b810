"""Slices of the loss around trained weights."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style, panels

LINES = {"kept": "-", "anew": "--"}
WORDS = {"kept": "statistics of the trained net", "anew": "statistics averaged anew at each point"}
LEVELS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1e3, 1e4)  # nats


def loss_lines(table: pd.DataFrame, title: str) -> Figure:
    """Loss against the step along a direction: a panel a depth, plain and residual nets, with both kinds of statistics.

    table: rows of `probes.landscape.line` with columns family, depth, statistics ("kept" or "anew"), direction.
    """
    depths = sorted(table["depth"].unique())
    with house_style():
        figure, axes = panels(len(depths), width=7.5, height=3.9, sharey=True)
        for axis, depth in zip(axes, depths, strict=True):
            nets = table[table["depth"] == depth].groupby(["family", "statistics", "direction"], sort=False)
            for (family, statistics, _), group in nets:
                axis.plot(group["step"], group["loss"], color=COLOURS[family], linestyle=LINES[statistics], linewidth=1.8)
            axis.axhline(np.log(10), color=GREY, linestyle=":", linewidth=1)
            axis.set_yscale("log")
            axis.set_title(f"{depth} layers")
            axis.set_xlabel("step (1: every filter moved by its norm)")
        axes[0].set_ylabel("loss (nats)")
        axes[0].text(0.02, np.log(10) * 1.06, "chance", transform=axes[0].get_yaxis_transform(), fontsize=8.5, color=GREY)
        for family in table["family"].unique():
            axes[0].plot([], [], color=COLOURS[family], linewidth=3, label=family)
        for statistics in table["statistics"].unique():
            axes[0].plot([], [], color=GREY, linestyle=LINES[statistics], label=WORDS[statistics])
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        headline(figure, title)
    return figure


def loss_surfaces(tables: Mapping[str, pd.DataFrame], title: str, *, colours: Mapping[str, str] | None = None) -> Figure:
    """The loss over the plane of two directions, as lines of equal loss with their values, a panel a net.

    tables: {the net's name: rows of `probes.landscape.surface` of one kind of statistics}, in the order of the panels; colours: {name: family}.
    """
    with house_style():
        figure, axes = panels(len(tables), width=7.5, height=4.2, sharex=True, sharey=True)
        for axis, (name, table) in zip(axes, tables.items(), strict=True):
            _contours(axis, table)
            axis.set_title(name, color=COLOURS.get((colours or {}).get(name, ""), "black"))
            axis.set_xlabel("step along the first direction")
            axis.set_aspect("equal")
        axes[0].set_ylabel("step along the second")
        headline(figure, title)
    return figure


def _contours(axis: Axes, table: pd.DataFrame) -> None:
    grid = table.pivot(index="step_b", columns="step_a", values="loss")
    drawn = axis.contour(grid.columns, grid.index, grid.to_numpy(), levels=LEVELS, cmap="Greys", norm="log", vmin=0.01, linewidths=1.3)
    axis.clabel(drawn, fmt=lambda level: f"{level:g}", fontsize=8, inline_spacing=2, colors="black")
    axis.plot(0, 0, "+", color="black", markersize=9)
