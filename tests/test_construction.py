"""Whether a run left the solution that it was given is read off its curve by hand arithmetic."""

import pandas as pd
import pytest

from resnet_nb.findings.construction import beside_evaluations, departures, departures_by_setting, smoothed


def run(errors: list[float], family: str = "plain", rate: float = 0.05, seed: int = 0) -> pd.DataFrame:
    table = pd.DataFrame({"iteration": range(1, len(errors) + 1), "error": errors})
    return table.assign(family=family, depth=56, rate=rate, seed=seed)


def test_a_net_has_left_when_the_mean_of_five_batches_is_over_five_percent() -> None:
    curves = pd.concat([run([0, 0, 0, 0, 0, 24, 0, 0]), run([0, 0, 0, 0, 25.5, 0, 0, 0], seed=1), run([10, 20, 0, 0, 0, 0], "residual")])
    found = departures(curves).set_index(["family", "seed"])
    assert not found.loc[("plain", 0), "left"] and found.loc[("plain", 0), "highest"] == pytest.approx(4.8)
    assert found.loc[("plain", 1), "left"] and found.loc[("plain", 1), "left_at"] == 5
    assert found.loc[("residual", 0), "left_at"] == 1  # fewer than five batches are averaged as they are
    assert pd.isna(found.loc[("plain", 0), "left_at"])
    assert found.loc[("plain", 1), "end"] == pytest.approx(25.5 / 8)
    assert departures(run([50.0] * 30 + [1.0] * 20))["end"].item() == 1


def test_runs_of_other_seeds_and_rates_are_kept_apart_whatever_their_order() -> None:
    curves = pd.concat([run([0.0] * 9, seed=2), run([100.0] * 9, rate=0.01, seed=2), run([40.0] * 9, seed=1)]).sample(frac=1, random_state=0)
    assert smoothed(curves)["batches"].groupby([smoothed(curves)[name] for name in ("rate", "seed")]).nunique().eq(1).all()
    by = departures_by_setting(curves).set_index("rate")
    assert by["left"].to_dict() == {0.01: 1, 0.05: 1} and by["runs"].to_dict() == {0.01: 1, 0.05: 2}
    assert (by.loc[0.05, "best_end"], by.loc[0.05, "end"], by.loc[0.05, "worst_end"]) == (0, 20, 40)


def test_an_evaluation_is_put_beside_the_batches_of_its_own_run_and_iteration() -> None:
    curves = pd.concat([run([float(n) for n in range(10)]), run([50.0] * 10, seed=1)])
    evaluated = pd.DataFrame({"family": "plain", "depth": 56, "rate": 0.05, "seed": [0, 1], "iteration": [10, 5], "train_error": [80.0, 90.0]})
    both = beside_evaluations(curves, evaluated).set_index("seed")
    assert both["batches"].to_dict() == {0: 7.0, 1: 50.0} and both["train_error"].to_dict() == {0: 80.0, 1: 90.0}
