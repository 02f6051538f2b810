"""A block drawn step by step, from the tables of `layout.follow`."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style, panels

HEIGHT = 0.62  # of a box; the distance between two steps is 1
LEFT, WIDE = -1.0, 2.0
APART = 1.2  # of the shortcut's line from the middle of the boxes
FONT = 8


def block_diagrams(blocks: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Blocks side by side, each from its input above to its output below: a box a step, the shape of what leaves it, and the shortcut.

    blocks: {name: rows of `layout.follow`}. A solid line is a shortcut that passes its input on as it is, a dashed one changes the shape.
    """
    most = max(len(_column(steps)) for steps in blocks.values())
    with house_style():
        figure, axes = panels(len(blocks), width=7.5, height=0.95 + 0.47 * most)
        for axis, (name, steps) in zip(axes, blocks.items(), strict=True):
            _draw(axis, steps, most)
            macs, parameters = steps["macs"].sum(), steps["parameters"].sum()
            axis.set_title(f"{name}\n{parameters:,} parameters\n{macs / 1e6:,.1f} M multiply-adds", fontsize=9)
        headline(figure, title)
    return figure


def _short(words: str) -> str:
    return words.replace("convolution", "conv")


def _column(steps: pd.DataFrame) -> pd.DataFrame:
    return steps[steps["way"] != "shortcut"].reset_index(drop=True)


def _draw(axis: Axes, steps: pd.DataFrame, most: int) -> None:
    column = _column(steps)
    for place, row in enumerate(column.itertuples()):
        plain = row.way == "branch"
        box = FancyBboxPatch(
            (LEFT, -place - HEIGHT / 2), WIDE, HEIGHT, boxstyle="round,pad=0.02,rounding_size=0.12", linewidth=1.1,
            edgecolor=COLOURS["plain"] if plain else GREY, facecolor="#FDF1E8" if plain else "#F2F2F2",
        )  # fmt: skip
        axis.add_patch(box)
        shape = f"{row.side}x{row.side}x{row.channels}"
        axis.text(0, -place, f"{_short(row.step)}\n{shape}", ha="center", va="center", fontsize=FONT, linespacing=1.05)
        if place:
            arrow = {"arrowstyle": "-|>", "linewidth": 0.8, "color": GREY}
            axis.annotate("", (0, -place + HEIGHT / 2), (0, -place + 1 - HEIGHT / 2), arrowprops=arrow)
    shortcut = steps[steps["way"] == "shortcut"]
    if len(shortcut):
        _shortcut(axis, shortcut.iloc[0], int(column.index[column["step"] == "addition"][0]))
    axis.set_xlim(LEFT - 0.05, APART + 0.35)
    axis.set_ylim(-most + 0.45, 0.55)
    axis.axis("off")


def _shortcut(axis: Axes, row: pd.Series, end: int) -> None:
    """From the input's box to that of the addition, and what it does along the way, written upwards."""
    identity = row["step"] == "identity"
    line = {"color": COLOURS["residual"], "linewidth": 1.8, "linestyle": "-" if identity else (0, (4, 2))}
    axis.plot([WIDE + LEFT, APART, APART], [0, 0, -end], **line)
    axis.annotate("", (WIDE + LEFT, -end), (APART, -end), arrowprops={"arrowstyle": "-|>", **line, "shrinkA": 0, "shrinkB": 0})
    axis.text(APART + 0.08, -end / 2, _short(row["step"]), rotation=90, ha="left", va="center", fontsize=FONT, color=COLOURS["residual"])
