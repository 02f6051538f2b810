"""Choosing on the test set: exact expectations against all sets of runs, intervals against simulation, and the recorded study."""

import subprocess
import sys
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from record_examples import training_record
from scipy import stats

from resnet_nb import figures, published, records
from resnet_nb.errors import InputError
from resnet_nb.scoreboard import selection

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=7)  # few keys, so that most sets hold ties


def run(seed: int, validation: list[float] | None, test: list[float], **changes: object) -> dict:
    steps = [10 * (place + 1) for place in range(len(test))]
    points = {"iteration": steps, "train_error": [0.0] * len(test), "validation_error": validation, "test_error": test}
    return training_record(seed=seed, evaluations=points, **changes)


def table(count: int, seed: int = 0) -> pd.DataFrame:
    """What `count` made-up runs of eight evaluations, in whole images of 100, would report."""
    draws = np.random.default_rng(seed).integers(2, 9, (count, 2, 8)).astype(float).tolist()
    return selection.chosen([run(place, *both) for place, both in enumerate(draws)])


def of(found: pd.DataFrame, way: str) -> pd.DataFrame:
    return found[found["way"] == way].set_index("runs")


def brute_choice(keys: list[float], values: list[float], n: int) -> float:
    """Every set of n runs, and of those with its lowest key each in turn."""
    means = []
    for members in combinations(range(len(keys)), n):
        least = min(keys[member] for member in members)
        means.append(np.mean([values[member] for member in members if keys[member] == least]))
    return float(np.mean(means))


@given(pairs)
def test_the_expected_choice_is_the_mean_over_all_sets_of_runs(drawn):
    keys, values = zip(*drawn, strict=True)
    for n in range(1, len(keys) + 1):
        assert selection.expected_choice(keys, values, n) == pytest.approx(brute_choice(keys, values, n))


def test_ties_are_broken_as_by_a_shuffle():
    keys, values = [1, 1, 2, 1], [5.0, 3.0, 0.0, 9.0]
    first = [min(order[:2], key=lambda place: keys[place]) for order in permutations(range(4))]
    assert selection.expected_choice(keys, values, 2) == pytest.approx(np.mean([values[place] for place in first]))


def test_more_runs_than_there_are_cannot_be_drawn():
    for n in (0, 3):
        with pytest.raises(ValueError, match="cannot be drawn"):
            selection.expected_choice([1, 2], [1, 2], n)


def test_each_way_takes_its_own_evaluation_and_ties_go_to_the_first_on_test_and_the_latest_on_validation():
    (row,) = selection.chosen([run(4, [5, 3, 3, 6], [4, 2, 7, 2])]).to_dict("records")
    assert row == {
        "seed": 4, "last_iteration": 40, "last_test": 2, "last_validation": 6,
        "best_iteration": 20, "best_test": 2, "best_validation": 3, "chosen_iteration": 30, "chosen_test": 7, "chosen_validation": 3,
    }  # fmt: skip


def test_runs_of_two_settings_without_validation_or_of_one_seed_are_refused():
    one = run(0, [1.0, 2.0], [1.0, 2.0])
    with pytest.raises(InputError, match="--split"):
        selection.chosen([run(0, None, [1.0, 2.0])])
    with pytest.raises(InputError, match="differ in their recipe"):
        selection.chosen([one, run(1, [1.0, 2.0], [1.0, 2.0], recipe={**one["recipe"], "rate": 0.1})])
    with pytest.raises(InputError, match="occurs twice"):
        selection.chosen([one, one])
    with pytest.raises(InputError, match="no runs"):
        selection.chosen([])
    with pytest.raises(InputError, match="at least 3"):
        selection.optimism(selection.chosen([one, run(1, [1.0, 2.0], [1.0, 2.0])]))


def test_every_way_is_what_all_sets_of_the_runs_would_report():
    runs = table(6)
    found = selection.optimism(runs)
    last, best, validation = runs["last_test"], runs["best_test"], runs["chosen_validation"]
    for n in range(1, 7):
        expected = {
            selection.LAST: last.mean(),
            selection.BEST_EVALUATION: best.mean(),
            selection.BEST_RUN: np.mean([min(some) for some in combinations(last, n)]),
            selection.BEST_OF_ALL: np.mean([min(some) for some in combinations(best, n)]),
            selection.ON_VALIDATION: brute_choice(list(validation), list(runs["chosen_test"]), n),
        }
        for way, value in expected.items():
            row = of(found, way).loc[n]
            assert (row["expected"], row["below"]) == pytest.approx((value, last.mean() - value))
    assert set(found["way"]) == set(selection.WAYS)


def test_what_is_kept_is_the_same_nets_gain_on_the_images_that_did_not_choose():
    runs = table(5)
    found = selection.optimism(runs)
    mean = runs["last_validation"].mean()
    for n in range(1, 6):
        kept = mean - brute_choice(list(runs["last_test"]), list(runs["last_validation"]), n)
        assert of(found, selection.BEST_RUN).loc[n, "kept"] == pytest.approx(kept)
        row = of(found, selection.ON_VALIDATION).loc[n]
        assert (row["kept"], row["kept_low"]) == pytest.approx((row["below"], row["low"]), nan_ok=True)
    assert (of(found, selection.LAST)[["below", "kept"]] == 0).all(axis=None)


def test_the_interval_of_one_runs_best_evaluation_is_the_paired_t_interval():
    runs = table(12)
    row = of(selection.optimism(runs), selection.BEST_EVALUATION).loc[1]
    by_scipy = stats.ttest_rel(runs["last_test"], runs["best_test"]).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(by_scipy))


def test_a_choice_among_more_than_half_of_the_runs_has_no_interval():
    found = selection.optimism(table(7))
    assert (found["low"].isna() == (found["runs"] > 3)).all() and (found["high"].isna() == (found["runs"] > 3)).all()


def test_the_intervals_of_the_best_of_five_hold_the_truth_in_nine_of_ten_repetitions():
    rng, truth = np.random.default_rng(2), selection.normal_minimum(5)
    quantile = stats.t.ppf(0.975, 23)

    def below(values: np.ndarray) -> float:
        return values.mean() - selection.expected_choice(values, values, 5)

    held = []
    for values in rng.normal(size=(100, 24)):
        error = selection._jackknife_error(np.array([below(np.delete(values, place)) for place in range(24)]))
        held.append(abs(below(values) - truth) <= quantile * error)
    assert 0.85 <= np.mean(held) <= 0.99  # 0.92 in 1,500 repetitions


def test_the_least_of_normal_draws_is_as_far_below_the_mean_as_tables_say():
    """Harter 1961, table 1; for two and three also in closed form."""
    assert selection.normal_minimum(2) == pytest.approx(1 / np.sqrt(np.pi))
    assert selection.normal_minimum(3) == pytest.approx(1.5 / np.sqrt(np.pi))
    assert [round(selection.normal_minimum(n), 5) for n in (1, 5, 10)] == [0, 1.16296, 1.53875]


def test_the_published_gap_is_that_of_the_papers_five_runs_of_resnet110():
    known, gap = published.fact("c6.resnet110"), selection.published_gap()
    printed = known.extra["mean_std"]
    assert (gap["value"], gap["mean"], gap["std"], gap["runs"]) == (known.value, printed["mean"], printed["std"], printed["runs"])
    assert gap["verified"] == known.verified and gap["below"] == pytest.approx((printed["mean"] - known.value) / printed["std"])
    corners = [(6.61 + a - 6.43 - b) / (0.16 + c) for a in (-0.005, 0.005) for b in (-0.005, 0.005) for c in (-0.005, 0.005)]
    assert (gap["least"], gap["most"]) == pytest.approx((min(corners), max(corners)))
    draws = np.random.default_rng(0).normal(size=(200_000, gap["runs"]))
    points = draws.mean(1) - draws.min(1)
    assert gap["expected"] == pytest.approx(points.mean(), abs=0.01)
    assert gap["expected_in_sample"] == pytest.approx((points / draws.std(1, ddof=1)).mean(), abs=0.01)
    assert gap["expected_in_population"] == pytest.approx((points / draws.std(1)).mean(), abs=0.01)


def test_a_fact_of_one_run_has_no_gap():
    with pytest.raises(InputError, match="c6.resnet20"):
        selection.published_gap("c6.resnet20")


def test_the_figure_draws_every_way_and_the_honest_mean_with_its_interval():
    found = selection.optimism(table(12))
    axis = figures.selection(found, "Choosing").axes[0]
    drawn = [line.get_ydata() for line in axis.lines if len(line.get_xdata()) > 2]
    for way in selection.WAYS[1:]:
        expected = of(found, way)["expected"]
        assert any(len(line) == 12 and np.allclose(line, expected) for line in drawn), way
        assert any(way in text.get_text().replace("\n", " ") for text in axis.texts), way
    (band,) = [patch for patch in axis.patches if to_hex(patch.get_facecolor()) != "#ffffff"]
    low, high = found[["honest_low", "honest_high"]].iloc[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((low, high))



def test_the_recorded_study_has_20_seeds_of_two_schedules_with_an_evaluation_after_every_epoch():
    runs = records.load_study("digits-selection")
    for recipe in {run["recipe"]["name"] for run in runs}:
        own = [run for run in runs if run["recipe"]["name"] == recipe]
        assert len(selection.chosen(own)) == 20
        assert all(len(run["evaluations"]["iteration"]) == 25 for run in own)


def test_selection_imports_no_torch():
    code = "import sys, resnet_nb.scoreboard.selection, resnet_nb.figures.chosen; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
