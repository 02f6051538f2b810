"""Equality is shown only by an interval within a margin that was stated beforehand, and pairs differ in one thing alone."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from record_examples import training_record
from scipy.stats import ttest_1samp

from resnet_nb.errors import InputError
from resnet_nb.scoreboard.equivalence import Equivalence, equivalent, pairs

errors = st.integers(400, 1500).map(lambda hundredths: hundredths / 100)
paired = st.lists(st.tuples(errors, errors), min_size=2, max_size=8).map(np.transpose)
MARGINS, LEVELS = st.sampled_from([0.05, 0.3, 2.0]), st.sampled_from([0.8, 0.95, 0.99])


def test_five_pairs_by_hand() -> None:
    """Differences 0.1, 0.1, -0.1, 0, 0.1: mean 0.04, s² = (3 · 0.06² + 0.14² + 0.04²) / 4 = 0.008; t at 95 %, four degrees, is 2.131847."""
    a = np.array([8.6, 8.7, 8.8, 8.9, 9.0])
    found = equivalent(a, a + [0.1, 0.1, -0.1, 0.0, 0.1], margin=0.3)
    half = 2.131847 * 0.04  # s / √5 = √0.0016
    assert found.pairs == 5 and found.difference == pytest.approx(0.04)
    assert found.interval == pytest.approx((0.04 - half, 0.04 + half), abs=1e-6)
    assert found.p == pytest.approx(0.00145, abs=1e-4)  # t = (0.3 - 0.04) / 0.04 = 6.5, one-sided
    assert found.verdict == "equivalent"


@given(paired, MARGINS)
def test_p_is_the_larger_of_scipys_two_one_sided_tests(values: np.ndarray, margin: float) -> None:
    a, b = values
    assume(np.std(b - a) > 1e-6)
    above, below = ttest_1samp(b - a, -margin, alternative="greater"), ttest_1samp(b - a, margin, alternative="less")
    assert equivalent(a, b, margin).p == pytest.approx(max(above.pvalue, below.pvalue), rel=1e-6, abs=1e-12)


@given(paired, MARGINS, LEVELS)
def test_the_tests_reject_where_the_interval_lies_within_the_margin(values: np.ndarray, margin: float, level: float) -> None:
    found = equivalent(*values, margin, level)
    assume(abs(found.p - (1 - level)) > 1e-9)
    assert (found.verdict == "equivalent") == (found.p < 1 - level)


@given(paired, MARGINS)
def test_exchanging_the_two_changes_the_sign_and_not_the_verdict(values: np.ndarray, margin: float) -> None:
    forth, back = equivalent(*values, margin), equivalent(*values[::-1], margin)
    assert (back.difference, back.interval) == (-forth.difference, pytest.approx(tuple(-end for end in forth.interval[::-1])))
    assert back.p == pytest.approx(forth.p) and back.verdict == forth.verdict


@given(paired, st.floats(0.05, 1), st.floats(1, 3))
def test_what_is_equivalent_within_a_margin_is_so_within_a_wider_one(values: np.ndarray, margin: float, wider: float) -> None:
    if equivalent(*values, margin).verdict == "equivalent":
        assert equivalent(*values, margin * wider).verdict == "equivalent"


@pytest.mark.parametrize(
    "interval, verdict",
    [
        ((-0.29, 0.29), "equivalent"),
        ((-0.3, 0.1), "undecided"),
        ((0.1, 0.5), "undecided"),
        ((-1.0, 1.0), "undecided"),
        ((0.31, 0.9), "different by more than the margin"),
        ((-0.9, -0.31), "different by more than the margin"),
        ((0.1, 0.2), "equivalent"),  # a difference that is shown, and shown to be small
    ],
)
def test_verdict_is_where_the_interval_lies(interval: tuple[float, float], verdict: str) -> None:
    assert Equivalence(5, sum(interval) / 2, interval, 0.3, 0.5).verdict == verdict


def test_no_difference_shown_is_no_equality() -> None:
    """A paired t test finds nothing in these (p = 0.42), and neither do they lie within 0.3 points."""
    a, b = [8.0, 9.0, 8.5], [8.6, 8.7, 9.1]
    assert ttest_1samp(np.subtract(b, a), 0).pvalue == pytest.approx(0.42, abs=0.01)
    assert equivalent(a, b, 0.3).verdict == "undecided"


@pytest.mark.parametrize(
    "shift, p, verdict",
    [(0.0, 0.0, "equivalent"), (0.25, 0.0, "equivalent"), (0.5, 0.5, "undecided"), (1.0, 1.0, "different by more than the margin")],
)
def test_pairs_without_spread_are_certain(shift: float, p: float, verdict: str) -> None:
    found = equivalent([8.0, 9.0], [8.0 + shift, 9.0 + shift], margin=0.5)
    assert (found.p, found.verdict) == (p, verdict)


@pytest.mark.parametrize(
    "a, b, margin, level, words",
    [
        ([8.0], [8.0], 0.3, 0.95, "at least two"),
        ([8.0, 9.0], [8.0], 0.3, 0.95, "not pairs"),
        ([[8.0, 9.0]], [[8.0, 9.0]], 0.3, 0.95, "not pairs"),
        ([8.0, float("nan")], [8.0, 9.0], 0.3, 0.95, "not finite"),
        ([8.0, 9.0], [8.0, 9.0], 0.0, 0.95, "margin is positive"),
        ([8.0, 9.0], [8.0, 9.0], 0.3, 0.5, "between 0.5 and 1"),
    ],
)
def test_what_is_no_paired_sample_is_refused(a: list, b: list, margin: float, level: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        equivalent(a, b, margin, level)


# Pairs of records


def run(seed: int, error: float, precision: str = "float32", model: str = "resnet20", **changes: object) -> dict:
    recipe = {"name": f"own,precision={precision}"} | ({} if precision == "float32" else {"precision": precision})  # as records leave out a default
    return training_record(**{"seed": seed, "model": {"name": model}, "final": {"test_error": error}, "recipe": recipe, **changes})


def test_pairs_are_of_one_model_and_seed_with_the_default_first() -> None:
    found = pairs([run(1, 9.1, "bfloat16"), run(0, 8.0), run(1, 9.0), run(0, 8.2, "bfloat16"), run(2, 7.0)])  # seed 2 has no partner yet
    assert list(found.columns) == ["model", "seed", "float32", "bfloat16"]
    assert found.to_numpy().tolist() == [["resnet20", 0, 8.0, 8.2], ["resnet20", 1, 9.0, 9.1]]
    assert equivalent(found["float32"], found["bfloat16"], 0.3).difference == pytest.approx(0.15)


def test_models_may_differ_in_what_their_depth_decides() -> None:
    """ResNet-110's recipe has a warm-up, ResNet-20's has none."""
    changed = [run(0, 7.0, kind, "resnet110") for kind in ("float32", "bfloat16")]
    for record in changed:
        record["recipe"]["warmup_iterations"] = 400
    assert list(pairs([*changed, run(0, 8.0), run(0, 8.1, "bfloat16")])["model"]) == ["resnet110", "resnet20"]


def test_another_field_makes_pairs_too() -> None:
    clipped = run(0, 7.5)
    clipped["recipe"]["clip_norm"] = 1.0
    assert pairs([clipped, run(0, 8.0)], "clip_norm").to_numpy().tolist() == [["resnet20", 0, 8.0, 7.5]]


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"iterations": 100}, "iterations"),
        ({"width": 16}, "width"),
        ({"data": {"split": "1000/400"}}, "data split"),
        ({"data": {"fingerprint": "sha256:" + "1" * 64}}, "data fingerprint"),
        ({"recipe": {"precision": "bfloat16", "rate": 0.1}}, "rate"),
        ({"recipe": {"precision": "bfloat16", "clip_norm": 1.0}}, "clip_norm"),
        ({"protocol": "10-crop"}, "protocol"),
        ({"provenance": {"device": "cuda"}}, "device"),
    ],
)
def test_runs_that_differ_in_more_are_refused(changes: dict, what: str) -> None:
    other = run(0, 8.1, "bfloat16", **{name: value for name, value in changes.items() if name != "width"})
    other["model"]["width"] = changes.get("width", 8)
    with pytest.raises(InputError, match=f"differ in {what} too"):
        pairs([run(0, 8.0), other])


@pytest.mark.parametrize(
    "records, words",
    [
        ([], "0 values"),
        ([run(0, 8.0), run(1, 8.0)], "1 values"),
        ([run(0, 8.0), run(1, 8.0, "bfloat16")], "No seed was run with both float32 and bfloat16"),
        ([run(0, 8.0), run(0, 8.0), run(0, 8.1, "bfloat16")], "Two runs are of one model"),
    ],
)
def test_what_makes_no_pairs_is_refused(records: list[dict], words: str) -> None:
    with pytest.raises(InputError, match=words):
        pairs(records)
