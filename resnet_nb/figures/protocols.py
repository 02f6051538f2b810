"""The test protocols as pictures: published errors by protocol, what a net sees of a photograph, and the dense form's scores by window."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MultipleLocator
from PIL import Image

from resnet_nb.errors import InputError
from resnet_nb.figures.style import COLOURS, GREY, headline, house_style
from resnet_nb.figures.views import PALETTE
from resnet_nb.protocols.geometry import Box, Protocol, View, resized_size
from resnet_nb.protocols.geometry import box as box_of

BLUE = COLOURS["residual"]
LIGHT = "#8C8C8C"
PLACES = {"1-crop": 0.0, "10-crop": 1.3, "multi-scale": 1.95}  # where a protocol's strip begins, with the original's weights
GROUPS = {
    "the original": "o", "the original, tested again": "D", "fb.resnet.torch": "^", "torchvision": "s", "other re-trainings": "v",
    "later recipes": "P",
}  # fmt: skip
STEP, ASIDE = 0.16, 0.03  # from group to group; from the middle of a group to its markers
LABELLED = ("ResNet strikes back", "torchvision V2")
LONGEST = 22  # letters of a class name beside its bar
NAMED = 10  # classes in the bars of a score map
USUAL_CROP = 224
EDGE = withStroke(linewidth=3.2, foreground="black", alpha=0.55)  # lines stay visible on light and dark parts of a picture


def published_by_protocol(table: pd.DataFrame, title: str) -> Figure:
    """Published top-1 errors on ImageNet by test protocol, a panel for each depth: open markers, one shape a group of sources.

    table: `published.imagenet_by_protocol()`, or some of its rows. A line joins the original's weights over the protocols, a dotted one those of
    fb.resnet.torch; later recipes are grey, a small marker has a crop of another size than 224, bars are standard deviations over runs, and "?"
    marks what nobody has checked at its source. Sources that state no protocol are named under the figure, not drawn.
    """
    drawn = table[table["protocol"].isin(PLACES)]
    depths = sorted(drawn["depth"].unique())
    with house_style():
        figure = Figure(figsize=(8.4, 6.2), layout="constrained")
        axes = figure.subplots(1, len(depths), sharey=True, squeeze=False, width_ratios=[1.3 if depth == 50 else 1 for depth in depths])[0]
        for axis, depth in zip(axes, depths, strict=True):
            _strips(axis, _placed(drawn[drawn["depth"] == depth]))
            axis.set_title(f"ResNet-{depth}")
        axes[0].set_ylabel("top-1 error (%), ImageNet validation")
        axes[0].yaxis.set_major_locator(MultipleLocator(1))
        axes[len(axes) // 2].set_xlabel(_protocol_words(table))
        figure.legend(handles=_group_legend(drawn), loc="outside lower left", ncols=4, columnspacing=0.8, handletextpad=0.1)
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
    axis.set_xticks(middles, [name.replace("-", "-\n") for name in PLACES])
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
        axis.annotate(row["source_label"], (row["place"], row["top1"]), (12, 0), **beside)


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


def crops_on_photograph(image: np.ndarray, protocols: Sequence[Protocol], title: str) -> Figure:
    """What a net sees of one photograph under each protocol: panels for one short side, then a row of resized pictures, to one scale, for several.

    image: (H, W, 3) uint8; protocols: such as Protocol.paper("10-crop"). What no view holds is pale; crops are drawn one inside the other,
    numbered in the order of the views; the dashed square on a whole picture is the window that slides over it. Titles give the passes through
    the net and the pixels in them, relative to one crop. Raises InputError where the picture is smaller than a crop.
    """
    single, several = [p for p in protocols if len(p.shorts) == 1], [p for p in protocols if len(p.shorts) > 1]
    rows = ([single] if single else []) + [[protocol] for protocol in several]
    with house_style():
        figure = Figure(figsize=(8.4, 0.5 + 2.4 * len(rows)), layout="constrained")
        for strip, row in zip(np.atleast_1d(figure.subfigures(len(rows), 1)), rows, strict=True):
            axes = strip.subplots(1, len(row), squeeze=False)[0]
            for axis, protocol in zip(axes, row, strict=True):
                seen = _seen(image.shape[:2], protocol)
                axis.set_title(_passes(protocol, seen), fontsize=9.5)
                axis.set_axis_off()
                (_draw_views if len(protocol.shorts) == 1 else _draw_scales)(axis, image, protocol, seen)
        headline(figure, title)
    return figure


def _seen(size: tuple[int, int], protocol: Protocol) -> list[tuple[View, tuple[int, int], Box]]:
    """Each view of a picture of that height and width, the height and width once it is resized, and where the view lies then."""
    sizes = [(view, resized_size(*size, view.short)) for view in protocol.views()]
    return [(view, resized, box_of(view, *resized, protocol.crop, protocol.pad)) for view, resized in sizes]


def _passes(protocol: Protocol, seen: list) -> str:
    """What the protocol costs; mirror images are named here, for they are not drawn."""
    crops = sum(box.height * box.width for _, _, box in seen) / protocol.crop**2
    mirrored = sum(view.mirrored for view, _, _ in seen)
    passes = f"{len(seen)} pass{'es' if len(seen) > 1 else ''}" + (f", {mirrored} mirrored" if mirrored else "")
    sides = ", ".join("as it is" if short is None else str(short) for short in protocol.shorts)
    name = f"{protocol.name}, short side{'s' if len(protocol.shorts) > 1 else ''} {sides}" + ("; dashed: window" if protocol.dense else "")
    return f"{name}\n{passes}, {crops:.1f}".removesuffix(".0") + " x the pixels"


def _draw_views(axis: Axes, image: np.ndarray, protocol: Protocol, seen: list) -> None:
    """The views that are not mirrored, on the picture as it is resized."""
    boxes = [(size, box) for view, size, box in seen if not view.mirrored]
    height, width = boxes[0][0]
    pixels = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    unseen = np.ones((height, width), dtype=bool)
    for _, box in boxes:
        unseen[max(box.top, 0) : box.top + box.height, max(box.left, 0) : box.left + box.width] = False
    pixels[unseen] = 255 - (255 - pixels[unseen]) // 4
    axis.imshow(pixels, extent=(0, width, height, 0))
    for number, (_, box) in enumerate(boxes, start=1):
        inset = width * 0.007 * (2 * number - 1)
        _frame(axis, (box.left + inset, box.top + inset), box.width - 2 * inset, box.height - 2 * inset, PALETTE[(number - 1) % len(PALETTE)])
        if len(boxes) > 1:
            back = {"facecolor": "black", "alpha": 0.65, "linewidth": 0, "pad": 1.5}
            axis.annotate(
                f"{number}", (box.left + inset, box.top + inset), (4, -4), textcoords="offset points", va="top", color="white", fontsize=9, bbox=back
            )
    if protocol.dense:
        _window(axis, (0.0, height - protocol.crop), protocol.crop)


def _draw_scales(axis: Axes, image: np.ndarray, protocol: Protocol, seen: list) -> None:
    """The resized pictures side by side, pixel for pixel, on one base line, with the window that is the same in all."""
    left, gap = 0.0, 0.15 * protocol.crop
    sizes = list(dict.fromkeys(size for _, size, _ in seen))
    for height, width in sizes:
        axis.imshow(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR), extent=(left, left + width, 0, height))
        _frame(axis, (left, 0), width, height, PALETTE[0])
        _window(axis, (left, 0.0), protocol.crop)
        axis.annotate(f"{width} x {height}", (left + width / 2, 0), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=9)
        left += width + gap
    axis.set_xlim(-gap / 4, left - gap * 0.75)
    axis.set_ylim(-0.25 * protocol.crop, max(height for height, _ in sizes) + gap / 4)


def _frame(axis: Axes, corner: tuple[float, float], width: float, height: float, colour: str, line: str = "-") -> None:
    axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2.0, linestyle=line, path_effects=[EDGE]))


def _window(axis: Axes, corner: tuple[float, float], side: float) -> None:
    _frame(axis, corner, side, side, "white", "--")


def score_map(image: np.ndarray, posterior: np.ndarray, window: int, names: Sequence[str], title: str, *, centre: np.ndarray | None = None) -> Figure:
    """The dense form's scores of one picture: the likeliest class of each window, and the mean over the windows.

    image: (H, W) or (H, W, 3) uint8; posterior: (classes, rows, columns), softmax scores of the windows; window: their side in pixels, the first
    in the upper left corner and the last in the lower right; names: of the classes; centre: (classes,), softmax scores of the centre crop alone,
    drawn beside the mean. Each window shows its class, by name where all names are short, else by a letter that the bars explain, and is the
    darker the likelier. Raises InputError where the shapes do not fit each other.
    """
    _check_scores(image, posterior, window, names, centre)
    mean, best = posterior.mean(axis=(1, 2)), posterior.argmax(axis=0)
    shown = list(range(len(names))) if len(names) <= NAMED else np.argsort(-mean, kind="stable")[:NAMED].tolist()
    short = max(map(len, names)) <= 2
    signs = {label: names[label] if short else chr(ord("A") + rank) for rank, label in enumerate(shown)}
    with house_style():
        figure = Figure(figsize=(8.4, 3.7), layout="constrained")
        picture, grid, bars = figure.subplots(1, 3, width_ratios=(1, 1.15, 1.1))
        _draw_windows(picture, image, posterior.max(axis=0), window)
        _draw_grid(figure, grid, posterior.max(axis=0), [[signs.get(label, "-") for label in row] for row in best])
        labels = [names[label] if short else f"{signs[label]}  {_shortened(names[label])}" for label in shown]
        _draw_bars(bars, labels, mean[shown], None if centre is None else np.asarray(centre)[shown], best.size)
        headline(figure, title)
    return figure


def _check_scores(image: np.ndarray, posterior: np.ndarray, window: int, names: Sequence[str], centre: np.ndarray | None) -> None:
    if posterior.ndim != 3 or len(posterior) != len(names):
        raise InputError(f"Scores of shape {posterior.shape} for {len(names)} classes: give (classes, rows, columns).")
    if window > min(image.shape[:2]):
        raise InputError(f"A window of {window} pixels does not fit a picture of {image.shape[1]}x{image.shape[0]}: enlarge the picture.")
    if centre is not None and np.shape(centre) != (len(names),):
        raise InputError(f"The centre crop's scores have shape {np.shape(centre)}: give one for each of the {len(names)} classes.")


def _draw_windows(axis: Axes, image: np.ndarray, likeliest: np.ndarray, window: int) -> None:
    """The picture with its first window and the surest one, which is where a stride of (picture - window) / (windows - 1) puts it."""
    height, width = image.shape[:2]
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), interpolation="nearest")
    surest = np.unravel_index(likeliest.argmax(), likeliest.shape)
    steps = [(size - window) / max(count - 1, 1) for size, count in zip((height, width), likeliest.shape, strict=True)]
    top, left = (step * place for step, place in zip(steps, surest, strict=True))
    _window(axis, (0.0, 0.0), window)
    _frame(axis, (left, top), window, window, PALETTE[4])
    axis.set_title(f"{width}x{height} pixels; dashed: the first\nwindow of {window}, solid: the surest", fontsize=10)
    axis.set_axis_off()
    axis.set_anchor("N")


def _draw_grid(figure: Figure, axis: Axes, likeliest: np.ndarray, signs: list[list[str]]) -> None:
    shade = axis.imshow(likeliest, cmap="Blues", vmin=0, vmax=1)
    for row, line in enumerate(signs):
        for column, sign in enumerate(line):
            colour = "white" if likeliest[row, column] > 0.6 else "black"
            axis.text(column, row, sign, ha="center", va="center", color=colour, fontsize=max(8, min(12, 80 / max(likeliest.shape))))
    axis.set_title("the likeliest class of each window,\nthe darker the surer", fontsize=10)
    axis.set_anchor("N")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    figure.colorbar(shade, ax=axis, location="bottom", shrink=0.8, aspect=30, pad=0.03, label="its score (softmax)")


def _draw_bars(axis: Axes, labels: list[str], mean: np.ndarray, centre: np.ndarray | None, windows: int) -> None:
    places = np.arange(len(labels))
    height = 0.7 if centre is None else 0.38
    axis.barh(places, mean, height=height, color=BLUE, label=f"mean over {windows} windows")
    if centre is not None:
        axis.barh(places + height, centre, height=height, facecolor="white", edgecolor=GREY, hatch="////", linewidth=1.0, label="centre crop alone")
    axis.set_yticks(places + (0 if centre is None else height / 2), labels)
    axis.set_xlim(0, 1)
    axis.set_ylim(len(labels) - 0.3, -0.7)  # the first class on top
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("score (softmax)")
    axis.set_ylabel("class")
    axis.legend(loc="lower right" if mean[: len(mean) // 2].max() > mean[len(mean) // 2 :].max() else "upper right")


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
