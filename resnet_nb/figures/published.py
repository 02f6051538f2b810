"""Published numbers, drawn with their protocol and with how well they are known."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_nb.figures.style import COLOURS, GREY, MARKERS, headline, house_style, panels
from resnet_nb.stats import wilson_interval


def published_cifar(published: pd.DataFrame, title: str) -> Figure:
    """Published test errors on CIFAR-10 against depth: open markers, one row of the table each, with its spread where one is printed.

    published: `published.cifar_errors()`. Values that were read off a figure are marked "~", those that nobody has checked at their source
    are grey and marked "?", those of nets that were trained with a known fault are marked "*", and the bound on the plain net of 110
    layers is an arrow out of the figure.
    """
    with house_style():
        figure, (axis,) = panels(1, width=8.5, height=4.6)
        rows = published[published["depth"] < 1000]
        labels = list(dict.fromkeys(rows["source_label"]))
        shapes = dict(zip(labels, "osD^vPX*", strict=False))
        for _, row in rows[~rows["bound"]].iterrows():
            place = row["depth"] + 1.1 * (labels.index(row["source_label"]) - (len(labels) - 1) / 2)
            _published_point(axis, place, row, shapes[row["source_label"]])
        top = 14.6
        for _, row in rows[rows["bound"]].iterrows():
            colour, place = COLOURS[row["family"]], row["depth"]
            text = f"{row['family']}-{row['depth']}: its curve lies above\n{row['value']:g} %, and was left out"
            arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.8}
            axis.annotate(text, (place, top - 0.1), (place + 4, top - 1.6), ha="right", va="top", color=colour, arrowprops=arrow)
        for label in labels:
            axis.plot([], [], shapes[label], color=GREY, markerfacecolor="white", markeredgewidth=1.6, label=label)
        for family, colour in COLOURS.items():
            axis.plot([], [], "-", linewidth=3, color=colour, label=f"{family} nets")
        axis.plot([], [], " ", label="~ read off a figure or rounded")
        axis.plot([], [], " ", label="? not checked at its source (grey)")
        axis.plot([], [], " ", label="* trained with a known bug")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axis.set_xticks(sorted(rows["depth"].unique()))
        axis.set_xlabel("depth (weighted layers)")
        axis.set_ylabel("CIFAR-10 test error (%)")
        axis.set_ylim(5.6, top)
        headline(figure, title)
    return figure


def _published_point(axis: Axes, place: float, row: pd.Series, marker: str) -> None:
    """One published value: its mean where there are several runs, with their standard deviation."""
    colour = COLOURS[row["family"]] if row["verified"] else "#999999"
    value = row["mean"] if pd.notna(row["mean"]) else row["value"]
    spread = row["std"] if pd.notna(row["std"]) else None
    look = {"color": colour, "markerfacecolor": "white", "markersize": 6.5, "markeredgewidth": 1.5, "capsize": 3}
    axis.errorbar(place, value, yerr=spread, fmt=marker, **look)
    marks = ("~" if row["approximate"] else "") + ("" if row["verified"] else "?") + ("*" if pd.notna(row["fault"]) else "")
    axis.annotate(marks, (place, value), (5, 2), textcoords="offset points", color=colour)


def protocol_numbers(published: pd.DataFrame, title: str) -> Figure:
    """Top-1 errors of the same nets under three test protocols, joined net by net.

    published: `published.three_protocols()`, with columns depth, protocol (in order), error (percent).
    """
    with house_style():
        figure, (axis,) = panels(1, width=7.5, height=4.0)
        protocols = list(dict.fromkeys(published["protocol"]))
        depths = sorted(published["depth"].unique())
        blue = COLOURS["residual"]
        look = {"color": blue, "linestyle": "-", "markerfacecolor": "white", "markeredgewidth": 1.8, "markersize": 7}
        for rank, depth in enumerate(depths):
            group = published[published["depth"] == depth]
            places = [protocols.index(protocol) for protocol in group["protocol"]]
            axis.plot(places, group["error"], "o", linewidth=1 + 0.7 * rank, **look)
            below = depth == depths[-1]  # its numbers go under the line, those of the others over it
            side = {"ha": "right", "va": "top"} if below else {"ha": "left", "va": "bottom"}
            for place, error in zip(places, group["error"], strict=True):
                number = f"{error:.2f}".removesuffix("0")
                axis.annotate(number, (place, error), (-3, -6) if below else (5, 3), textcoords="offset points", **side)
            first = {"textcoords": "offset points", "ha": "right", "va": "center", "color": blue, "fontweight": "bold"}
            axis.annotate(f"ResNet-{depth}", (places[0], group["error"].iloc[0]), (-12, 3), **first)
        axis.set_xticks(range(len(protocols)), [protocol.replace(" (", "\n(") for protocol in protocols])
        axis.set_xlim(-0.5, len(protocols) - 0.75)
        axis.margins(y=0.12)
        axis.set_xlabel("test protocol, and where its value is printed")
        axis.set_ylabel("top-1 error (%), ImageNet validation")
        headline(figure, title)
    return figure


def measured_checkpoints(measured: pd.DataFrame, title: str) -> Figure:
    """Training (left) and test error (right) of public trained nets, measured here, against depth: one line a repository and family.

    measured: `records.evaluations_table`, with columns repository, family, depth, train_error, test_error (percent), train_images, test_images.
    Bars are 95 % intervals for the number of images. The first repository's lines are dark, those of the next light.
    """
    with house_style():
        figure, axes = panels(2, width=9.0, height=4.0)  # each its own scale: training errors are a fifth of the test errors
        shades = {repository: 1.0 - 0.55 * (rank > 0) for rank, repository in enumerate(dict.fromkeys(measured["repository"]))}
        for axis, part, name in zip(axes, ("train", "test"), ("Training", "Test"), strict=True):
            for (repository, family), group in measured.sort_values("depth").groupby(["repository", "family"]):
                look = {"color": COLOURS[family], "alpha": shades[repository], "markersize": 6, "capsize": 2.5, "linewidth": 1.5}
                error, images = group[f"{part}_error"], group[f"{part}_images"]
                ends = [wilson_interval(round(value * count / 100), count) for value, count in zip(error, images, strict=True)]
                bars = np.abs(np.transpose(ends) - error.to_numpy())
                axis.errorbar(group["depth"], error, yerr=bars, fmt=MARKERS[family] + "-", label=f"{family}, {repository.split('/')[0]}", **look)
            axis.set_title(f"{name} error")
            axis.set_xlabel("depth (weighted layers)")
            axis.set_xticks(sorted(measured["depth"].unique()))
            axis.margins(x=0.1, y=0.14)
            axis.set_ylabel("error (%), CIFAR-10, 1-crop")
        axes[0].legend(loc="upper left")
        headline(figure, title)
    return figure
