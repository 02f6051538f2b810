"""The test protocols as pictures: published errors placed by protocol, what a net sees of a photograph, and the dense form's scores window by window."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator
from PIL import Image

from resnet_nb.errors import InputError
from resnet_nb.figures.style import COLOURS, GREY, headline, house_style

if TYPE_CHECKING:
    from resnet_nb.protocols import Protocol, View

BLUE = COLOURS["residual"]
LIGHT = "#8C8C8C"
PLACES = {"1-crop": 0.0, "10-crop": 1.3, "multi-scale": 1.95}  # where a protocol's strip begins, with the original's weights
GROUPS = {"the original": "o", "the original, tested again": "D", "fb.resnet.torch": "^", "torchvision": "s", "other re-trainings": "v", "later recipes": "P"}
STEP, ASIDE = 0.16, 0.03  # from group to group; from the middle of a group to its markers
LABELLED = ("ResNet strikes back", "torchvision V2")
NAMED = 6  # classes in the bars of a score map
USUAL_CROP = 224


def published_by_protocol(table: pd.DataFrame, title: str) -> Figure:
    """Published top-1 errors on ImageNet by test protocol, a panel for each depth: open markers, one shape a group of sources.

    table: `published.imagenet_by_protocol()`, or some of its rows. A line joins the original's weights over the protocols, a dotted one those of
    fb.resnet.torch; later recipes are grey, a small marker has a crop of another size than 224, bars are standard deviations over runs, and "?"
    marks what nobody has checked at its source. Sources that state no protocol are named under the figure, not drawn.
    """
    drawn = table[table["protocol"].isin(PLACES)]
    depths = sorted(drawn["depth"].unique())
    with house_style():
        figure = Figure(figsize=(10.0, 6.2), layout="constrained")
        axes = figure.subplots(1, len(depths), sharey=True, squeeze=False, width_ratios=[1.3 if depth == 50 else 1 for depth in depths])[0]
        for axis, depth in zip(axes, depths, strict=True):
            _strips(axis, _placed(drawn[drawn["depth"] == depth]))
            axis.set_title(f"ResNet-{depth}")
        axes[0].set_ylabel("top-1 error (%), ImageNet validation")
        axes[0].yaxis.set_major_locator(MultipleLocator(1))
        axes[len(axes) // 2].set_xlabel(_protocol_words(table))
        figure.legend(handles=_group_legend(drawn), loc="outside lower left", ncols=4, columnspacing=1.5, handletextpad=0.3)
        headline(figure, title)
    return figure


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """With the column "place": groups side by side in their protocol's strip, and the markers of a group left and right by turns."""
    rows = rows.sort_values("top1", kind="stable")
    ranks = {protocol: [group for group in GROUPS if group in set(part["group"])] for protocol, part in rows.groupby("protocol")}
    columns = pd.Series([ranks[protocol].index(group) for protocol, group in zip(rows["protocol"], rows["group"], strict=True)], rows.index)
    members = rows.groupby(["protocol", "group"])["top1"]
    aside = (2 * (members.cumcount() % 2) - 1) * ASIDE * (members.transform("size") > 4)
    return rows.assign(place=rows["protocol"].map(PLACES) + STEP * columns + aside)


def _strips(axis: Axes, rows: pd.DataFrame) -> None:
    middles = []
    for protocol in PLACES:
        places = rows.loc[rows["protocol"] == protocol, "place"]
        left, right = places.min() - 1.3 * STEP, places.max() + 1.3 * STEP
        axis.axvspan(left, right, color="#F3F3F3", zorder=0)
        middles.append((left + right) / 2)
    for row in rows.to_dict("records"):
        _published(axis, row)
    for group, line in (("the original", "-"), ("fb.resnet.torch", ":")):
        own = rows[(rows["group"] == group) & rows["top5"].notna()]  # the three trainings of the blog have no top-5 error, and no ten crops
        joined = own.sort_values("year", kind="stable").drop_duplicates("protocol").sort_values("place")
        axis.plot(joined["place"], joined["top1"], line, color=BLUE, linewidth=1.8, zorder=1)
        for place, error in zip(joined["place"], joined["top1"], strict=True):
            over = {"xytext": (4, 4), "va": "bottom", "ha": "left" if place > 0 else "right"}
            beside = over if group == "the original" else {"xytext": (-4, -4), "va": "top", "ha": "right"}
            number = f"{error:.2f}".removesuffix("0")
            axis.annotate(number, (place, error), textcoords="offset points", color=BLUE, fontsize=9, **beside)
    axis.set_xticks(middles, [name.replace("-s", "-\ns") for name in PLACES])
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-2.4 * STEP, max(PLACES.values()) + 2 * STEP)
    axis.grid(axis="x", visible=False)


def _published(axis: Axes, row: dict) -> None:
    """One published value, with what makes it another than its neighbours."""
    later = row["recipe"] == "later recipe"
    colour = LIGHT if later else BLUE
    look = {"color": colour, "markerfacecolor": "white", "markeredgewidth": 1.0 if later else 1.5, "elinewidth": 1.0, "capsize": 2}
    size = 7.0 if _crop(row["details"]) == USUAL_CROP else 4.0
    spread = None if pd.isna(row["std"]) else row["std"]
    axis.errorbar(row["place"], row["top1"], yerr=spread, fmt=GROUPS[row["group"]], markersize=size, zorder=2 if later else 3, **look)
    beside = {"textcoords": "offset points", "va": "center", "color": GREY, "fontsize": 9}
    if not row["verified"]:
        axis.annotate("?", (row["place"], row["top1"]), (4, 0), **beside | {"color": colour, "fontweight": "bold"})
    if row["source_label"] in LABELLED:
        axis.annotate(f"{row['source_label']}: {row['top1']:.1f}", (row["place"], row["top1"]), (12, 0), **beside)


def _crop(details: str) -> int:
    """The side of the crop that a row's details name, in pixels."""
    found = re.search(r"crop (\d+)|(\d+)x\d+ (?:centre )?crop", details)
    return int(found[1] or found[2]) if found else USUAL_CROP


def _protocol_words(table: pd.DataFrame) -> str:
    left_out = table[~table["protocol"].isin(PLACES)]
    names = ", ".join(dict.fromkeys(left_out["source_label"]))
    return "test protocol" + (f" (not drawn, for it states none: {names})" if names else "")


def _group_legend(rows: pd.DataFrame) -> list[Line2D]:
    """One open marker a group that is there, and what is small or marked."""
    look = {"linestyle": "none", "markerfacecolor": "white", "markersize": 7, "markeredgewidth": 1.5}
    shown = [(name, marker) for name, marker in GROUPS.items() if (rows["group"] == name).any()]
    handles = [Line2D([], [], marker=marker, color=LIGHT if name == "later recipes" else BLUE, label=name, **look) for name, marker in shown]
    if any(_crop(details) != USUAL_CROP for details in rows["details"]):
        handles.append(Line2D([], [], marker="o", color=GREY, label="small: another crop than 224", **look | {"markersize": 4}))
    if not rows["verified"].all():
        handles.append(Line2D([], [], marker="$?$", color=GREY, label="not checked at its source", **look))
    return handles
