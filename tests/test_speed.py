"""Times to a loss are read off the curves by hand arithmetic, and the two laws of growth are told apart only where the data do."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import log_ndtr

from resnet_nb.errors import InputError
from resnet_nb.findings.speed import at_best_rate, compare_laws, fit_law, in_words, medians, medians_by_setting, times_to_loss

DEPTHS = (8, 20, 32, 44, 56, 74, 110)


def record(model: str, losses: list[float], rate: float = 0.05, seed: int = 0) -> dict:
    """As much of a record as has to do with times."""
    steps = [5 * (place + 1) for place in range(len(losses))]
    return {
        "model": {"name": model, "width": 8, "init": "he-fan-in"},
        "data": {"name": "digits"},
        "recipe": {"rate": rate},
        "seed": seed,
        "curve": {"iteration": steps, "loss": losses},
    }


def times(
    growth, seeds: int = 5, seed_spread: float = 0.1, depth_spread: float = 0.03, cap: float = np.inf, seed: int = 0, half: float = 1e-6
) -> pd.DataFrame:
    """Simulated runs whose median number of iterations at a depth is growth(depth)."""
    random, rows = np.random.default_rng(seed), []
    for depth in DEPTHS:
        off = random.normal(0, depth_spread)
        for number in range(seeds):
            time = growth(depth) * np.exp(off + random.normal(0, seed_spread))
            rows.append(("plain", depth, number, 0.5, 0.05, *((time - half, time + half) if time < cap else (cap, np.inf))))
    return pd.DataFrame(rows, columns=["family", "depth", "seed", "loss", "rate", "after", "until"])


def test_a_time_lies_between_two_points_of_the_curve_or_is_censored() -> None:
    runs = [record("plain20", [2.0, 0.9, 1.1, 0.4]), record("resnet20", [0.3])]
    found = times_to_loss(runs, (1.0, 0.5, 0.15)).set_index(["family", "loss"])[["after", "until"]]
    assert tuple(found.loc["plain", 1.0]) == (5, 10)  # the first time under it, though the next point is above
    assert tuple(found.loc["plain", 0.5]) == (15, 20)
    assert tuple(found.loc["plain", 0.15]) == (20, np.inf)
    assert tuple(found.loc["residual", 1.0]) == (0, 5)


def test_the_best_rate_is_chosen_among_those_with_the_most_seeds() -> None:
    waits = {0.01: [0], 0.02: [4, 6, 5], 0.05: [7, 2, 1], 0.1: [9]}  # points above the loss, seed by seed
    runs = [record("plain20", [2.0] * wait + [0.1], rate, seed) for rate, all in waits.items() for seed, wait in enumerate(all)]
    best = at_best_rate(times_to_loss(runs, (1.0,)))
    assert set(best["rate"]) == {0.05} and len(best) == 3  # medians of 2 against 5; the lone run at 0.01 is a trial
    assert not best["at_edge"].any()
    assert at_best_rate(times_to_loss(runs[:-1], (1.0,)))["at_edge"].all()
    lucky = {0.1: [0, 9, 9], 0.2: [3, 3, 3]}  # the luckiest seed is the first rate's, the median the second's
    runs = [record("plain20", [2.0] * wait + [0.1], rate, seed) for rate, all in lucky.items() for seed, wait in enumerate(all)]
    assert set(at_best_rate(times_to_loss(runs, (1.0,)))["rate"]) == {0.2}
    never = {0.1: [3, 3, None], 0.2: [3, 3, 3]}  # equal medians, and one run that never arrives
    runs = [
        record("plain20", [2.0] * (wait or 9) + ([0.1] if wait else []), rate, seed) for rate, all in never.items() for seed, wait in enumerate(all)
    ]
    assert set(at_best_rate(times_to_loss(runs, (1.0,)))["rate"]) == {0.2}
    tied = [record("plain20", [2.0] * 3, rate) for rate in (0.02, 0.01)]
    assert set(at_best_rate(times_to_loss(tied, (1.0,)))["rate"]) == {0.01}


def test_a_median_of_censored_runs_is_a_bound() -> None:
    table = times(lambda depth: 100.0, seeds=3).query("depth == 8").copy()
    table["after"], table["until"] = [100.0, 800.0, 800.0], [105.0, np.inf, np.inf]
    row = medians(table).iloc[0]
    assert (row["iterations"], row["censored"], row["reached"], row["runs"]) == (800, True, 1, 3)
    assert medians(table[:2]).iloc[0]["iterations"] == (102.5 + 800) / 2  # between a time and a bound: a lower bound of their mean
    table["until"] = [105.0, 900.0, np.inf]
    row = medians(table).iloc[0]
    assert (row["iterations"], row["censored"], row["reached"], row["lowest"], row["highest"]) == (850, False, 2, 102.5, np.inf)


def test_each_setting_chooses_its_own_rates() -> None:
    rows = [("wide", 0.1, 48, 52), ("wide", 0.2, 8, 12), ("narrow", 0.1, 18, 22), ("narrow", 0.2, 48, 52)]
    table = pd.DataFrame(rows, columns=["setting", "rate", "after", "until"]).assign(family="plain", depth=8, seed=0, loss=0.5)
    for parts in ([table], [table[:2], table[2:]]):
        middle = medians_by_setting(*parts).set_index("setting")["iterations"]
        assert list(middle.index) == ["wide", "narrow"] and list(middle) == [10, 20]
    deeper = table.assign(depth=20, until=[np.inf, np.inf, 62, 62], after=[800, 800, 58, 58])
    middle = medians_by_setting(deeper, table)
    assert list(middle["factor"]) == [1, 80, 1, 3] and list(in_words(middle)) == ["10", ">800", "20", "60"]


def test_a_setting_says_what_departs_from_the_papers_nets() -> None:
    usual, bare = record("plain8", [1.0, 0.1]), record("plain8", [1.0, 0.1])
    bare["model"] |= {"init": "delta-orthogonal", "norm": "none", "width": 16}
    found = times_to_loss([usual, bare], (0.5,))["setting"]
    assert list(found) == ["digits, width 8", "digits, width 16, delta-orthogonal, no normalisation"]


def test_growth_is_the_ratio_of_medians_to_the_shallowest_nets() -> None:
    rows = [(8, 0, 18, 22), (8, 1, 23, 27), (8, 2, 28, 32), (56, 0, 98, 102), (56, 1, 148, 152), (56, 2, 800, np.inf)]
    table = pd.DataFrame(rows, columns=["depth", "seed", "after", "until"]).assign(family="plain", loss=0.5)
    assert list(medians(table)["factor"]) == [1, 150 / 25]
    table.loc[[0, 1], ["after", "until"]] = 800, np.inf
    assert medians(table)["factor"].isna().all()  # to a bound there is no ratio


def test_without_bounds_a_law_is_ordinary_regression_and_its_interval_is_students() -> None:
    middle = medians(times(lambda depth: 20 * np.exp(0.03 * depth), depth_spread=0.2))
    for name, place in (("exponential", middle["depth"]), ("power law", np.log(middle["depth"]))):
        line, law = stats.linregress(place, np.log(middle["iterations"])), fit_law(name, middle)
        half = stats.t.ppf(0.975, len(middle) - 2) * line.stderr
        assert law.slope == pytest.approx(line.slope, rel=1e-4) and law.intercept == pytest.approx(line.intercept, rel=1e-4)
        assert law.slope_interval == pytest.approx((line.slope - half, line.slope + half), rel=1e-3)
        assert law.growth(8, 56) == pytest.approx(law.iterations([56])[0] / law.iterations([8])[0])


def test_with_bounds_no_other_line_is_likelier() -> None:
    middle = medians(times(lambda depth: 20 * np.exp(0.04 * depth), cap=300))
    assert middle["censored"].sum() >= 2
    law, known = fit_law("exponential", middle), ~middle["censored"].to_numpy()

    def likelihood(intercept: float, slope: float, spread: float) -> float:
        off = (np.log(middle["iterations"]) - intercept - slope * middle["depth"]).to_numpy() / spread
        return stats.norm.logpdf(off[known]).sum() - known.sum() * np.log(spread) + log_ndtr(-off[~known]).sum()

    assert likelihood(law.intercept, law.slope, law.spread) == pytest.approx(law.log_likelihood, abs=1e-4)
    for change in (-0.01, 0.01):
        for place in np.eye(3):
            moved = np.array([law.intercept, law.slope, law.spread]) * (1 + change * place)
            assert likelihood(*moved) < law.log_likelihood
    assert law.slope == pytest.approx(0.04, abs=0.008)
    assert np.isinf(middle["highest"]).any()


@pytest.mark.parametrize(
    ("growth", "verdict"),
    [
        (lambda depth: 20 * np.exp(0.035 * depth), "exponential"),
        (lambda depth: 4 * depth**1.2, "power law"),
        (lambda depth: 50.0, "no growth shown"),
    ],
)
def test_the_verdict_is_the_law_that_made_the_data(growth, verdict: str) -> None:
    assert compare_laws(times(growth, depth_spread=0.02, seed_spread=0.02)).verdict == verdict


def test_a_law_that_one_seed_decides_is_not_decided() -> None:
    clear = compare_laws(times(lambda depth: 20 * np.exp(0.035 * depth), depth_spread=0.02, seed_spread=0.02))
    assert min(clear.ratio, *clear.ratio_without, clear.over_floor, clear.over_floor_without) > 20
    consistent = "consistent with exponential, not shown"
    assert dataclasses.replace(clear, ratio_without=(19, 1e9)).verdict == consistent
    assert dataclasses.replace(clear, over_floor=19).verdict == consistent
    assert dataclasses.replace(clear, over_floor_without=19).verdict == consistent
    assert dataclasses.replace(clear, ratio=19, ratio_without=(19, 19)).verdict == "not decided"


def test_a_verdict_that_needs_every_seed_is_not_decided() -> None:
    table = times(lambda depth: 20 * np.exp(0.035 * depth), seeds=3).query("depth <= 44").copy()
    table.loc[(table["depth"] == 44) & (table["seed"] == 2), ["after", "until"]] = 800, np.inf
    both = compare_laws(table)  # without seed 0 or 1 most of the runs of 44 layers are bounds: three depths are left, which decide nothing
    assert both.ratio_without[0] <= 1.0 < both.ratio and both.verdict != "exponential"


def test_a_power_law_above_a_floor_is_no_exponential() -> None:
    both = compare_laws(times(lambda depth: 30 + 0.005 * depth**2.8, depth_spread=0.02))
    assert both.verdict not in ("exponential", "power law") and both.over_floor < 1


def test_one_depth_that_speaks_for_a_floor_is_enough_to_doubt_the_exponential() -> None:
    both = compare_laws(times(lambda depth: 20 * np.exp(0.035 * depth)))
    assert min(both.ratio, *both.ratio_without, both.over_floor) > 20 > both.over_floor_without
    assert both.verdict == "consistent with exponential, not shown"


def test_the_spacing_of_the_curve_is_part_of_the_spread() -> None:
    sharp = compare_laws(times(lambda depth: 20 * np.exp(0.035 * depth), depth_spread=0.01, seed_spread=0.01))
    blunt = compare_laws(times(lambda depth: 20 * np.exp(0.035 * depth), depth_spread=0.01, seed_spread=0.01, half=6))
    assert 1 < blunt.ratio < sharp.ratio / 10


def test_data_between_the_laws_are_not_decided() -> None:
    assert compare_laws(times(lambda depth: 8 * np.exp(0.33 * depth**0.5), depth_spread=0.1)).verdict == "not decided"


@settings(max_examples=10, deadline=None)
@given(factor=st.floats(0.2, 20), seed=st.integers(0, 100))
def test_counting_in_other_units_changes_no_verdict(factor: float, seed: int) -> None:
    table = times(lambda depth: 20 * np.exp(0.02 * depth), depth_spread=0.2, seed=seed)
    scaled = table.assign(after=table["after"] * factor, until=table["until"] * factor)
    first, second = fit_law("power law", medians(table)), fit_law("power law", medians(scaled))
    assert first.slope == pytest.approx(second.slope, rel=1e-3)
    assert first.log_likelihood == pytest.approx(second.log_likelihood, abs=1e-4)


def test_too_few_depths_or_an_unknown_law_are_refused() -> None:
    middle = medians(times(lambda depth: 50.0))
    with pytest.raises(InputError, match="4 depths"):
        fit_law("exponential", middle.assign(censored=middle["depth"] > 32))
    with pytest.raises(InputError, match="exponential, power law"):
        fit_law("linear", middle)
