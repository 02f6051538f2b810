"""The verdicts of notebook 03 hang on its records: with nets' names exchanged, each cell that checks one must fail."""

import copy
from pathlib import Path

import pytest
from notebook_cells import outcomes_with_records

PATH = Path(__file__).parents[1] / "notebooks" / "03_inside_the_block.ipynb"
OTHER = {"plain20": "resnet56", "plain56": "resnet20", "plain32": "resnet44", "plain44": "resnet32"}
REVERSED = ("deletions", "swaps", "paths")
OTHER |= {other: name for name, other in OTHER.items()}


def exchanged(record: dict) -> dict:
    """The record as one of the net of the other family and the other depth; of a single net's probe, with its outcomes in the opposite order."""
    record = copy.deepcopy(record)
    if record["probe"] in REVERSED:
        for name in ("error", "share"):
            if name in record["table"]:
                record["table"][name] = record["table"][name][::-1]
    else:
        record["model"]["name"] = OTHER[record["model"]["name"]]
    return record


def test_every_verdict_holds_with_the_records_and_fails_with_the_nets_exchanged(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    kept = outcomes_with_records(PATH, monkeypatch, lambda record: record)
    assert len(kept) >= 5 and set(kept.values()) == {None}
    broken = outcomes_with_records(PATH, monkeypatch, exchanged)
    counted = [id for id in kept if broken.get(id, "") is None]
    assert len(counted) == 1, "one cell checks counts, which hang on no record; all others have to fail"
