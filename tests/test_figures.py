"""What a figure draws is what its table says: bounds open, spreads to the extreme runs, every run a dot."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from resnet_nb import figures
from resnet_nb.figures.style import COLOURS
from resnet_nb.findings.speed import compare_laws, medians


def times(family: str, growth: float, cap: float = np.inf) -> pd.DataFrame:
    rows = []
    for depth in (8, 20, 32, 44, 56):
        for seed in range(3):
            middle = 20 * np.exp(growth * depth) * (1 + 0.1 * seed)
            rows.append((family, depth, seed, 0.5, *((middle - 2, middle + 2) if middle < cap else (cap, np.inf))))
    return pd.DataFrame(rows, columns=["family", "depth", "seed", "loss", "after", "until"])


def test_a_bound_is_an_open_marker_and_a_value_has_its_extreme_runs() -> None:
    table = pd.concat([times("plain", 0.05, cap=250), times("residual", 0.001)])
    middle = medians(table)
    assert middle["censored"].sum() == 1
    laws = {(family, 0.5): compare_laws(group) for family, group in table.groupby("family")}
    axis = figures.time_by_depth(middle, laws, "Times", guess=100).axes[0]
    lone = [line for line in axis.lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 1]
    open_markers = [line for line in lone if line.get_markerfacecolor() == "white"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in open_markers] == [(56, 250)]
    assert any(line.get_marker() == "*" and line.get_ydata()[0] == 100 for line in lone)
    (residual,) = [bar for bar in axis.containers if to_hex(bar[0].get_color()) == COLOURS["residual"].lower()]
    low, high = residual[2][0].get_segments()[0][:, 1]
    row = middle[(middle["family"] == "residual") & (middle["depth"] == 8)].iloc[0]
    assert (low, high) == pytest.approx((row["lowest"], row["highest"]))
    assert axis.get_yscale() == "log"


def test_every_run_is_a_dot_and_the_median_is_written_beside_them() -> None:
    runs = pd.DataFrame({"recipe": ["usual"] * 3 + ["slow"] * 3, "train_error": [40.0, 50, 60, 1, 2, 3], "seed": [0, 1, 2] * 2})
    axis = figures.chances(runs, ["slow", "usual"], "Chances").axes[0]
    assert sorted(x for line in axis.lines if line.get_marker() == "s" for x in line.get_xdata()) == [1, 2, 3, 40, 50, 60]
    assert [text.get_text() for text in axis.texts] == ["2.0", "50.0"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["slow", "usual"]
    long = pd.DataFrame({"family": "plain", "depth": 56, "iterations": [200, 200, 600], "train_error": [40.0, 50, 3], "seed": [0, 1, 0]})
    assert [text.get_text() for text in figures.lengths(long, "Lengths").axes[0].texts] == ["45.0", "3.0"]


def test_a_deepened_net_is_drawn_in_its_colour_and_its_shallow_net_in_grey() -> None:
    steps = pd.concat(
        pd.DataFrame({"iteration": range(1, 11), "error": level}).assign(family=family, depth=depth, rate=rate, seed=0)
        for family, depth, level in (("plain", 56, 30.0), ("residual", 56, 1.5), ("plain", 20, 0.5))
        for rate in (0.01, 0.05)
    )
    figure = figures.trained_on(steps, "Trained on", live=steps[steps["depth"] == 56])
    assert [axis.get_title("left") for axis in figure.axes] == ["rate 0.05", "rate 0.01"]
    first = figure.axes[0]
    drawn = {(to_hex(line.get_color()), line.get_ydata()[0]) for line in first.lines if len(line.get_xdata())}
    assert {(COLOURS["plain"].lower(), 30.0), (COLOURS["residual"].lower(), 1.5), ("#555555", 0.5)} == drawn
    assert "never over 1.5 %" in first.texts[0].get_text()


def test_a_long_headline_stays_on_its_figure() -> None:
    long = pd.DataFrame({"family": "plain", "depth": 56, "iterations": [200, 600], "train_error": [45.0, 3], "seed": 0})
    figure = figures.lengths(long, "Depth delays the first progress of a plain net at every rate, " * 3)
    figure.draw_without_rendering()
    assert figure._suptitle.get_window_extent().x1 <= figure.bbox.x1


def test_each_setting_has_its_panel_and_a_bound_an_arrow() -> None:
    rows = [("usual", "plain", 8, 30.0, False, 25.0), ("usual", "residual", 8, 20.0, False, 20.0), ("bare", "plain", 32, 800.0, True, np.inf)]
    middle = pd.DataFrame(rows, columns=["setting", "family", "depth", "iterations", "censored", "lowest"])
    figure = figures.time_by_setting(middle.assign(highest=middle["lowest"] + 10, loss=0.15), "Settings")
    assert [axis.get_title("left").split("\n")[0] for axis in figure.axes] == ["usual", "bare"]
    drawn = [[line for line in axis.lines if line.get_marker() in "so" and len(line.get_ydata())] for axis in figure.axes]
    points = [{line.get_ydata()[0]: line.get_markerfacecolor() for line in lines} for lines in drawn]
    assert set(points[0]) >= {30.0, 20.0} and points[1][800.0] == "white"
    assert [len(axis.texts) for axis in figure.axes] == [0, 1]
