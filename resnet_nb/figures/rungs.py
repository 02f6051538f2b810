"""Protocols on one set of weights: the ladder of errors, what an average of views gains, and gains by protocol beside gains by depth."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style, panels

BLUE, RED = COLOURS["residual"], COLOURS["plain"]
LEAST_P = 1e-4  # smaller chances say no more than that they are small


def ladder(table: pd.DataFrame, title: str, *, most: float | None = None) -> Figure:
    """Left: the top-1 error of each rung with its 95 % interval, the first rung's as a line. Right: pictures that it breaks and repairs.

    table: `ladder.ladder`. most: the right end of the left panel, percent; a rung beyond it is an arrow with its number.
    """
    with house_style():
        figure, (left, right) = panels(2, width=9.5, height=1.5 + 0.5 * len(table), sharey=True, width_ratios=(1.25, 1))
        places = np.arange(len(table))[::-1]
        end = most or table["high"].max()
        left.axvline(table["error"].iloc[0], color=GREY, linewidth=1, linestyle=":")
        for place, (_, row) in zip(places, table.iterrows(), strict=True):
            _rung(left, place, row, end)
            _pictures(right, place, row)
        left.set_yticks(places, [_name(row) for _, row in table.iterrows()])
        left.set_xlabel("top-1 error (%), bars: 95 % interval")
        left.set_ylabel("test protocol")
        left.set_ylim(-0.5, len(table) - 0.3)
        if most:
            left.set_xlim(right=most)
        right.axvline(0, color=GREY, linewidth=1)
        right.set_xlabel("pictures broken (left) and repaired (right)")
        broken, repaired = (max(1, table[name].max()) for name in ("broken", "repaired"))
        right.set_xlim(-broken - 0.32 * (broken + repaired), repaired + 0.8 * (broken + repaired))  # room for the numbers beside the bars
        right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        right.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        right.grid(axis="y", visible=False)
        headline(figure, title)
    return figure


def _name(row: pd.Series) -> str:
    passes = "1 pass" if row["passes"] == 1 else f"{row['passes']} passes"
    return f"{row['rung']}\n({passes}, cost {row['pixels']:.3g})"


def _rung(axis: Axes, place: int, row: pd.Series, end: float) -> None:
    look = {"color": BLUE, "fontsize": 9, "va": "center"}
    if row["error"] > end:
        axis.annotate(f"{row['error']:.2f}", (end, place), (-34, 0), textcoords="offset points", ha="right", arrowprops={"arrowstyle": "->"}, **look)
        return
    bar = [[row["error"] - row["low"]], [row["high"] - row["error"]]]
    axis.errorbar(row["error"], place, xerr=bar, fmt="o", color=BLUE, markersize=6, capsize=3)
    axis.annotate(f"{row['error']:.2f}", (row["error"], place), (0, 7), textcoords="offset points", ha="center", color=BLUE, fontsize=9)


def _pictures(axis: Axes, place: int, row: pd.Series) -> None:
    if pd.isna(row["repaired"]):
        axis.text(0, place, " all others are compared with this", va="center", fontsize=9, color=GREY)
        return
    axis.barh(place, row["repaired"], 0.5, color=BLUE)
    axis.barh(place, -row["broken"], 0.5, color=RED, hatch="///", edgecolor="white")
    chance = "p < 0.0001" if row["p"] < LEAST_P else f"p = {row['p']:.2g}"
    axis.annotate(f"+{row['repaired']}   {chance}", (row["repaired"], place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axis.annotate(f"{row['broken']}", (-row["broken"], place), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=9)


def scales(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """The error of each net under each protocol, with its 95 % interval: does a net gain by scales that it was trained on?

    tables: `ladder.by_scale` of each net, by the name in the legend; the same rungs in each.
    """
    looks = ((GREY, "D", "--"), (BLUE, "o", "-"))
    with house_style():
        figure, (axis,) = panels(1, width=8.0, height=4.0)
        for (name, table), (colour, marker, line) in zip(tables.items(), looks, strict=True):
            places = np.arange(len(table))
            bars = np.abs(table[["low", "high"]].to_numpy().T - table["error"].to_numpy())
            look = {"fmt": marker, "linestyle": line, "color": colour, "linewidth": 1.2, "markersize": 6, "capsize": 3}
            axis.errorbar(places, table["error"], yerr=bars, label=name, **look)
            for place, error in zip(places, table["error"], strict=True):
                axis.annotate(f"{error:.1f}", (place, error), (0, 9), textcoords="offset points", fontsize=9, color=colour, ha="center")
            axis.set_xticks(places, table["rung"])
        axis.margins(x=0.08, y=0.15)
        axis.legend(loc="upper left")
        axis.set_xlabel("test protocol")
        axis.set_ylabel("top-1 error (%)")
        headline(figure, title)
    return figure


def averaged_views(table: pd.DataFrame, title: str) -> Figure:
    """Against the number of views in the mean: the loss, the squared error with its law, and the top-1 error with the range over subsets.

    table: `averaging.by_count`.
    """
    with house_style():
        figure, axes = panels(3, width=9.5, height=3.5)
        count = table["views"]
        axes[0].plot(count, table["loss"], "o-", color=BLUE)
        axes[0].set_ylabel("cross-entropy (nats)")
        axes[0].set_title("Loss: Jensen")
        axes[1].plot(count, table["law"], "-", color=GREY, linewidth=1.2)
        axes[1].plot(count, table["squared"], "o", color=BLUE)
        axes[1].annotate("line: the law", (count.iloc[2], table["law"].iloc[2]), (8, 12), textcoords="offset points", color=GREY, fontsize=9)
        axes[1].set_ylabel("squared error of the scores")
        axes[1].set_title("Squared error: correlation")
        axes[2].fill_between(count, table["least_error"], table["most_error"], color=BLUE, alpha=0.18, linewidth=0)
        axes[2].plot(count, table["error"], "o-", color=BLUE)
        axes[2].annotate("band: best and\nworst subset", (0.97, 0.95), xycoords="axes fraction", ha="right", va="top", color=GREY, fontsize=9)
        axes[2].set_ylabel("top-1 error (%)")
        axes[2].set_title("Top-1 error: no law")
        for axis in axes:
            axis.set_xlabel("views in the mean")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        headline(figure, title)
    return figure


def gains(table: pd.DataFrame, title: str) -> Figure:
    """What the protocol alone gains, and what depth alone gains: bars in percentage points, published ones open and measured ones filled.

    table: columns where (a panel each), what ("protocol" or "depth"), label, gain (points, positive is better), published (bool).
    """
    places = list(dict.fromkeys(table["where"]))
    with house_style():
        most = table["where"].value_counts().max()
        figure, axes = panels(len(places), width=9.5, height=1.3 + 0.38 * most, sharex=True)
        for axis, place in zip(axes, places, strict=True):
            rows = table[table["where"] == place].iloc[::-1].reset_index(drop=True)
            for number, row in rows.iterrows():
                colour = BLUE if row["what"] == "protocol" else GREY
                hatch = "" if row["what"] == "protocol" else "///"
                fill = {"facecolor": "white", "edgecolor": colour} if row["published"] else {"facecolor": colour, "edgecolor": "white"}
                axis.barh(number, row["gain"], 0.6, linewidth=1.6, hatch=hatch, **fill)
                axis.annotate(f"{row['gain']:.2f}", (max(row["gain"], 0), number), (4, 0), textcoords="offset points", va="center", fontsize=9)
            axis.set_yticks(rows.index, rows["label"])
            axis.axvline(0, color=GREY, linewidth=1)
            axis.set_xlabel("error removed (percentage points)")
            axis.set_title(place)
            axis.grid(axis="y", visible=False)
        low, high = table["gain"].min(), table["gain"].max()
        axes[0].set_xlim(1.2 * min(0, low), 1.2 * max(high, 0.1))
        axes[0].set_ylabel("what was changed")
        headline(figure, title)
    return figure
