"""Published test errors with what the rule of reproduction asks of them, our runs beside them, and what the rule can see."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style, panels
from resnet_nb.records import family_and_depth

PAPER = "He et al. 2015"
SHAPES = ("s", "^", "v", "P", "X")
BAND = "#E4E4E4"
CHANCE_LINES = ("-", "--", "-.", ":")


def beside_published(board: pd.DataFrame, margin: float, title: str) -> Figure:
    """Test errors of the residual nets, a row a net: published values as open markers, the mean of our full-length runs as a filled one.

    board: `scoreboard.scoreboard()`. The grey bar is the paper's number and `margin` points to each side of it, where a mean of ours must lie.
    Bars on published values are one standard deviation; on ours 95 % for one more run, or what the test images leave open. Values that are
    approximate or bounds are left out.
    """
    exact = board[board["published"].notna() & ~board["approximate"].eq(True) & ~board["bound"].eq(True)]
    exact = exact[[family_and_depth(model)[0] == "residual" for model in exact["model"]]]
    models = sorted(exact["model"].unique(), key=lambda model: -family_and_depth(model)[1])
    others = [label for label in dict.fromkeys(exact["source_label"]) if not label.startswith(PAPER)]
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=0.8 + 0.62 * len(models))
        for place, model in enumerate(models):
            _row(axis, place, exact[exact["model"] == model], others, margin)
        axis.plot([], [], "D", color=GREY, markerfacecolor="white", markeredgewidth=1.6, label=f"{PAPER}, Table 6")
        for label, shape in zip(others, SHAPES, strict=False):
            axis.plot([], [], shape, color=GREY, markerfacecolor="white", markeredgewidth=1.4, label=label)
        axis.plot([], [], "o", color=COLOURS["residual"], markersize=8, label="recorded here, full length" + ("" if _ours(exact) else ": none yet"))
        axis.fill_between([], [], color=BAND, label=f"within {margin:g} points of the paper's")
        axis.use_sticky_edges = False  # a bar would otherwise end the axis
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5)
        axis.set_yticks(range(len(models)), [model.replace("resnet", "ResNet-") for model in models])
        axis.set_ylabel("net")
        axis.set_xlabel("CIFAR-10 test error (%), 1-crop, end of training")
        axis.grid(axis="y", visible=False)
        headline(figure, title)
    return figure


def _ours(rows: pd.DataFrame) -> bool:
    return bool(rows["runs"].gt(0).any())


def _row(axis: Axes, place: float, rows: pd.DataFrame, others: list[str], margin: float) -> None:
    blue = COLOURS["residual"]
    for row in rows.to_dict("records"):
        paper = row["source_label"].startswith(PAPER)
        if paper:
            axis.barh(place, 2 * margin, 0.5, left=row["published"] - margin, color=BAND)
        shape = "D" if paper else SHAPES[others.index(row["source_label"]) % len(SHAPES)]
        spread = None if pd.isna(row["published_std"]) else row["published_std"]
        height = place + (0.0 if paper else 0.14 - 0.28 * (others.index(row["source_label"]) % 2))
        look = {"color": blue, "markerfacecolor": "white", "markeredgewidth": 1.6 if paper else 1.2, "markersize": 8 if paper else 6, "capsize": 2.5}
        axis.errorbar(row["published"], height, xerr=spread, fmt=shape, linewidth=1.2, **look)
    if _ours(rows):
        own = rows.iloc[0]
        ends = [[own["mean"] - own["low"]], [own["high"] - own["mean"]]]
        axis.errorbar(own["mean"], place - 0.33, xerr=ends, fmt="o", color=blue, markersize=8, capsize=3, linewidth=2)


def what_the_rule_sees(chances: pd.DataFrame, title: str) -> Figure:
    """The chance that a number counts as reproduced, against how far the two recipes are apart in truth; a line a number of runs.

    chances: `reproduction.chances`, with columns runs, difference (points), chance (0 to 1).
    """
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=3.6)
        for rank, (runs, line) in enumerate(chances.groupby("runs")):
            look = {"color": "black", "linewidth": 1.2 + 0.5 * rank, "label": f"{runs} runs"}
            axis.plot(line["difference"], 100 * line["chance"], CHANCE_LINES[rank % 4], **look)
        axis.set_xlabel("how much better the published recipe is in truth (points of test error)")
        axis.set_ylabel('chance of "reproduced" (%)')
        axis.set_ylim(0, 100)
        axis.legend()
        headline(figure, title)
    return figure
