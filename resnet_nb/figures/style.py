"""The house style: colours, markers, line styles and the panels that every figure starts from.

Residual nets are blue with round markers, plain nets vermilion with square ones (Okabe and Ito's palette, told apart in grey by marker and
label); training thin and dashed, test bold and solid, as the paper draws them; published values are open markers, measured ones filled.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"residual": "#0072B2", "plain": "#D55E00"}
MARKERS = {"residual": "o", "plain": "s"}
GREY = "#555555"
CHARACTERS = 10  # of the headline's bold type, to an inch
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


def panels(count: int, width: float = 8.5, height: float = 3.8, **options: object) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels side by side, width and height in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, **options)[0]
    return figure, list(axes)


def headline(figure: Figure, title: str) -> None:
    """The figure's finding, over its panels, in as many lines as its width needs."""
    title = textwrap.fill(title, int(CHARACTERS * figure.get_figwidth()))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
