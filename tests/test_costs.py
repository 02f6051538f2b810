"""Costs are sums and medians of what records say, and products of what the paper prints."""

import math

import pandas as pd
import pytest
from record_examples import training_record

from resnet_nb.errors import InputError
from resnet_nb.scoreboard.costs import COLUMNS, costs, imagenet_costs


def run(
    seconds: float, *, iterations: int = 200, model: str = "plain20", study: str = "a-study", recipe: dict | None = None, **where: object
) -> dict:
    provenance = {"wall_seconds": seconds, **where}
    return training_record(model={"name": model}, study=study, provenance=provenance, final={"iteration": iterations}, recipe=recipe or {})


def test_three_runs_by_hand() -> None:
    """200 iterations of 128 images are 25,600: in 64, 100 and 256 seconds, 400, 256 and 100 images a second."""
    (row,) = costs([run(64), run(256), run(100)]).to_dict("records")
    assert list(row) == COLUMNS
    assert (row["study"], row["model"], row["width"], row["precision"], row["device"]) == ("a-study", "plain20", 8, "float32", "a processor")
    assert (row["runs"], row["iterations"], row["images_per_second"]) == (3, 200, 256)
    assert row["minutes"] == pytest.approx(100 / 60) and row["hours"] == pytest.approx(420 / 3600)


def test_a_run_that_ended_early_counts_what_it_took() -> None:
    (row,) = costs([run(10, iterations=50)]).to_dict("records")
    assert (row["iterations"], row["images_per_second"]) == (50, 640)


def test_what_costs_differently_has_its_own_row() -> None:
    records = [
        run(1), run(1, model="resnet20"), run(1, study="b"), run(1, device_name="a GPU"), run(1, threads=2),
        run(1, recipe={"precision": "bfloat16"}), run(1, recipe={"precision": "float32"}),
    ]  # fmt: skip
    table = costs(records)
    assert list(table["runs"]) == [2, 1, 1, 1, 1, 1] and table["hours"].sum() == pytest.approx(7 / 3600)


def test_a_run_that_went_on_elsewhere_names_both_devices() -> None:
    parts = [{"until": 50, "device": "cuda, a GPU"}, {"until": 90, "device": "cpu, a processor"}]
    assert list(costs([run(1, earlier=parts), run(1, earlier=parts[1:])])["device"]) == ["a GPU, then a processor", "a processor"]


def test_a_model_without_a_width_and_a_run_without_time_keep_their_rows() -> None:
    record = run(0, model="torchvision:resnet18")
    record["model"]["width"] = None
    (row,) = costs([record]).to_dict("records")
    assert pd.isna(row["width"]) and math.isnan(row["images_per_second"]) and row["runs"] == 1


def test_evaluations_cost_no_training_and_no_records_make_an_empty_table() -> None:
    assert costs([]).empty and costs([{"kind": "evaluation"}]).empty and list(costs([]).columns) == COLUMNS


def test_resnet_50_on_imagenet_by_hand() -> None:
    """600,000 iterations of 256 are 153.6 million images; 3.8 billion multiply-adds are 22.8 GFLOP in training; 400 images/s are 384,000 s."""
    row = imagenet_costs({"resnet50": 400.0}).set_index("model").loc["resnet50"]
    assert (row["images"], row["gmacs"]) == (153_600_000, 3.8)
    assert row["epochs"] * 1_281_167 == pytest.approx(row["images"], rel=1e-3)
    assert row["exaflop"] == pytest.approx(3.50208)
    assert row["hours"] == pytest.approx(384_000 / 3600) and row["flops_per_second"] == pytest.approx(9.12e12)


def test_a_net_without_a_rate_has_its_operations_and_no_hours() -> None:
    table = imagenet_costs()
    assert list(table["model"]) == ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
    assert table["exaflop"].is_monotonic_increasing and table[["hours", "images_per_second", "flops_per_second"]].isna().all(axis=None)


@pytest.mark.parametrize("rates", ({"resnet20": 400.0}, {"resnet50": 0.0}, {"resnet50": float("nan")}))
def test_a_rate_of_no_use_is_refused(rates: dict) -> None:
    with pytest.raises(InputError, match="is not of this table"):
        imagenet_costs(rates)
