"""The verdicts of notebook 04 hang on its records: where views, nets and runs do not differ, each cell that checks one must fail."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from IPython import display
from notebook_cells import outcomes_of_checks

from resnet_nb import notebook, published, records
from resnet_nb.live import cause_explorer
from resnet_nb.records.views import Views

PATH = Path(__file__).parents[1] / "notebooks" / "04_protocols.ipynb"
LOAD_VIEWS, LOAD_STUDY, AGAINST = records.load_views, records.load_study, published.against_original


def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Run the cells of the stored rung here; for each that checks something recorded, what its assertion said, or None where it held."""
    monkeypatch.setattr(notebook, "show", lambda *arguments, **options: None)
    monkeypatch.setattr(display, "display", lambda *arguments, **options: None)
    return outcomes_of_checks(PATH)


def one_view_for_all(study: str, name: str) -> Views:
    """The recorded views as if every net gave every view the scores of one."""
    first = LOAD_VIEWS("public-protocols", "resnet20-crops").where(pad=2, place="centre", mirrored=False).logits
    found = LOAD_VIEWS(study, name)
    return replace(found, logits=np.broadcast_to(first, found.logits.shape))


def without_noise(study: str) -> list[dict]:
    """The runs as if every evaluation of every run gave one error."""
    runs = copy.deepcopy(LOAD_STUDY(study))
    for run in runs:
        for part in ("test_error", "validation_error"):
            run["evaluations"][part] = [3.0] * len(run["evaluations"][part])
    return runs


def the_other_way(table: pd.DataFrame) -> pd.DataFrame:
    """Others' errors as far above the original's as they are below."""
    found = AGAINST(table)
    return found.assign(difference=-found["difference"])


def test_the_cause_that_started_the_dispute_is_the_third_to_be_checked() -> None:
    causes = cause_explorer.table(20.74, 24.7, model="resnet50", data="imagenet")
    assert "five scales" in causes["cause"][2]


def test_every_verdict_holds_with_the_records_and_fails_without_what_it_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    kept = outcomes(monkeypatch)
    assert len(kept) >= 8 and set(kept.values()) == {None}
    monkeypatch.setattr(records, "load_views", one_view_for_all)
    monkeypatch.setattr(records, "load_study", without_noise)
    monkeypatch.setattr(published, "against_original", the_other_way)
    broken = outcomes(monkeypatch)
    assert {id for id in kept if broken.get(id) is None} == set()
