"""The committed notebooks keep the rules, and their stored rung runs where torch is not installed.

Their quick rung, whose outputs are committed, runs in the same pytest call through nbval.
"""

import os
from pathlib import Path

import nbformat
import notebook_rules as rules
import papermill
import pytest
from nbformat.v4 import new_code_cell
from refresh_notebooks import check

COMMITTED = sorted(rules.NOTEBOOKS.glob("*.ipynb"))
WITHOUT_TORCH = Path(__file__).parent / "without_torch"
NO_TORCH = "import importlib.util\nassert importlib.util.find_spec('torch') is None"

each_notebook = pytest.mark.parametrize("path", COMMITTED, ids=[path.name for path in COMMITTED])


def test_notebooks_are_committed():
    assert COMMITTED


@each_notebook
def test_notebook_keeps_the_rules(path):
    assert check(path) == []


@each_notebook
def test_stored_rung_runs_without_torch(path, tmp_path, monkeypatch):
    search = [str(WITHOUT_TORCH), str(rules.ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, search)))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, new_code_cell(NO_TORCH))
    nbformat.write(notebook, tmp_path / path.name)
    executed = papermill.execute_notebook(
        tmp_path / path.name,
        tmp_path / "executed.ipynb",
        parameters={"EVIDENCE": "stored"},
        cwd=path.parent,
        kernel_name="python3",
        progress_bar=False,
        execution_timeout=120,
    )
    for rule in (
        rules.is_free_of_errors,
        rules.is_free_of_debris,
        rules.describes_its_figures,
        rules.shows_every_figure,
    ):
        assert list(rule(executed)) == []
