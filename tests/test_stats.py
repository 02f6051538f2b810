"""Intervals and tests, against hand arithmetic, brute force, and what must hold for every input."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from resnet_nb.stats import depth_trend, mean_interval, prediction_interval, reproduced, sign_test, wilson_interval

T4 = 2.7764451051977987  # the 97.5 % point of Student's t with 4 degrees of freedom, from printed tables (2.776)
FIVE = [6.4, 6.5, 6.6, 6.7, 6.8]  # mean 6.6, s² = (0.04 + 0.01 + 0 + 0.01 + 0.04) / 4 = 0.025
runs = st.lists(st.floats(0, 100), min_size=2, max_size=12)
counts = st.integers(1, 50_000).flatmap(lambda images: st.tuples(st.integers(0, images), st.just(images)))


# One net, many images


def test_wilson_agrees_with_hand_arithmetic():
    """10 wrong of 100: (0.1 + 1.9208/100 ± 1.96 √(0.09/100 + 0.9604/10⁴)) / (1 + 3.8416/100), z = 1.96."""
    assert wilson_interval(10, 100) == pytest.approx((5.5229, 17.4366), abs=1e-3)


def test_wilson_bounds_are_the_rates_that_the_test_just_accepts():
    """Brute force: over a fine grid, the rates p with |wrong/images − p| ≤ z √(p (1 − p) / images)."""
    grid = np.linspace(0, 1, 1_000_001)
    for wrong, images in [(0, 10), (3, 10), (661, 10_000), (397, 397)]:
        accepted = grid[abs(wrong / images - grid) <= 1.959963984540054 * np.sqrt(grid * (1 - grid) / images)]
        assert wilson_interval(wrong, images) == pytest.approx((100 * accepted[0], 100 * accepted[-1]), abs=2e-4)


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(count, level):
    low, high = binomtest(*count).proportion_ci(level, method="wilson")
    assert wilson_interval(*count, level) == pytest.approx((100 * low, 100 * high), abs=1e-9)


@given(counts)
def test_wilson_holds_the_rate_and_stays_within_0_and_100(count):
    wrong, images = count
    low, high = wilson_interval(wrong, images)
    assert 0 <= low <= 100 * wrong / images <= high <= 100 and low < high


@given(counts)
def test_wilson_of_right_answers_mirrors_that_of_wrong_ones(count):
    wrong, images = count
    low, high = wilson_interval(wrong, images)
    assert wilson_interval(images - wrong, images) == pytest.approx((100 - high, 100 - low), abs=1e-9)


@given(counts)
def test_ten_times_the_images_give_a_narrower_interval(count):
    wrong, images = count
    (low, high), (lower, higher) = wilson_interval(wrong, images), wilson_interval(10 * wrong, 10 * images)
    assert higher - lower < high - low


@pytest.mark.parametrize("wrong, images", [(-1, 10), (11, 10), (0, 0)])
def test_counts_that_cannot_be_are_refused(wrong, images):
    with pytest.raises(ValueError, match="cannot be"):
        wilson_interval(wrong, images)


# Several seeds


def test_prediction_interval_agrees_with_hand_arithmetic():
    half = T4 * math.sqrt(0.025) * math.sqrt(1.2)
    assert prediction_interval(FIVE) == pytest.approx((6.6 - half, 6.6 + half))


def test_five_seeds_with_a_deviation_of_0_2_predict_within_0_6():
    """As the definition of "reproduced" says."""
    steps = np.array([-2, -1, 0, 1, 2]) * 0.2 / math.sqrt(2.5)
    low, high = prediction_interval(steps)
    assert (round(low, 1), round(high, 1)) == (-0.6, 0.6)


def test_mean_interval_agrees_with_hand_arithmetic():
    half = T4 * math.sqrt(0.025 / 5)
    assert mean_interval(FIVE) == pytest.approx((6.6 - half, 6.6 + half))


@pytest.mark.parametrize("seeds", [2, 5])
def test_one_more_run_falls_into_the_prediction_interval_as_often_as_it_says(seeds):
    generator = np.random.default_rng(0)
    inside = 0
    for sample in generator.normal(7, 0.2, (4000, seeds + 1)):
        low, high = prediction_interval(sample[:-1], level=0.8)
        inside += low <= sample[-1] <= high
    assert inside / 4000 == pytest.approx(0.8, abs=0.025)  # four standard errors


@given(runs)
def test_prediction_interval_is_the_mean_interval_widened_by_the_root_of_n_plus_1(values):
    middle = np.mean(values)
    (low, high), (lower, higher) = mean_interval(values), prediction_interval(values)
    assert low <= middle + 1e-9 and middle <= high + 1e-9
    assert higher - lower == pytest.approx((high - low) * math.sqrt(len(values) + 1), abs=1e-9)


@given(runs, st.floats(-50, 50), st.floats(0.1, 10))
def test_intervals_follow_a_change_of_unit(values, shift, scale):
    for interval in (mean_interval, prediction_interval):
        expected = [shift + scale * bound for bound in interval(values)]
        assert interval([shift + scale * value for value in values]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(runs)
def test_a_higher_level_is_a_wider_interval(values):
    assume(np.std(values) > 1e-9)
    (low, high), (lower, higher) = prediction_interval(values, 0.9), prediction_interval(values, 0.99)
    assert lower < low and high < higher


@pytest.mark.parametrize("interval", [mean_interval, prediction_interval])
def test_one_run_shows_no_spread(interval):
    with pytest.raises(ValueError, match="at least two runs"):
        interval([6.5])
    with pytest.raises(ValueError, match="missing"):
        interval([6.5, math.nan])


# Reproduced


def test_the_papers_mean_is_reproduced_by_five_runs_around_it():
    assert reproduced(6.61, FIVE, margin=0.6) == "reproduced"


def test_a_value_outside_the_prediction_interval_is_not_reproduced():
    high = prediction_interval(FIVE)[1]
    assert reproduced(high, FIVE, margin=5) == "reproduced"
    assert reproduced(high + 1e-6, FIVE, margin=5) == "not reproduced"
    assert reproduced(2 * 6.6 - high - 1e-6, FIVE, margin=5) == "not reproduced"


def test_a_wide_spread_does_not_reproduce_everything():
    wild = [4.0, 6.0, 8.0, 10.0, 12.0]
    low, high = prediction_interval(wild)
    assert low < 6.0 < high
    assert reproduced(6.0, wild, margin=0.6) == "not reproduced"
    assert reproduced(7.4, wild, margin=0.6) == "reproduced"  # the margin's end counts as inside


def test_few_runs_reproduce_nothing():
    assert reproduced(6.61, FIVE[:2], margin=0.6) == "too few runs"
    assert reproduced(6.61, [], margin=0.6) == "too few runs"
    assert reproduced(6.5, FIVE[:3], margin=0.6) == "reproduced"
    assert reproduced(6.5, FIVE[:3], margin=0.6, fewest=5) == "too few runs"


@given(runs, st.floats(0, 100), st.floats(0, 10), st.floats(0, 10))
def test_a_wider_margin_never_takes_a_reproduction_back(values, published, margin, more):
    if reproduced(published, values, margin=margin) == "reproduced":
        assert reproduced(published, values, margin=margin + more) == "reproduced"


# Depth


def table_of(errors: dict[int, list[float]], family: str = "plain") -> pd.DataFrame:
    """One row a net: errors by depth, seeds 0, 1, 2 and so on."""
    return pd.DataFrame(
        [(family, depth, seed, error) for depth, values in errors.items() for seed, error in enumerate(values)],
        columns=["family", "depth", "seed", "train_error"],
    )


def test_sign_test_agrees_with_every_outcome_counted():
    for pairs in range(1, 9):
        outcomes = [sum(signs) for signs in itertools.product((0, 1), repeat=pairs)]
        for higher in range(pairs + 1):
            extreme = sum(abs(2 * outcome - pairs) >= abs(2 * higher - pairs) for outcome in outcomes)
            assert sign_test(higher, pairs) == pytest.approx(extreme / 2**pairs)
    assert sign_test(0, 0) == 1.0


def test_five_seeds_that_agree_give_one_in_sixteen():
    errors = {8: [0.0, 0.1, 0.2, 0.3, 0.4], 20: [9.0] * 5, 56: [58.0, 28.0, 44.0, 30.0, 50.0]}
    trend = depth_trend(table_of(errors), "train_error")
    assert (trend.family, trend.shallow, trend.deep, trend.seeds) == ("plain", 8, 56, (0, 1, 2, 3, 4))
    assert trend.differences == pytest.approx((58.0, 27.9, 43.8, 29.7, 49.6))
    assert trend.mean_difference == pytest.approx(41.8)
    assert (trend.higher, trend.ties, trend.p) == (5, 0, pytest.approx(1 / 16))


def test_ties_are_counted_and_left_out_of_the_test():
    trend = depth_trend(table_of({8: [0.0, 0.0, 0.0, 1.0], 56: [0.0, 0.0, 2.0, 0.0]}, "residual"), "train_error")
    assert (trend.higher, trend.ties, trend.p) == (1, 2, 1.0)


def test_only_seeds_of_both_depths_are_compared():
    trend = depth_trend(table_of({8: [1.0, 2.0, 3.0], 56: [5.0, 1.0]}), "train_error")
    assert (trend.seeds, trend.differences) == ((0, 1), (4.0, -1.0))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=9))
def test_swapping_shallow_and_deep_turns_the_trend_round(pairs):
    shallow, deep = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    trend, other = (depth_trend(table_of({8: a, 56: b}), "train_error") for a, b in ((shallow, deep), (deep, shallow)))
    assert trend.differences == tuple(-difference for difference in other.differences)
    assert trend.higher + other.higher + trend.ties == len(pairs)
    assert trend.p == pytest.approx(other.p)


@pytest.mark.parametrize(
    "table, words",
    [
        (pd.concat([table_of({8: [1.0], 56: [2.0]}), table_of({8: [1.0]}, "residual")]), "one family, not 2"),
        (table_of({}), "one family, not 0"),
        (table_of({8: [1.0, 2.0]}), "two depths"),
        (pd.concat([table_of({8: [1.0], 56: [2.0]})] * 2), "one depth and seed"),
        (table_of({8: [1.0], 56: [math.nan]}), "missing values"),
        (table_of({8: [1.0], 56: [2.0]}).assign(seed=[0, 1]), "No seed"),
    ],
)
def test_tables_that_give_no_trend_are_refused(table, words):
    with pytest.raises(ValueError, match=words):
        depth_trend(table, "train_error")


def test_statistics_import_no_torch():
    code = "import sys, resnet_nb.stats; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
