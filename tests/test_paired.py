"""Paired comparisons, against hand arithmetic, SciPy, and what must hold for every pair."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnet_nb.findings.paired import bootstrap_difference, mcnemar

tables = st.tuples(*[st.integers(0, 40)] * 4).filter(any)


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of right and wrong with these counts, mixed."""
    counts = [both, only_a, only_b, neither]
    a, b = np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)
    order = np.random.default_rng(0).permutation(len(a))
    return a[order], b[order]


def test_mcnemar_agrees_with_hand_arithmetic():
    """1 against 5: the chance of at most 1 head or at least 5 in 6 throws is 2 (1 + 6) / 64."""
    found = mcnemar(*pairs(80, 1, 5, 14))
    assert (found.images, found.only_a, found.only_b, found.p) == (100, 1, 5, pytest.approx(14 / 64))
    assert found.difference == pytest.approx(-4.0)


@given(tables)
def test_mcnemar_is_scipys_binomial_test_of_the_discordant_pairs(counts):
    both, only_a, only_b, neither = counts
    found = mcnemar(*pairs(*counts))
    assert (found.images, found.only_a, found.only_b) == (sum(counts), only_a, only_b)
    assert found.p == (stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)


@given(tables)
def test_images_that_both_get_right_or_wrong_change_no_p(counts):
    assert mcnemar(*pairs(*counts)).p == mcnemar(*pairs(counts[0] + 1000, *counts[1:3], counts[3] + 1)).p


@given(tables)
def test_exchanging_the_two_turns_the_difference_round(counts):
    a, b = pairs(*counts)
    assert mcnemar(a, b).difference == -mcnemar(b, a).difference and mcnemar(a, b).p == mcnemar(b, a).p
    assert mcnemar(a, b).difference == pytest.approx(100 * (a.mean() - b.mean()))


def test_bootstrap_agrees_with_scipys():
    a, b = pairs(700, 60, 100, 140)
    theirs = stats.bootstrap((a, b), lambda a, b: 100 * (a.mean() - b.mean()), paired=True, method="percentile", vectorized=False, rng=1)
    assert bootstrap_difference(a, b) == pytest.approx(tuple(theirs.confidence_interval), abs=0.25)  # its width is 4.9


def test_bootstrap_agrees_with_the_normal_approximation():
    """60 against 100 of 1,000: -4 points, standard error 100 √(0.16 − 0.04²) / √1000 = 1.2586."""
    assert bootstrap_difference(*pairs(700, 60, 100, 140), resamples=200_000) == pytest.approx((-6.467, -1.533), abs=0.05)


def test_bootstrap_is_repeatable_and_widens_with_its_level():
    a, b = pairs(7000, 613, 1009, 1378)
    assert bootstrap_difference(a, b, seed=3) == bootstrap_difference(a, b, seed=3) != bootstrap_difference(a, b, seed=4)
    narrow, wide = bootstrap_difference(a, b, level=0.5), bootstrap_difference(a, b, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_no_difference_has_an_interval_of_no_width():
    assert bootstrap_difference(*pairs(5, 0, 0, 3)) == (0.0, 0.0)


@pytest.mark.parametrize(
    "a, b, words",
    [
        ([True, False], [True], "not pairs"),
        (np.zeros((2, 2), bool), np.zeros((2, 2), bool), "not pairs"),
        (np.zeros(0, bool), np.zeros(0, bool), "not pairs"),
        ([3, 7], [3, 1], "bool"),
    ],
)
def test_what_is_no_pair_is_refused(a, b, words):
    with pytest.raises(ValueError, match=words):
        mcnemar(a, b)


def test_paired_tests_import_no_torch():
    code = "import sys, resnet_nb.findings.paired; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
