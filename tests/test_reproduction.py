"""The rule of reproduction: what it asks, what it can see, and public runs judged by it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_scoreboard import cifar_run

from resnet_nb import figures
from resnet_nb.errors import InputError
from resnet_nb.records.kept import TRACE_COLUMNS
from resnet_nb.scoreboard.reproduction import (
    MARGIN,
    chance_of_reproduced,
    chances,
    half_width,
    half_widths,
    judged_by_summary,
    off_the_paper,
    public_runs,
)
from resnet_nb.scoreboard.scoreboard import scoreboard
from resnet_nb.stats import prediction_interval, reproduced


def test_five_seeds_with_a_deviation_of_02_predict_within_06() -> None:
    assert half_width(0.2, 5) == pytest.approx(0.2 * 2.7764 * np.sqrt(1.2), abs=1e-4)
    assert half_width(0.2, 5) == pytest.approx(0.61, abs=0.01)
    assert half_widths([2, 5])["half_width"].iloc[0] > 3  # two runs predict next to nothing


@given(st.lists(st.floats(5, 9), min_size=3, max_size=8).filter(lambda values: np.std(values) > 0.01), st.floats(5, 9))
def test_a_summary_is_judged_as_the_runs_are(values: list[float], published: float) -> None:
    low, high = prediction_interval(values)
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    assert mean - half_width(std, len(values)) == pytest.approx(low) and mean + half_width(std, len(values)) == pytest.approx(high)
    if min(abs(published - low), abs(published - high), abs(abs(published - mean) - MARGIN)) > 1e-6:
        assert judged_by_summary(published, mean, std, len(values)) == reproduced(published, values, margin=MARGIN)


def test_two_runs_are_too_few_in_a_summary_too() -> None:
    assert judged_by_summary(7.0, 7.0, 0.1, 2) == "too few runs"


def test_a_true_number_is_reproduced_as_often_as_the_interval_says() -> None:
    """Without the margin the chance is the interval's level, whatever the number of runs."""
    for runs in (3, 5, 10):
        assert chance_of_reproduced(0, runs, margin=100) == pytest.approx(0.95, abs=0.007)


def test_the_simulated_chance_agrees_with_the_noncentral_t() -> None:
    """(published - mean) / (s √(1 + 1/n)) is noncentral t of n - 1 degrees, where there is no margin."""
    runs, difference, std = 5, 0.5, 0.2
    scale = std * (1 + 1 / runs) ** 0.5
    critical = stats.t.ppf(0.975, runs - 1)
    exact = stats.nct.cdf(critical, runs - 1, difference / scale) - stats.nct.cdf(-critical, runs - 1, difference / scale)
    assert chance_of_reproduced(difference, runs, std=std, margin=100) == pytest.approx(exact, abs=0.01)


def test_a_larger_difference_is_seen_more_often() -> None:
    table = chances([0.0, 0.5, 1.0], [5])
    assert table["chance"].is_monotonic_decreasing and table["chance"].iloc[-1] < 0.05


def test_public_runs_are_compared_with_the_papers_mean_where_it_prints_one() -> None:
    table = public_runs().set_index("model")
    assert list(table.index) == ["resnet20", "resnet56", "resnet110"]
    deep = table.loc["resnet110"]
    assert deep["paper"] == 6.61 and deep["difference"] == pytest.approx(7.14 - 6.61)
    assert deep["high"] - deep["low"] == pytest.approx(1.217, abs=0.001)
    assert "warm-up" in deep["fault"] and table["caveat"].str.contains("45,000").all()


def test_the_board_is_drawn_with_and_without_runs() -> None:
    runs = [cifar_run("resnet20", 8.6 + 0.1 * seed, seed=seed) for seed in range(5)]
    for records, said in (([], "none yet"), (runs, "recorded here, full length")):
        figure = figures.beside_published(scoreboard(records), MARGIN, "A title")
        axis = figure.axes[0]
        assert any(text.get_text().endswith(said) for text in axis.get_legend().get_texts())
        filled = [list(line.get_xdata()) for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
        assert filled == ([[pytest.approx(8.8)]] if records else [])


def test_the_rules_figure_has_a_line_for_each_number_of_runs() -> None:
    figure = figures.what_the_rule_sees(chances(np.linspace(0, 1, 3), [3, 5], draws=200), "A title")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["3 runs", "5 runs"]


def trace(layers: tuple[str, ...] = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer3.0.conv1", "fc")) -> pd.DataFrame:
    rows = [(step, layer, 1.0 + place, 0.1, 0.01, 0.01 * (1 + place) / (1 + step), 1.0) for step in (0, 3) for place, layer in enumerate(layers)]
    return pd.DataFrame(rows, columns=TRACE_COLUMNS)


def test_a_traces_lines_are_the_medians_of_its_stages() -> None:
    figure = figures.layers_along_training({"one": trace(), "two": trace(), "three": trace()}, "angle", "A title")
    line = next(line for line in figure.axes[0].lines if line.get_label() == "stage 1")
    assert list(line.get_xdata()) == [1, 4] and line.get_ydata() == pytest.approx([0.025, 0.025 / 4])
    assert [axis.get_title(loc="left") for axis in figure.axes if axis.axison] == ["one", "two", "three"]


def test_a_layer_of_another_net_is_refused() -> None:
    with pytest.raises(InputError, match="CIFAR net"):
        figures.layers_along_training({"one": trace(("layer4.0.conv1",))}, "angle", "A title")


def test_others_exact_values_are_compared_net_by_net() -> None:
    off = off_the_paper()
    assert off["akamaster"].iloc[0] == pytest.approx(8.27 - 8.75) and off["nabla0001, 5 runs"].abs().max() == pytest.approx(0.53)
    assert not any(label.startswith("He et al.") for label in off.index)
