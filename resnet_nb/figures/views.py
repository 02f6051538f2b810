"""The views of a picture under a test protocol, drawn where they lie, and the classes that they voted for."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from resnet_nb.figures.style import COLOURS, GREY, headline, house_style

PALETTE = (COLOURS["residual"], COLOURS["plain"], "#009E73", "#CC79A7", "#E69F00")  # Okabe and Ito's
STYLES = {False: "-", True: "--"}
INSET = 0.012  # of the picture's longer side: boxes of equal place are drawn one inside the other
LONGEST = 34  # letters of a class name


def votes(image: Image.Image, picture: dict, protocol: str) -> Figure:
    """A picture with a box for every view, solid as it is and dashed for its mirror image, in the colour of the class that it voted for; beside it
    the likeliest classes with their averaged scores and the views that voted for each.

    image: RGB; picture: one of the "pictures" of `predict.predict`; protocol: the name for the title.
    """
    colours = {row["label"]: colour for row, colour in zip(picture["classes"], PALETTE, strict=False)}
    best, views = picture["classes"][0], picture["views"]
    with house_style():
        figure = Figure(figsize=(9.5, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _boxes(left, image, views, colours)
        _scores(right, picture, colours)
        headline(figure, f"{_short(best['class'])}: {len(best['votes'])} of {len(views)} views vote for it ({protocol})")
    return figure


def _boxes(axis: Axes, image: Image.Image, views: list[dict], colours: dict[int, str]) -> None:
    axis.imshow(image)
    step = INSET * max(image.size)
    drawn: dict[tuple, int] = {}
    for view in views:
        place = tuple(round(value / step) for value in view["box"])
        level = drawn[place] = drawn.get(place, -1) + 1
        x, y, width, height = view["box"]
        inset, colour = (level + 0.5) * step, colours.get(view["label"], GREY)
        style = {"fill": False, "edgecolor": colour, "linewidth": 1.8, "linestyle": STYLES[view["mirrored"]]}
        axis.add_patch(Rectangle((x + inset, y + inset), width - 2 * inset, height - 2 * inset, **style))
    for (x, y), names in _corners(views, step).items():
        axis.annotate(
            ", ".join(names), (x, y), (5, -5), textcoords="offset points", va="top", fontsize=9, fontweight="bold", color="white",
            bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    lefts, tops, rights, bottoms = zip(*((x, y, x + width, y + height) for x, y, width, height in (view["box"] for view in views)), strict=True)
    axis.set_xlim(min(0, *lefts), max(image.width, *rights))  # padded views reach beyond the picture
    axis.set_ylim(max(image.height, *bottoms), min(0, *tops))
    axis.set_title("the views, numbered (dashed: mirrored)")
    axis.set_axis_off()


def _corners(views: list[dict], step: float) -> dict[tuple[float, float], list[str]]:
    """Where the numbers of the views stand: at the upper left corners, those of one place together."""
    corners: dict[tuple[float, float], list[str]] = {}
    for view in views:
        x, y = view["box"][:2]
        near = next((corner for corner in corners if max(abs(corner[0] - x), abs(corner[1] - y)) < 2 * step), (x, y))
        corners.setdefault(near, []).append(str(view["view"]))
    return {(x + 1.5 * step, y + 1.5 * step): names for (x, y), names in corners.items()}


def _scores(axis: Axes, picture: dict, colours: dict[int, str]) -> None:
    rows = picture["classes"][::-1]
    axis.barh(range(len(rows)), [100 * row["score"] for row in rows], color=[colours[row["label"]] for row in rows], height=0.42)
    for place, row in enumerate(rows):
        text = f"{_short(row['class'])}, {100 * row['score']:.1f} % ({_voters(row['votes'], len(picture['views']))})"
        axis.annotate(text, (0, place + 0.28), (2, 0), textcoords="offset points", va="bottom")
    axis.set_xlim(0, 100)
    axis.set_ylim(-0.5, len(rows) - 0.2)
    axis.set_yticks([])
    axis.set_xlabel("score, averaged over the views (%)")


def _voters(votes: list[int], views: int) -> str:
    if len(votes) in (0, views):
        return "all views" if votes else "no view"
    return f"view{'s' if len(votes) > 1 else ''} {', '.join(map(str, votes))}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
