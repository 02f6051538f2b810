"""The figures of notebook 03 draw what their tables hold."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from resnet_nb import figures
from resnet_nb.figures.style import COLOURS
from resnet_nb.published import layout

PLAIN, RESIDUAL = COLOURS["plain"].lower(), COLOURS["residual"].lower()


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_a_block_has_a_box_for_every_step_and_a_line_for_its_shortcut() -> None:
    steps = {"plain": layout.follow("basic", 64, 64, 56, option=None), "A": layout.follow("basic", 64, 128, 56, stride=2)}
    figure = figures.block_diagrams(steps, "Blocks")
    assert [len(axis.patches) for axis in figure.axes] == [6, 7] and [len(axis.lines) for axis in figure.axes] == [0, 1]
    assert {"input\n56x56x64", "addition\n28x28x128", "every second pixel, zeros for new channels"} <= set(texts(figure))
    assert figure.axes[1].lines[0].get_linestyle() == "--" and "221,696 parameters" in figure.axes[1].get_title("left")


def test_the_nets_of_34_layers_have_them_all_and_sixteen_shortcuts_of_which_three_are_dashed() -> None:
    figure = figures.plain_and_residual(layout.layers(34, None), layout.layers(34, "A"), "Thirty-four layers")
    assert [len(axis.patches) for axis in figure.axes] == [36, 36]
    around = [line for line in figure.axes[1].lines if to_hex(line.get_color()) == RESIDUAL and len(line.get_xdata()) == 4]
    assert len(around) == 16 and sum(line.get_linestyle() == "--" for line in around) == 3
    assert not any(to_hex(line.get_color()) == RESIDUAL for line in figure.axes[0].lines)
    assert texts(figure).count("3x3 conv, 256") == 22 and texts(figure).count("3x3 conv, 512, /2") == 2


def test_responses_are_drawn_by_layer_and_sorted() -> None:
    rows = [("plain-20", "plain", 20, place, value) for place, value in enumerate((0.3, 0.9, 0.5), 1)]
    figure = figures.responses(pd.DataFrame(rows, columns=["name", "family", "depth", "place", "response"]), "Responses")
    assert [line.get_ydata().tolist() for axis in figure.axes for line in axis.lines] == [[0.3, 0.9, 0.5], [0.9, 0.5, 0.3]]
    assert to_hex(figure.axes[0].lines[0].get_color()) == PLAIN


def test_shares_are_the_tables_ratios() -> None:
    table = pd.DataFrame({"name": "residual-20", "depth": 20, "ratio": [0.5, 2.0]})
    assert figures.shares(table, "Shares").axes[0].lines[0].get_ydata().tolist() == [0.5, 2.0]


def test_each_lesion_stands_at_its_blocks_place_and_open_where_the_shape_changes() -> None:
    blocks = ["none", "layer1.0", "layer1.1", "layer2.0", "layer3.1"]
    rows = pd.DataFrame({"block": blocks, "downsampling": [False, False, False, True, False], "error": [5.0, 10, 20, 30, 40]})
    figure = figures.lesions(rows.assign(family="residual", depth=14), "Lesions")
    drawn = {
        tuple(point): line.get_markerfacecolor() == "white" for line in figure.axes[0].lines if line.get_marker() == "o"
        for point in line.get_xydata().tolist()
    }  # fmt: skip
    assert drawn == {(1.0, 10.0): False, (2.0, 20.0): False, (3.0, 30.0): True, (6.0, 40.0): False}
    assert any(list(line.get_ydata()) == [5.0, 5.0] for line in figure.axes[0].lines)


def test_many_lesions_have_a_dot_a_draw() -> None:
    deletions = pd.DataFrame({"deleted": [1, 1, 2], "error": [8.0, 10, 30]})
    swaps = pd.DataFrame({"swaps": [1, 4], "tau": [0.9, 0.7], "error": [9.0, 12]})
    figure = figures.many_lesions(deletions, swaps, "Many", intact=7)
    dots = [line.get_ydata().tolist() for axis in figure.axes for line in axis.lines if line.get_marker() == "o"]
    assert dots == [[8.0, 10, 30], [9.0, 12.0]] and figure.axes[1].xaxis_inverted()


def test_paths_are_counts_norms_and_their_product() -> None:
    table = pd.DataFrame({"length": [0, 1, 2], "paths": [1, 2, 1], "norm": [1.0, 0.1, 0.01], "share": [0.8, 0.19, 0.01]})
    axes = figures.path_lengths(table, "Paths", between=(0, 1)).axes
    assert [axis.lines[0].get_ydata().tolist() for axis in axes] == [[0.25, 0.5, 0.25], [1.0, 0.1, 0.01], [0.8, 0.19, 0.01]]


def test_slices_have_a_line_a_net_and_kind_and_surfaces_their_values() -> None:
    steps = np.linspace(-1, 1, 5)
    lines = pd.concat(
        pd.DataFrame({"step": steps, "loss": level + steps**2, "error": 10.0}).assign(family=family, depth=20, direction=0, statistics=kind)
        for family, kind, level in (("plain", "kept", 0.2), ("plain", "anew", 0.3), ("residual", "kept", 0.1))
    )
    (axis,) = figures.loss_lines(lines, "Lines").axes
    drawn = [(to_hex(line.get_color()), line.get_linestyle(), line.get_ydata()[2]) for line in axis.lines if len(line.get_xdata()) == 5]
    assert drawn == [(PLAIN, "-", 0.2), (PLAIN, "--", 0.3), (RESIDUAL, "-", 0.1)]
    plane = pd.DataFrame([(a, b, 0.1 + 2 * a * a + b * b) for a in steps for b in steps], columns=["step_a", "step_b", "loss"])
    figure = figures.loss_surfaces({"one": plane, "other": plane}, "Surfaces")
    assert len(figure.axes) == 2 and {"0.5", "1"} <= {text.get_text() for text in figure.axes[0].texts}
