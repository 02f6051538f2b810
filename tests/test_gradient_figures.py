"""The figures of notebook 02 draw what is in their tables."""

import numpy as np
import pandas as pd
import pytest

from resnet_nb import figures
from resnet_nb.figures.gradients import Curve, microscope


def table(values: list[float]) -> pd.DataFrame:
    names = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc"]
    return pd.DataFrame({"layer": names, "output_gradient": values, "angle": values})


def lines(axis) -> list[np.ndarray]:
    return [line.get_ydata() for line in axis.lines if len(line.get_xdata())]


def test_layers_are_drawn_over_the_last_convolutions_with_theory_through_the_stage() -> None:
    curve = Curve("plain", "plain", table([8.0, 4.0, 2.0, 1.0, 9.0]), 3.0)
    dead = Curve("dead", "plain", table([0.0, 0.0, 2.0, 1.0, 9.0]), 3.0)
    (axis,) = figures.layer_by_layer({"a panel": [curve, dead]}, "A title").axes
    measured, theory, alive = lines(axis)
    assert list(measured) == [8, 4, 2, 1] and list(theory) == [6, 2] and list(alive) == [2, 1] and axis.get_yscale() == "log"
    (axis,) = figures.layer_by_layer({"a panel": [curve]}, "A title", value="angle", relative=False).axes
    assert list(lines(axis)[0]) == [8, 4, 2, 1]


def test_growths_stand_beside_theory_where_there_is_one() -> None:
    rows = pd.DataFrame({"net": ["a", "a", "b"], "family": ["plain", "plain", "residual"], "depth": [20, 56, 56], "growth": [1.2, 1.3, 0.4],
                         "theory": [1.21, 1.21, None]})  # fmt: skip
    (axis,) = figures.growths(rows, "A title").axes
    drawn = [float(line.get_xdata()[0]) for line in axis.lines if len(line.get_xdata()) == 1]
    assert drawn == [1.2, 1.3, 1.21, 0.4] and [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_autocorrelations_start_at_lag_zero_and_residual_nets_have_their_colour() -> None:
    figure = figures.autocorrelations({"one": {"10 layers": [1, 0.5]}, "two": {"50 layers, residual": [1, 0.9]}}, "A title")
    first, second = figure.axes
    assert list(lines(first)[0]) == [1, 0.5] and first.lines[0].get_color() != second.lines[0].get_color()


def test_shares_are_geometric_means_and_silent_branches_are_named() -> None:
    rows = [("a", 1, 1.0), ("a", 1, 4.0), ("a", 2, 1.0), ("a", 2, 1.0), ("b", 1, 0.0), ("b", 2, 0.0)]
    (axis,) = figures.shares_at_birth(pd.DataFrame(rows, columns=["way", "place", "share"]), "A title").axes
    assert np.allclose(lines(axis)[0], [2, 1]) and axis.get_legend().get_title().get_text() == "zero throughout: b"


def test_a_seed_that_did_not_arrive_is_an_arrow_at_the_limit() -> None:
    rows = pd.DataFrame({"change": ["a", "a", "a"], "family": "plain", "iterations": [200, 300, np.inf]})
    (axis,) = figures.by_change(rows, ["a"], "A title", value="iterations", label="iterations", limit=800).axes
    late = [line for line in axis.lines if line.get_marker() == ">"]
    assert len(late) == 1 and late[0].get_xdata()[0] == 800 and "300" in {text.get_text() for text in axis.texts}


@pytest.mark.parametrize("count", (0, 1, 3))
def test_the_microscopes_last_curve_is_the_bold_one(count: int) -> None:
    curves = [Curve(str(number), "plain", table([8.0, 0.0, 2.0, 1.0, 9.0])) for number in range(count)]
    left, right = microscope(curves, "A title").axes
    assert [line.get_linewidth() for line in left.lines] == [1.2] * (count - 1) + [2.4] * (count > 0) and len(right.lines) == count
