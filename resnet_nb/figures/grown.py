"""A deepened net trained on, and the trap of reading its error in evaluation mode."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import COLOURS, GREY, TRAINING, headline, house_style, panels
from resnet_nb.findings.construction import LEFT, SMOOTH, beside_evaluations, smoothed

CONTROL = {"linestyle": ":", "linewidth": 1.4}


def trained_on(curves: pd.DataFrame, title: str, *, live: pd.DataFrame | None = None) -> Figure:
    """The error of the training batches after deepening, one panel a rate, the highest rate first.

    curves: recorded runs, one row an iteration, with columns family, depth, rate, seed, iteration, error (percent): deepened nets in their
    family's colour, one line a seed; the shallow nets trained on without deepening dotted, in grey. live: the same columns, drawn bold.
    """
    rates = sorted(curves["rate"].unique(), reverse=True)
    deep = curves["depth"].max()
    with house_style():
        figure, axes = panels(len(rates), width=9.0, height=3.5, sharey=True)
        for axis, rate in zip(axes, rates, strict=True):
            rows = curves[curves["rate"] == rate]
            for (family, depth, _), run in rows.groupby(["family", "depth", "seed"]):
                if depth == deep:
                    _line(axis, run, COLOURS[family], zorder=3 if family == "plain" else 2, **TRAINING)
                else:
                    _line(axis, run, GREY, **CONTROL)
            if live is not None:
                for family, run in live[live["rate"] == rate].groupby("family"):
                    _line(axis, run, COLOURS[family], linewidth=2.6, zorder=4)
            axis.set_title(f"rate {rate:g}")
            axis.set_xlabel("iterations after deepening")
        axes[0].set_ylabel("error of the training batches (%)")
        axes[0].set_ylim(-3, 100)
        others = smoothed(curves)[lambda rows: (rows["family"] == "residual") | (rows["depth"] < deep)]["batches"].max()
        if others < LEFT:
            words = f"all others, on zero:\nnever over {others:.1f} %"
            axes[0].text(0.98, 0.97, words, transform=axes[0].transAxes, ha="right", va="top", color=GREY)
        last = axes[-1]
        seeds = curves["seed"].nunique()
        runs = f" ({seeds} seeds)" if seeds > 1 else ""
        for label, colour in ((f"plain, deepened to {deep}", COLOURS["plain"]), (f"residual, deepened to {deep}", COLOURS["residual"])):
            last.plot([], [], color=colour, label=f"{label}{runs}", **TRAINING)
        last.plot([], [], color=GREY, label="both, not deepened", **CONTROL)
        if live is not None:
            last.plot([], [], color="black", linewidth=2.6, label="trained here")
        last.legend(loc="upper right", fontsize=8.5)
        headline(figure, title)
    return figure


def _line(axis: Axes, run: pd.DataFrame, colour: str, **look: object) -> None:
    run = smoothed(run)
    axis.plot(run["iteration"], run["batches"], color=colour, **look)


def evaluation_trap(curves: pd.DataFrame, evaluated: pd.DataFrame, title: str, *, seed: int) -> Figure:
    """Evaluation-mode error beside the batches' own, along one run (left) and over all runs of the family (right).

    curves: rows as for `trained_on`, of one family, depth and rate; evaluated: columns seed, iteration, train_error (percent, evaluation mode).
    """
    with house_style():
        figure, (left, right) = panels(2, width=8.5, height=3.6)
        run, points = curves[curves["seed"] == seed], evaluated[evaluated["seed"] == seed]
        colour = COLOURS["plain"]
        _line(left, run, colour, **TRAINING)
        left.plot(points["iteration"], points["train_error"], "s-", color=GREY, markersize=6, linewidth=1.5)
        left.annotate("in evaluation mode", _highest(points), (8, 2), textcoords="offset points", color=GREY, fontweight="bold")
        smooth = smoothed(run).set_index("iteration")["batches"]
        left.annotate("its batches", (smooth.idxmax(), smooth.max()), (-34, 4), textcoords="offset points", color=colour, fontweight="bold")
        left.set_title(f"one run (seed {seed})")
        left.set_xlabel("iterations after deepening")
        left.set_ylabel("training error (%)")
        left.set_ylim(-3, 100)
        both = beside_evaluations(curves, evaluated)
        right.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=":")
        right.plot(both["batches"], both["train_error"], "s", color=colour, markersize=5, alpha=0.75)
        right.annotate("equal", (60, 60), (6, -4), textcoords="offset points", va="top", color=GREY)
        right.set_title("every evaluation of every seed")
        right.set_xlabel(f"error of the last {SMOOTH} batches (%)")
        right.set_ylabel("error in evaluation mode (%)")
        headline(figure, title)
    return figure


def _highest(points: pd.DataFrame) -> tuple[float, float]:
    row = points.loc[points["train_error"].idxmax()]
    return row["iteration"], row["train_error"]
