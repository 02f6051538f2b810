"""What probes find inside residual and plain nets: responses, lesions, paths of the gradient."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, headline, house_style, panels

LINES = ("-", "--", "-.", ":")  # from the deepest net to the shallowest
CHANCE = 90.0


def responses(table: pd.DataFrame, title: str) -> Figure:
    """The standard deviation of each layer's response, by layer (left) and sorted by size (right), as in the paper's Figure 7.

    table: rows of `probes.responses.layer_responses` with columns name (the net's, for the legend), family, depth.
    """
    depths = sorted(table["depth"].unique(), reverse=True)
    with house_style():
        figure, axes = panels(2, width=7.5, height=3.9, sharey=True)
        for name, net in table.groupby("name", sort=False):
            family, depth = net["family"].iloc[0], net["depth"].iloc[0]
            line = {"color": COLOURS[family], "linestyle": LINES[depths.index(depth) % len(LINES)], "linewidth": 1.9, "label": name}
            axes[0].plot(net["place"] / net["place"].max(), net["response"], **line)
            ordered = np.sort(net["response"])[::-1]
            axes[1].plot(np.arange(1, len(ordered) + 1) / len(ordered), ordered, **line)
        for axis, where in zip(axes, ("by layer", "sorted by size"), strict=True):
            axis.set_title(where)
            axis.set_yscale("log")
        axes[0].set_xlabel("layer, as a share of the depth")
        axes[1].set_xlabel("rank, as a share of the depth")
        axes[0].set_ylabel("standard deviation of the response")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, table["name"].nunique()), handlelength=3)
        headline(figure, title)
    return figure


def shares(table: pd.DataFrame, title: str) -> Figure:
    """Each residual block's branch beside its shortcut, against the block's place as a share of the depth.

    table: rows of `probes.responses.branch_shares` with columns name (the net's, for the legend), depth. At 1 branch and shortcut are of equal size.
    """
    depths = sorted(table["depth"].unique(), reverse=True)
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=3.6)
        for number, (name, net) in enumerate(table.groupby("name", sort=False)):
            line = LINES[depths.index(net["depth"].iloc[0]) % len(LINES)]
            marker, place = "oD^v"[number % 4], np.arange(1, len(net) + 1) / len(net)
            axis.plot(place, net["ratio"], color=COLOURS["residual"], linestyle=line, marker=marker, markersize=4.5, linewidth=1.5, label=name)
        axis.axhline(1, color=GREY, linestyle=":", linewidth=1)
        axis.set_yscale("log")
        axis.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axis.minorticks_off()
        axis.set_xlabel("block, as a share of the depth")
        axis.set_ylabel("branch / shortcut (size)")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, handlelength=4)
        headline(figure, title)
    return figure


def lesions(table: pd.DataFrame, title: str, *, chance: float = CHANCE) -> Figure:
    """The error after each block's deletion: a panel a depth, plain and residual nets together, against the block's place.

    table: rows of `probes.lesions.delete_each` with columns family and depth, of one net (or several seeds) each. Blocks that change the shape are
    open markers; a dashed line is the intact net's error, the dotted one is chance.
    """
    depths = sorted(table["depth"].unique())
    with house_style():
        figure, axes = panels(len(depths), width=max(7.5, 3.4 * len(depths)), height=3.9, sharey=True)
        for axis, depth in zip(axes, depths, strict=True):
            for family, nets in table[table["depth"] == depth].groupby("family"):
                _lesioned(axis, nets, family)
            axis.axhline(chance, color=GREY, linestyle=":", linewidth=1)
            axis.set_title(f"{depth} layers")
            axis.set_xlabel("deleted block, counted from the input")
        axes[0].set_ylabel("error without the block (%)")
        axes[0].set_ylim(0, 100)
        axes[0].text(0.02, chance + 1.5, "chance", transform=axes[0].get_yaxis_transform(), fontsize=8.5, color=GREY)
        for family in table["family"].unique():
            axes[0].plot([], [], color=COLOURS[family], marker=MARKERS[family], linewidth=0, label=family)
        axes[0].plot([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=0, label="block that changes the shape")
        axes[0].plot([], [], color=GREY, linestyle="--", label="nothing deleted")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        headline(figure, title)
    return figure


def _lesioned(axis: Axes, nets: pd.DataFrame, family: str) -> None:
    rows = nets[nets["block"] != "none"]
    stage = rows["block"].str.extract(r"layer(\d+)\.(\d+)").astype(int)
    most = int(stage[1].max()) + 1  # blocks a stage, of a CIFAR net
    place = (stage[0] - 1) * most + stage[1] + 1
    changing = rows["downsampling"].astype(bool)
    style = {"color": COLOURS[family], "marker": MARKERS[family], "linewidth": 0, "markersize": 5.5, "alpha": 0.9}
    axis.plot(place[~changing], rows["error"][~changing], **style)
    axis.plot(place[changing], rows["error"][changing], **style, markerfacecolor="white")
    axis.axhline(nets.loc[nets["block"] == "none", "error"].mean(), color=COLOURS[family], linestyle="--", linewidth=1.2)


def many_lesions(deletions: pd.DataFrame, swaps: pd.DataFrame, title: str, *, intact: float, chance: float = CHANCE) -> Figure:
    """Errors after random deletions against their number (left), after exchanges against Kendall's tau (right), a dot a draw.

    deletions, swaps: rows of `probes.lesions.delete_random` and `swap_random` of one residual net. intact: its error in percent.
    """
    style = {"color": COLOURS["residual"], "marker": MARKERS["residual"], "linewidth": 0, "markersize": 5, "alpha": 0.7}
    with house_style():
        figure, axes = panels(2, width=7.5, height=3.6, sharey=True)
        axes[0].plot(deletions["deleted"], deletions["error"], **style)
        middle = deletions.groupby("deleted")["error"].median()
        axes[0].plot(middle.index, middle, color=COLOURS["residual"], linewidth=1.6)
        axes[0].set_xscale("log", base=2)
        axes[0].set_xticks(middle.index, [f"{count}" for count in middle.index])
        axes[0].minorticks_off()
        axes[0].set_xlabel("blocks deleted (line: median)")
        axes[0].set_title("deleted at random")
        axes[1].plot(swaps["tau"], swaps["error"], **style)
        axes[1].invert_xaxis()
        axes[1].set_xlabel("order that is left (Kendall's tau)")
        axes[1].set_title("exchanged within a stage")
        for axis in axes:
            axis.axhline(intact, color=GREY, linestyle="--", linewidth=1.2)
            axis.axhline(chance, color=GREY, linestyle=":", linewidth=1)
        axes[1].text(0.98, intact - 1.5, "nothing changed", transform=axes[1].get_yaxis_transform(), ha="right", va="top", fontsize=8.5, color=GREY)
        axes[0].text(0.02, chance + 1.5, "chance", transform=axes[0].get_yaxis_transform(), fontsize=8.5, color=GREY)
        axes[0].set_ylabel("error (%)")
        axes[0].set_ylim(0, 100)
        headline(figure, title)
    return figure


def path_lengths(table: pd.DataFrame, title: str, *, between: tuple[int, int] | None = None) -> Figure:
    """How many paths have each length, how large one path's gradient is, and their product, of one net.

    table: rows of `probes.paths.path_lengths`. between: a range of lengths to shade in the third panel.
    """
    with house_style():
        figure, axes = panels(3, width=7.5, height=3.1)
        line = {"color": COLOURS["residual"], "linewidth": 1.8}
        axes[0].plot(table["length"], table["paths"] / table["paths"].sum(), **line)
        axes[1].plot(table["length"], table["norm"], **line)
        axes[1].set_yscale("log")
        axes[2].plot(table["length"], table["share"], **line)
        for axis, name in zip(axes, ("how many paths", "one path's gradient", "share of the gradient"), strict=True):
            axis.set_title(name, fontsize=10)
            axis.set_xlabel("path length (blocks)")
        for axis in (axes[0], axes[2]):
            axis.yaxis.set_major_formatter(PercentFormatter(1))
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("share of all paths")
        axes[1].set_ylabel("norm at the input")
        axes[2].set_ylabel("share of the magnitude")
        if between is not None:
            axes[2].axvspan(between[0] - 0.5, between[1] + 0.5, color=GREY, alpha=0.15, linewidth=0)
            axes[2].text(between[1] + 1, table["share"].max(), f"95 % from\n{between[0]} to {between[1]}", va="top", fontsize=8.5)
        headline(figure, title)
    return figure
