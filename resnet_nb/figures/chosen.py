"""The test error that a paper would report, against the number of runs that it chose from."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import GREY, headline, house_style, panels

# Okabe and Ito's, dark enough for text, without the two of plain and residual nets; marker and label tell the ways apart in grey
LOOKS = (("#B37A00", "^"), ("#B0578A", "D"), ("#000000", "v"), ("#007F5C", "P"))
KEY = "bars: 95 % interval of the distance to the mean; dotted: too many of the recorded runs for one"
WORDS = 24  # letters in a line of a label
APART = 0.18  # of the axis' height: two labels of three lines


def selection(optimism: pd.DataFrame, title: str) -> Figure:
    """The expected reported test error of each way of choosing against the number of runs that were chosen from.

    optimism: `selection.optimism`. The mean of the last evaluations, its first way, is a grey line with its interval as a band. Lines are dotted
    where there is no interval; the last one that there is stands as a bar. Labels say how far from the mean it is, and at how many runs.
    """
    ways = list(dict.fromkeys(optimism["way"]))[1:]
    honest, count = optimism.iloc[0], optimism["runs"].max()
    with house_style():
        figure, (axis,) = panels(1, width=8.0, height=4.4)
        axis.axhspan(honest["honest_low"], honest["honest_high"], color=GREY, alpha=0.16, linewidth=0)
        axis.axhline(honest["honest"], color=GREY, linewidth=2.2)
        labels = [(honest["honest"], f"{honest['honest']:.2f} %: mean of the last evaluations (band: 95 % interval)", GREY)]
        for place, (way, (colour, marker)) in enumerate(zip(ways, LOOKS, strict=True)):
            group = optimism[optimism["way"] == way]
            _line(axis, group, colour, marker, 0.18 * (place - 1.5))
            bar = group[group["low"].notna()].iloc[-1]
            text = f"{way}: {-bar['below']:+.2f}\u00a0points at\u00a0{bar['runs']}".replace("-", "\N{MINUS SIGN}")
            labels.append((group["expected"].iloc[-1], text, colour))
        axis.set_xlim(0.3, count + 0.4)
        axis.set_xticks([1, *range(5, count + 1, 5)])
        axis.margins(y=0.08)
        axis.set_xlabel(f"runs to choose from (seeds of one net)\n{KEY}", loc="left")
        axis.set_ylabel("expected reported test error (%)")
        _labels(axis, labels, count)
        headline(figure, title)
    return figure


def _line(axis: Axes, group: pd.DataFrame, colour: str, marker: str, aside: float) -> None:
    """One way's line; `aside`, in runs, keeps the bars of several ways from lying on each other."""
    known = group[group["low"].notna()]
    axis.plot(group["runs"], group["expected"], ":", color=colour, linewidth=1.6)
    axis.plot(known["runs"], known["expected"], "-", color=colour, linewidth=1.8, marker=marker, markersize=5)
    end = known.iloc[-1]
    bar = [[end["high"] - end["below"]], [end["below"] - end["low"]]]  # more points below the mean are a lower error
    axis.errorbar([end["runs"] + aside], [end["expected"]], yerr=bar, fmt="none", color=colour, capsize=2.5, linewidth=1.2)


def _labels(axis: Axes, labels: list[tuple[float, str, str]], count: int) -> None:
    """Labels to the right of the axes at the ends of their lines, moved apart where they would overlap."""
    low, high = axis.get_ylim()
    gap, heights = APART * (high - low), []
    labels = sorted(labels, key=lambda label: -label[0])
    for value, _, _ in labels:
        heights.append(min(value, heights[-1] - gap if heights else high))
    floor = low + gap / 3
    for place in reversed(range(len(labels))):  # what was moved below the axes goes up again
        heights[place] = floor = max(heights[place], floor)
        floor += gap
    for (value, text, colour), height in zip(labels, heights, strict=True):
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5)}
        look = {"color": colour, "fontsize": 9, "va": "center", "annotation_clip": False}
        axis.annotate(textwrap.fill(text, WORDS), (1.01 * count, value), (1.07 * count, height), arrowprops=arrow, **look)
