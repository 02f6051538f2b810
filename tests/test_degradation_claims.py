"""The verdicts of notebook 01 hang on its records: with the families' names exchanged, each cell that checks one must fail."""

import copy
from pathlib import Path

import pytest
from notebook_cells import outcomes_with_records

PATH = Path(__file__).parents[1] / "notebooks" / "01_degradation.ipynb"
OTHER = {"plain": "resnet", "resnet": "plain"}


def exchanged(record: dict) -> dict:
    """The record as one of the matched net of the other family."""
    record = copy.deepcopy(record)
    for name, other in OTHER.items():
        if record["model"]["name"].startswith(name):
            record["model"]["name"] = record["model"]["name"].replace(name, other, 1)
            return record
    return record


def test_every_verdict_holds_with_the_records_and_fails_with_the_families_exchanged(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    kept = outcomes_with_records(PATH, monkeypatch, lambda record: record)
    assert len(kept) >= 5 and set(kept.values()) == {None}
    broken = outcomes_with_records(PATH, monkeypatch, exchanged)
    assert {id for id in kept if broken.get(id) is None} == set()
