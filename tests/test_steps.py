"""Runs named by what sets their steps apart, with their traces and times."""

import copy
from pathlib import Path

import pandas as pd
import pytest
from record_examples import training_record

from resnet_nb import records
from resnet_nb.findings.steps import AS_IT_IS, change_of, study_or_nothing, times, traces
from resnet_nb.records import kept, signed


def record(**recipe: object) -> dict:
    made = copy.deepcopy(training_record())
    made["recipe"] |= recipe
    return signed(made)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, AS_IT_IS), ({"warmup_iterations": 40}, "warm-up"), ({"warmup_iterations": 0}, AS_IT_IS), ({"keep_norms": True}, "norms kept"),
        ({"step_limit": 0.02, "keep_norms": True}, "norms kept, steps limited to 2 %"), ({"clip_norm": 1.0}, "gradient clipped to 1"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_its_changes(recipe: dict, words: str) -> None:
    assert change_of(record(**recipe)) == words


def test_another_rate_than_the_usual_one_is_a_change() -> None:
    assert change_of(record(rate=0.02), 0.05) == "rate 0.02" and change_of(record(rate=0.05), 0.05) == AS_IT_IS


def test_traces_come_with_what_their_runs_are(tmp_path: Path) -> None:
    assert study_or_nothing("a-study", tmp_path) == []
    path = records.file_record(training_record(), "a-study", tmp_path)
    runs = study_or_nothing("a-study", tmp_path)
    assert traces(runs, tmp_path).empty and len(runs) == 1
    trace = kept.trace_text([[0, "layer1.0.conv1", 1.0, 2.0, 0.1, 0.1, 3.0], [0, "fc", 1.0, 2.0, 0.1, 0.1, 3.0]])
    assert records.file_record(training_record(), "a-study", tmp_path, beside={kept.TRACE: trace}) == path
    found = traces(runs, tmp_path)
    assert list(found["stage"]) == ["stage 1", "classifier"] and set(found["change"]) == {AS_IT_IS} and set(found["depth"]) == {20}


def test_times_are_those_of_the_running_loss() -> None:
    found = times([record(), record(keep_norms=True)], 0.5)
    assert isinstance(found, pd.DataFrame) and list(found["iterations"]) == [200, 200] and list(found["change"]) == [AS_IT_IS, "norms kept"]
    assert times([record()], 0.01)["iterations"].tolist() == [float("inf")]
    assert list(found["train_error"]) == [training_record()["final"]["train_error"]] * 2


def test_a_residual_nets_changes_are_named_as_its_own() -> None:
    made = record(keep_norms=True)
    made["model"]["name"] = "resnet20"
    assert times([signed(made)], 0.5)["change"].tolist() == ["residual net, norms kept"]
