"""The plain and the residual net of 34 layers side by side, as the paper's Figure 3 draws them, from the lists of `layout.layers`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style, panels

SHADES = ("#FFFFFF", "#E3E3F3", "#E3F0E3", "#F9E6E2", "#F3EFDC")  # of the stages, from the first layer's
WIDE, HIGH = 3.4, 0.66
OUTSIDE = 2.05  # of a shortcut's line from the middle of the boxes
APART = 0.07  # of a shortcut's end from the next one's beginning
FONT = 8


def plain_and_residual(plain: pd.DataFrame, residual: pd.DataFrame, title: str) -> Figure:
    """Two nets of basic blocks, a box a layer from top to bottom, with the residual net's shortcuts; dashed where the shape changes.

    plain, residual: rows of `layout.layers(34, None)` and `layout.layers(34, "A")` or "B".
    """
    with house_style():
        figure, axes = panels(2, width=7.5, height=10.5)
        for axis, (name, layers) in zip(axes, {"plain": plain, "residual": residual}.items(), strict=True):
            boxes = _boxes(layers)
            _column(axis, boxes)
            if name == "residual":
                _shortcuts(axis, boxes)
            macs = layers["macs"].sum() / 1e9
            axis.set_title(f"{name}, {int((~layers['shortcut']).sum())} layers\n{macs:.2f} billion multiply-adds", color=COLOURS[name], fontsize=10)
            axis.set_xlim(-2.8, 4.4)
            axis.set_ylim(-len(boxes) + 0.4, 0.6)
            axis.axis("off")
        headline(figure, title)
    return figure


def _boxes(layers: pd.DataFrame) -> list[dict]:
    """What is drawn, from top to bottom: text, stage, the block that it is in, and the side of the map."""
    boxes = []
    for row in layers[~layers["shortcut"]].itertuples():
        half = ", /2" if row.stride == 2 else ""
        text = f"{row.outputs}-way classifier" if row.name == "fc" else f"{row.kernel}x{row.kernel} conv, {row.outputs}{half}"
        if row.name == "fc":
            boxes.append({"text": "average pooling", "stage": 0, "block": None, "side": 1})
        boxes.append({"text": text, "stage": row.stage, "block": row.name.rpartition(".")[0] or None, "side": row.side, "half": row.stride == 2})
        if row.name == "conv1":
            boxes.append({"text": "3x3 max pooling, /2", "stage": 0, "block": None, "side": row.side // 2})
    return boxes


def _column(axis: Axes, boxes: list[dict]) -> None:
    side = None
    for place, box in enumerate(boxes):
        axis.add_patch(Rectangle((-WIDE / 2, -place - HIGH / 2), WIDE, HIGH, linewidth=0.8, edgecolor=GREY, facecolor=SHADES[box["stage"]]))
        axis.text(0, -place, box["text"], ha="center", va="center", fontsize=FONT)
        if place:
            axis.plot([0, 0], [-place + 1 - HIGH / 2, -place + HIGH / 2], color=GREY, linewidth=0.8)
        if box["side"] != side:
            axis.text(-WIDE / 2 - 0.15, -place, f"{box['side']}x{box['side']}", ha="right", va="center", fontsize=FONT, color=GREY)
            side = box["side"]


def _shortcuts(axis: Axes, boxes: list[dict]) -> None:
    """A line around each block, from its input to its output."""
    for block in dict.fromkeys(box["block"] for box in boxes if box["block"]):
        places = [place for place, box in enumerate(boxes) if box["block"] == block]
        changes = any(boxes[place].get("half") for place in places)
        start, end = -(places[0] - 0.5) - APART, -(places[-1] + 0.5) + APART
        line = {"color": COLOURS["residual"], "linewidth": 1.3, "linestyle": (0, (3, 2)) if changes else "-"}
        axis.plot([0, OUTSIDE, OUTSIDE, 0], [start, start, end, end], **line)
        axis.plot(0, end, marker="<", markersize=4, color=COLOURS["residual"])
        if changes:
            axis.text(OUTSIDE + 0.15, (start + end) / 2, "changes the shape", ha="left", va="center", fontsize=FONT, color=COLOURS["residual"])
