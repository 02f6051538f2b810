"""Redundancy along the depth of plain and residual nets, the verdicts' differences, and errors of approximation."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, headline, house_style, panels
from resnet_nb.findings.verdicts.approximation import best_rate
from resnet_nb.findings.verdicts.redundancy import UNKNOWN

LABELS = {
    "effective_rank": "effective rank / channels",
    "participation": "participation ratio / channels",
    "scaled_rank": "effective rank / channels, scaled",
    "correlation": "mean |correlation| of two channels",
    "cka": "CKA of images with the one before",
    "position_cka": "CKA of positions with the one before",
    "unexplained": "share not linear in the one before",
    "size": "norm / norm of the block's input",
}
KINDS = {"state": "states", "branch": "updates (branches)", "change": "updates (changes)"}
FORMS = {"wide": ("#555555", "D", "-"), "deep": (COLOURS["plain"], "s", "--"), "deep with shortcuts": (COLOURS["residual"], "o", "-")}


def redundancy_by_depth(table: pd.DataFrame, columns: Sequence[tuple[str, str]], title: str) -> Figure:
    """Measures against the block, plain and residual: a panel for each (kind, measure), at most two in a row.

    table: rows of `probes.redundancy` of nets of one depth, with family and seed or source: each net a thin line, their mean a bold one with markers.
    Dotted verticals: where a stage begins, and with it another shape.
    """
    rows = -(-len(columns) // 2)
    with house_style():
        figure, _ = panels(1, width=7.5, height=0.8 + 2.7 * rows)
        figure.clear()
        axes = figure.subplots(rows, min(2, len(columns)), squeeze=False, sharex=True)
        starts = table[table["block"] > 0].groupby("stage")["block"].min().tolist()[1:]
        for axis, (kind, measure) in zip(axes.flat, columns, strict=False):
            for family in ("plain", "residual"):
                _lines(axis, table[(table["kind"] == kind) & (table["family"] == family) & (table["block"] > 0)], measure, family)
            for start in starts:
                axis.axvline(start - 0.5, color=GREY, linestyle=":", linewidth=0.9)
            axis.set_title(KINDS[kind])
            axis.set_ylabel(LABELS[measure], fontsize=9)
            if measure == "size":
                axis.set_yscale("log")
            else:
                axis.set_ylim(0, 1.03 if "cka" in measure else axis.get_ylim()[1])
        for axis in axes.flat[len(columns) :]:
            axis.axis("off")
        for axis in axes[-1]:
            axis.set_xlabel("block")
        axes.flat[0].legend(handles=[_handle(family) for family in ("plain", "residual")], loc="best", fontsize=8)
        headline(figure, title)
    return figure


def _lines(axis: Axes, rows: pd.DataFrame, measure: str, family: str) -> None:
    nets = rows.assign(seed=rows["seed"].fillna(UNKNOWN)).pivot_table(index="block", columns=["source", "seed"], values=measure)
    if nets.empty:
        return
    nets = nets.reindex(range(1, int(rows["block"].max()) + 1))  # where a stage begins there is nothing to compare with: a gap
    for name in nets if nets.shape[1] > 1 else ():
        axis.plot(nets.index, nets[name], color=COLOURS[family], linewidth=0.8, alpha=0.6)
    size = 4.5 if len(nets) < 16 else 3
    axis.plot(nets.index, nets.mean(axis=1), MARKERS[family], linestyle="-", color=COLOURS[family], linewidth=2, markersize=size)


def _handle(family: str) -> Line2D:
    return Line2D([], [], color=COLOURS[family], marker=MARKERS[family], linewidth=2, markersize=4.5, label=family)


def redundancy_verdicts(judged: dict[str, pd.DataFrame], title: str) -> Figure:
    """Each statement's mean difference, residual minus plain, towards the statement's side: a row a statement, a panel a set of nets.

    judged: {what the nets are: rows of `verdicts.redundancy.judge`}. Right of 0 supports the statement. Filled: decided; open: not.
    """
    first = next(iter(judged.values()))
    with house_style():
        figure, axes = panels(len(judged), width=7.5, height=1.2 + 0.4 * len(first), sharey=True, sharex=True)
        for axis, (name, table) in zip(axes, judged.items(), strict=True):
            axis.axvline(0, color="black", linewidth=0.8)
            for place, row in enumerate(table.itertuples()):
                _difference(axis, place, row)
            axis.set_title(name, fontsize=10)
            axis.tick_params(axis="x", labelsize=8.5)
        names = [textwrap.fill(f"{one}{'' if free else ' *'}", 36) for one, free in zip(first["says"], first["scale_free"], strict=True)]
        axes[0].set_yticks(range(len(first)), names, fontsize=8)
        axes[0].set_ylabel("in a residual net, ...", fontsize=9)
        axes[0].invert_yaxis()
        marks = [("^", COLOURS["residual"], "supported"), ("v", COLOURS["plain"], "contradicted"), ("o", "white", "undecided")]
        handles = [Line2D([], [], linestyle="none", marker=mark, color=fill, markeredgecolor=GREY, label=label) for mark, fill, label in marks]
        axes[len(axes) // 2].set_xlabel("mean difference, right: supports", fontsize=9)
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
        headline(figure, title)
    return figure


def _difference(axis: Axes, place: int, row: tuple) -> None:
    mark, fill = {True: ("^", COLOURS["residual"]), False: ("v", COLOURS["plain"])}.get(row.supported, ("o", "white"))
    if np.isfinite(row.low):
        axis.plot([row.side * row.low, row.side * row.high], [place, place], color=GREY, linewidth=1.4)
    axis.plot(row.side * row.difference, place, mark, color=fill, markeredgecolor=GREY, markersize=7)


def approximation_errors(hand: pd.DataFrame, fits: pd.DataFrame, title: str) -> Figure:
    """Left: parameters of the exact nets made by hand against the sawtooth's pieces. Right: errors of trained nets of equal parameters.

    hand: of `approximation.by_hand`; fits: of `approximation_runs.fit_curves`, at each form's best rate. A dot is a seed, a line joins medians; the
    smooth curve stands apart at the left.
    """
    chosen = best_rate(fits)
    with house_style():
        figure, (left, right) = panels(2, width=7.5, height=3.8)
        left.plot(hand["pieces"], hand["wide_parameters"], "D-", color=FORMS["wide"][0], label="one hidden layer", markersize=5)
        left.plot(hand["pieces"], hand["deep_parameters"], "s--", color=COLOURS["plain"], label="layers of two units", markersize=5)
        left.set_yscale("log")
        left.legend(loc="upper left", fontsize=8.5)
        left.set_title("by hand: exact nets")
        left.set_ylabel("parameters of an exact net")
        smooth_at = 1.0
        for form, (colour, mark, style) in FORMS.items():
            rows = chosen[chosen["form"] == form]
            teeth = rows[rows["target"] == "sawtooth"]
            right.plot(teeth["pieces"], teeth["error"], mark, color=colour, markersize=4, alpha=0.5)
            medians = teeth.groupby("pieces")["error"].median()
            right.plot(medians.index, medians, marker=mark, linestyle=style, color=colour, markersize=5.5, label=form)
            right.plot([smooth_at] * (rows["target"] == "smooth").sum(), rows[rows["target"] == "smooth"]["error"], mark, color=colour, markersize=5)
        right.axhline(0.25, color=GREY, linestyle=":", linewidth=1.2)
        right.annotate("a constant", (2, 0.25), xytext=(-12, 4), textcoords="offset points", fontsize=8.5, color=GREY)
        right.set_yscale("log")
        right.set_title("trained: equal parameters")
        right.set_ylabel("mean absolute error")
        right.legend(loc="lower right", fontsize=8.5)
        for axis, ticks in ((left, hand["pieces"]), (right, sorted(chosen["pieces"].unique()))):
            axis.set_xscale("log", base=2)
            axis.set_xlabel("straight pieces of the sawtooth")
            places = [max(int(tick), 1) for tick in ticks]
            axis.set_xticks(places, ["smooth" if tick == 0 else str(int(tick)) for tick in ticks], fontsize=8)
        headline(figure, title)
    return figure
