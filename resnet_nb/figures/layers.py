"""Layers along a training run: what is in its trace, stage by stage."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import GREY, headline, house_style, panels
from resnet_nb.records.kept import stage_of

VALUES = {
    "weight_norm": "norm of a layer's weights",
    "gradient_norm": "norm of a layer's gradient",
    "relative_step": "update's norm / weights' norm",
    "angle": "angle of one update (radians)",
    "response": "response's standard deviation",
}
LINES = {"first layer": (":", 2.0), "stage 1": ("-", 2.4), "stage 2": ("--", 1.8), "stage 3": ("-.", 1.4), "classifier": ((0, (1, 4)), 1.4)}
SHADES = {"first layer": "#000000", "stage 1": "#000000", "stage 2": "#444444", "stage 3": "#888888", "classifier": "#888888"}


def layers_along_training(traces: Mapping[str, pd.DataFrame], value: str, title: str, *, columns: int = 2) -> Figure:
    """One of a trace's columns against iterations, on two logarithmic scales: a panel a run, a line a stage, the median of its layers.

    traces: {what the run is: rows of `kept.TRACE_COLUMNS`}; value: one of VALUES. The first stage's layers lie in the grey band, from least to
    greatest. Iterations are counted from 1.
    """
    count = len(traces)
    rows = -(-count // columns)
    with house_style():
        figure, _ = panels(1, width=7.5, height=0.7 + 2.6 * rows)
        figure.clear()
        axes = figure.subplots(rows, min(columns, count), squeeze=False, sharex=True, sharey=True)
        for axis, (name, trace) in zip(axes.flat, traces.items(), strict=False):
            _panel(axis, trace, value)
            axis.set_title(name)
        for axis in axes.flat[count:]:
            axis.axis("off")
        for row in axes:
            row[0].set_ylabel(VALUES[value])
        for axis in axes.flat[max(0, count - len(axes[0])) : count]:
            axis.set_xlabel("iteration")
            axis.tick_params(labelbottom=True)
        axes.flat[0].legend(loc="best", fontsize=8)
        headline(figure, title)
    return figure


def _panel(axis: Axes, trace: pd.DataFrame, value: str) -> None:
    staged = trace.assign(stage=trace["layer"].map(stage_of), update=trace["iteration"] + 1)
    for stage, (style, width) in LINES.items():
        by_update = staged[staged["stage"] == stage].groupby("update")[value]
        middle = by_update.median()
        axis.plot(middle.index, middle, linestyle=style, linewidth=width, color=SHADES[stage], label=stage)
        if stage == "stage 1":
            axis.fill_between(middle.index, by_update.min(), by_update.max(), color=GREY, alpha=0.18, linewidth=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
