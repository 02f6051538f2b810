"""What the pictures of the protocols draw is what their tables, protocols and scores say."""

import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from sklearn.datasets import load_sample_image

from resnet_nb import figures, published
from resnet_nb.errors import InputError
from resnet_nb.figures.protocols import GROUPS, LIGHT
from resnet_nb.protocols import Protocol

TABLE = published.imagenet_by_protocol()
CHINA = load_sample_image("china.jpg")  # 640x427


def points(axis: Axes) -> list[Line2D]:
    return [line for line in axis.lines if line.get_marker() in GROUPS.values() and len(line.get_xdata()) == 1]


def frames(axis: Axes) -> list[Rectangle]:
    return [patch for patch in axis.patches if isinstance(patch, Rectangle) and not patch.get_fill()]


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for axis in figure.axes for text in [*axis.texts, axis.title, axis._left_title, axis.xaxis.label])


def test_every_published_error_is_one_open_marker_in_its_depths_panel() -> None:
    figure = figures.published_by_protocol(TABLE, "Published")
    stated = TABLE[TABLE["protocol"] != "not stated"]
    assert [axis.get_title("left") for axis in figure.axes] == ["ResNet-50", "ResNet-101", "ResNet-152"]
    for axis, depth in zip(figure.axes, (50, 101, 152), strict=True):
        rows = stated[stated["depth"] == depth]
        drawn = sorted((line.get_ydata()[0], line.get_marker()) for line in points(axis))
        assert drawn == sorted(zip(rows["top1"], rows["group"].map(GROUPS), strict=True))
        assert all(line.get_markerfacecolor() == "white" for line in points(axis))
    assert "TensorFlow's list" in words(figure)


def test_protocols_stand_in_strips_of_their_own_and_in_order() -> None:
    figure = figures.published_by_protocol(TABLE, "Published")
    for axis, depth in zip(figure.axes, (50, 101, 152), strict=True):
        places = {name: [] for name in ("1-crop", "10-crop", "multi-scale")}
        for row in TABLE[(TABLE["depth"] == depth) & (TABLE["protocol"] != "not stated")].itertuples():
            places[row.protocol] += [line.get_xdata()[0] for line in points(axis) if line.get_ydata()[0] == row.top1]
        assert max(places["1-crop"]) < min(places["10-crop"]) <= max(places["10-crop"]) < min(places["multi-scale"])


def test_a_line_joins_the_original_weights_and_another_those_of_fb() -> None:
    axis = figures.published_by_protocol(TABLE, "Published").axes[0]
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in axis.lines if len(line.get_ydata()) > 1 and line.get_linestyle() in ("-", ":")}
    assert lines == {"-": [24.7, 22.85, 20.74], ":": [24.01, 22.24]}
    assert {"24.7", "22.85", "20.74", "24.01", "22.24"} <= {text.get_text() for text in axis.texts}


def test_later_recipes_are_grey_other_crops_small_and_the_unverified_marked() -> None:
    figure = figures.published_by_protocol(TABLE, "Published")
    axis = figure.axes[0]
    looks = {line.get_ydata()[0]: (to_hex(line.get_color()).upper(), line.get_markersize()) for line in points(axis)}
    assert looks[19.142] == (LIGHT, 7.0) and looks[18.76] == (LIGHT, 4.0) and looks[24.01][0] != LIGHT
    assert [text.xy[1] for text in axis.texts if text.get_text() == "?"] == [24.13]
    assert {text.get_text() for text in figure.legends[0].texts} >= {*GROUPS, "not checked at its source", "small: another crop than 224"}
    verified = figures.published_by_protocol(TABLE[TABLE["verified"] & (TABLE["group"] == "the original")], "Published")
    assert [text.get_text() for text in verified.legends[0].texts] == ["the original"]


def test_runs_have_their_standard_deviation_as_a_bar() -> None:
    axis = figures.published_by_protocol(TABLE, "Published").axes[0]
    bars = [bar[2][0].get_segments()[0][:, 1] for bar in axis.containers if bar.has_yerr]
    assert sorted(tuple(np.round(ends, 2)) for ends in bars) == [(23.48, 23.72), (23.65, 23.83), (24.47, 25.21), (25.32, 26.44)]


def test_frames_are_the_protocols_views() -> None:
    protocols = [Protocol.paper(name) for name in ("1-crop", "10-crop", "dense", "multi-scale")]
    one, ten, dense, several = figures.crops_on_photograph(CHINA, protocols, "Seen").axes
    assert [len(frames(axis)) for axis in (one, ten, dense, several)] == [1, 5, 2, 10]
    (frame,) = frames(one)
    centre = (frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2)
    assert centre == pytest.approx((383 / 2, 256 / 2), abs=0.51) and frame.get_width() == pytest.approx(224, abs=6)
    assert [text.get_text() for text in ten.texts] == list("12345")
    lefts, tops = [frame.get_x() for frame in frames(ten)], [frame.get_y() for frame in frames(ten)]
    assert lefts[1] > lefts[0] and lefts[3] > lefts[2] and min(tops[2:4]) > max(tops[:2])  # corners in reading order


def test_scales_are_drawn_to_one_scale_with_the_same_window() -> None:
    (axis,) = figures.crops_on_photograph(CHINA, [Protocol.paper("multi-scale")], "Seen").axes
    pictures, windows = frames(axis)[::2], frames(axis)[1::2]
    assert [picture.get_height() for picture in pictures] == [224, 256, 384, 480, 640]
    assert [picture.get_width() for picture in pictures] == [int(640 * short / 427) for short in (224, 256, 384, 480, 640)]
    assert {(window.get_width(), window.get_height(), window.get_linestyle()) for window in windows} == {(224, 224, "--")}
    assert axis.get_aspect() == 1


def test_titles_count_passes_and_pixels_as_by_hand() -> None:
    protocols = [Protocol.paper(name) for name in ("1-crop", "10-crop", "dense", "multi-scale")]
    titles = [axis.get_title("left") for axis in figures.crops_on_photograph(CHINA, protocols, "Seen").axes]
    assert "1 pass, 1 x the pixels" in titles[0] and "mirrored" not in titles[0]
    assert "10 passes, 5 mirrored, 10 x the pixels" in titles[1]
    dense, several = (float(re.search(r", ([\d.]+) x the pixels", title)[1]) for title in titles[2:])
    assert dense == round(2 * 256 * 383 / 224**2, 1)
    assert several == round(2 * sum(short * int(640 * short / 427) for short in (224, 256, 384, 480, 640)) / 224**2, 1)


def test_what_no_view_holds_is_pale() -> None:
    black = np.zeros((256, 400, 3), dtype=np.uint8)
    pixels = figures.crops_on_photograph(black, [Protocol.paper("1-crop")], "Seen").axes[0].images[0].get_array()
    assert (pixels[16:240, 88:312] == 0).all() and (pixels[:, :88] > 180).all() and (pixels[:16] > 180).all()


def test_photograph_smaller_than_a_crop_is_refused() -> None:
    with pytest.raises(InputError, match="less than the crop's 224x224"):
        figures.crops_on_photograph(CHINA[:100], [Protocol("1-crop", mirror=False)], "Seen")


def scores(classes: int = 10, rows: int = 5, columns: int = 7) -> np.ndarray:
    random = np.random.default_rng(0).gamma(0.5, size=(classes, rows, columns))
    return random / random.sum(axis=0)


def test_grid_shows_the_likeliest_class_and_bars_the_mean() -> None:
    posterior, centre = scores(), np.full(10, 0.1)
    figure = figures.score_map(np.zeros((32, 40), np.uint8), posterior, 16, list("0123456789"), "Windows", centre=centre)
    _, grid, bars, _ = figure.axes
    assert [text.get_text() for text in grid.texts] == [str(label) for label in posterior.argmax(axis=0).ravel()]
    assert np.asarray(grid.images[0].get_array()) == pytest.approx(posterior.max(axis=0))
    widths = [[bar.get_width() for bar in container] for container in bars.containers]
    assert widths[0] == pytest.approx(posterior.mean(axis=(1, 2))) and widths[1] == pytest.approx(centre)
    assert [tick.get_text() for tick in bars.get_yticklabels()] == list("0123456789")
    assert [text.get_text() for text in bars.get_legend().texts] == ["mean over 35 windows", "centre crop alone"]


def test_surest_window_is_framed_where_it_lies() -> None:
    posterior = np.full((2, 5, 7), 0.5)
    posterior[:, 4, 2] = 0.01, 0.99
    picture = figures.score_map(np.zeros((32, 40, 3), np.uint8), posterior, 16, ["a", "b"], "Windows").axes[0]
    first, surest = frames(picture)
    assert first.get_xy() == (0, 0) and surest.get_xy() == (8, 16)  # windows of 16 in 40x32 pixels, 7 by 5 of them: a stride of 4
    assert {(frame.get_width(), frame.get_height()) for frame in (first, surest)} == {(16, 16)}


def test_long_names_are_letters_that_the_bars_explain() -> None:
    posterior = scores(classes=40)
    names = [f"a rather long class name, number {label}" for label in range(40)]
    _, grid, bars, _ = figures.score_map(CHINA, posterior, 224, names, "Windows").axes
    ticks = [tick.get_text() for tick in bars.get_yticklabels()]
    assert len(ticks) == 10 and [tick[0] for tick in ticks] == list("ABCDEFGHIJ")
    order = np.argsort(-posterior.mean(axis=(1, 2)), kind="stable")[:10]
    signs = {label: chr(ord("A") + rank) for rank, label in enumerate(order)}
    assert [text.get_text() for text in grid.texts] == [signs.get(label, "-") for label in posterior.argmax(axis=0).ravel()]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"names": list("012")}, "for 3 classes"),
        ({"posterior": scores()[0]}, r"give \(classes, rows, columns\)"),
        ({"window": 33}, "does not fit a picture of 40x32"),
        ({"centre": np.ones(3)}, "one for each of the 10 classes"),
    ],
)
def test_scores_that_do_not_fit_are_refused(changed: dict, message: str) -> None:
    arguments = {"image": np.zeros((32, 40), np.uint8), "posterior": scores(), "window": 16, "names": list("0123456789"), "title": "Windows"}
    with pytest.raises(InputError, match=message):
        figures.score_map(**arguments | changed)


def test_words_are_legible_and_on_their_figure() -> None:
    """At the 7.5 inches of a notebook's column nothing is under 8 points."""
    drawn = [
        figures.published_by_protocol(TABLE, "Published errors by protocol"),
        figures.crops_on_photograph(CHINA, [Protocol.paper(name) for name in ("1-crop", "10-crop", "dense", "multi-scale")], "Seen"),
        figures.score_map(np.zeros((32, 40), np.uint8), scores(), 16, list("0123456789"), "Windows", centre=np.full(10, 0.1)),
    ]
    for figure in drawn:
        figure.draw_without_rendering()
        for axis in figure.axes:
            for text in [*axis.texts, axis._left_title, *(tick for tick in axis.get_xticklabels() if axis.axison)]:
                box = text.get_window_extent()
                assert box.x1 <= figure.bbox.x1 + 1 and box.x0 >= -1, text.get_text()
                assert text.get_fontsize() * min(1, 7.5 / figure.get_figwidth()) >= 8, text.get_text()


def test_importing_the_figures_leaves_torch_alone() -> None:
    code = "import sys, resnet_nb.figures.protocols as p, resnet_nb.published as q; p.published_by_protocol(q.imagenet_by_protocol(), 'Published')"
    subprocess.run([sys.executable, "-c", code + "; sys.exit('torch' in sys.modules)"], check=True)
