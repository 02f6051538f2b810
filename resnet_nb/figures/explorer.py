"""Running errors of digits nets as they come down: the recorded panel, and the picture of nets that a reader trains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, STYLE, headline, house_style
from resnet_nb.records import family_and_depth

FAMILIES = ("plain", "residual")
LEAST = 100  # iterations that a live picture has room for at the least: most nets are through by then
APART = 0.08  # of the axes: a label that far from other lines and labels is far enough


def explored(runs: Sequence[dict], title: str, *, rates: Sequence[float] = (0.01, 0.05, 0.1), depths: Sequence[int] = (8, 20, 32)) -> Figure:
    """The running training error against iterations: a panel for each shortcut (rows) and learning rate (columns), a line for each depth.

    runs: records, as those of the study digits-speed (records.load_study); only seed 0 is drawn. A marker ends a line whose running loss fell
    under the recipe's `stop_at_loss`; a line without one ran to the last iteration. Raises ValueError that names a net whose record is absent.
    """
    found = {(*family_and_depth(run["model"]["name"]), run["recipe"]["rate"]): run for run in runs if run["seed"] == 0}
    wanted = [(family, depth, rate) for family in FAMILIES for rate in rates for depth in depths]
    if absent := [f"{family} {depth} at {rate:g}" for family, depth, rate in wanted if (family, depth, rate) not in found]:
        raise ValueError(f"No recorded run, seed 0, of {', '.join(absent)}.")
    last = max(found[net]["final"]["iteration"] for net in wanted)
    with house_style():
        figure = Figure(figsize=(7.5, 5.2), layout="constrained")
        axes = figure.subplots(len(FAMILIES), len(rates), sharex=True, sharey=True, squeeze=False)
        for row, family in zip(axes, FAMILIES, strict=True):
            for axis, rate in zip(row, rates, strict=True):
                chosen = [found[family, depth, rate] for depth in depths]
                _frame(axis, chosen[0]["curve"]["iteration"][0], last)
                _draw_depths(axis, chosen, depths, family)
                axis.set_title(f"{family} nets, rate {rate:g}")
        axes[0, 0].text(0.97, 0.95, "number on a line:\nits layers", transform=axes[0, 0].transAxes, ha="right", va="top", fontsize=9, color=GREY)
        figure.supxlabel("iteration (mini-batches of 128, log scale)", fontsize=10)
        figure.supylabel("running training error (%)", fontsize=10)
        headline(figure, title)
    return figure


def _draw_depths(axis: Axes, runs: Sequence[dict], depths: Sequence[int], family: str) -> None:
    """A line for each run, deeper ones darker and thicker, as training_curves draws them, with its depth written on it."""
    lines = []
    for rank, (run, depth) in enumerate(zip(runs, depths, strict=True), start=1):
        steps, errors = run["curve"]["iteration"], run["curve"]["error"]
        reached = run["curve"]["loss"][-1] < run["recipe"]["stop_at_loss"]
        axis.plot(
            steps, errors, color=COLOURS[family], alpha=0.35 + 0.65 * rank / len(runs), linewidth=0.8 + 1.2 * rank / len(runs), linestyle="--",
            marker=MARKERS[family] if reached else "", markersize=5, markevery=[-1],
        )  # fmt: skip
        lines.append((f"{depth}", steps, errors, COLOURS[family]))
    _label_lines(axis, lines)


@dataclass
class Watched:
    """A net that was trained in the explorer, or is.

    number: of the run, written on its line. label: what it is, for the list. family: "plain" or "residual". points: `Curve.running` so far.
    """

    number: int
    label: str
    family: str
    points: list[tuple[int, float, float]] = field(default_factory=list)


def watched(runs: Sequence[Watched], first: int) -> Figure:
    """The running training error of each net against iterations, the last one bold; numbers on the lines, and what they mean at the right.

    first: the iteration at which a run has its first point. Matplotlib's global settings are not touched, since a thread draws this while the
    reader's own cells may be drawing.
    """
    figure = Figure(figsize=(7.5, 3.4), layout="constrained", facecolor="white")
    axis, beside = figure.subplots(1, 2, width_ratios=(2.6, 1))
    axis.set_facecolor("white")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
    axis.grid(color=STYLE["grid.color"], linewidth=STYLE["grid.linewidth"])
    axis.set_xlabel("iteration (log scale)")
    axis.set_ylabel("running training error (%)")
    _frame(axis, first, max([LEAST, *(step for run in runs for step, _, _ in run.points[-1:])]))
    beside.set_axis_off()
    lines = []
    for row, run in enumerate(runs):
        steps, errors = [step for step, _, _ in run.points], [error for _, _, error in run.points]
        latest = run is runs[-1]
        width = {"linewidth": 2.4} if latest else {"linewidth": 1.0, "alpha": 0.8}
        axis.plot(steps, errors, "--", color=COLOURS[run.family], marker=MARKERS[run.family], markersize=5, markevery=[-1], **width)
        text = f"{run.number}: {run.label}"
        beside.text(0, 0.97 - 0.11 * row, text, color=COLOURS[run.family], fontsize=9, va="top", fontweight="bold" if latest else "normal")
        if steps:
            lines.append((f"{run.number}", steps, errors, COLOURS[run.family]))
    if not runs:
        axis.text(0.5, 0.5, "no net yet", transform=axis.transAxes, ha="center", color=GREY)
    _label_lines(axis, lines)
    return figure


def _frame(axis: Axes, first: int, last: int) -> None:
    """Iterations on a log scale, since speeds are compared by their ratios; errors in percent."""
    axis.set_xscale("log")
    axis.set_xlim(first, last * 1.1)
    axis.set_ylim(-2, 100)
    ticks = [first * 2**power for power in range(1 + int(math.log2(last / first)))]
    axis.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())


def _label_lines(axis: Axes, lines: Sequence[tuple[str, Sequence[float], Sequence[float], str]]) -> None:
    """Write each (text, x, y, colour) upon its own line, where other lines and labels are far; on its last point where it has not fallen yet."""
    to_axes = axis.transData + axis.transAxes.inverted()
    paths = [_dense(to_axes.transform(np.column_stack([x, y]))) for _, x, y, _ in lines]
    labels: list[np.ndarray] = []
    for (text, _, _, colour), path in zip(lines, paths, strict=True):
        places = path[(path[:, 1] > 0.12) & (path[:, 1] < 0.75)]
        places = places if len(places) else path[-1:]
        others = np.concatenate([np.empty((0, 2)), *(other for other in paths if other is not path)])
        free = np.minimum(_distance(places, others), APART) + np.minimum(_distance(places, np.reshape(labels, (-1, 2))), 2 * APART)
        best = places[free.argmax()]
        labels.append(best)
        axis.text(*best, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color=colour, fontweight="bold",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip


def _dense(path: np.ndarray) -> np.ndarray:
    """The corners of a path, (N, 2), and seven points between each two of them."""
    at = np.linspace(0, len(path) - 1, 8 * len(path) - 7)
    return np.column_stack([np.interp(at, np.arange(len(path)), column) for column in path.T])


def _distance(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """From each of `places` to the nearest of `others`, (N, 2) and (M, 2); infinite where there is none."""
    return np.linalg.norm(places[:, None] - others[None], axis=2).min(axis=1, initial=np.inf)
