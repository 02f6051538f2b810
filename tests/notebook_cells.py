"""A notebook's cells run in this process, so that a test can change what they read."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from resnet_nb import notebook, records


def outcomes_of_checks(path: Path) -> dict[str, str | None]:
    """Run the cells of the stored rung; for each that checks something there, what its assertion said, or None where it held."""
    names, found = {}, {}
    for cell in nbformat.read(path, 4).cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or "colab" in tags:
            continue
        source = cell.source.replace('EVIDENCE = "quick"', 'EVIDENCE = "stored"')
        try:
            exec(compile(source, cell.id, "exec"), names)
        except AssertionError as error:
            found[cell.id] = str(error) or "failed"
        else:
            if "checks" in tags and not source.startswith("if EVIDENCE"):  # those check what is trained
                found[cell.id] = None
    return found


def outcomes_with_records(path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict], dict]) -> dict[str, str | None]:
    """The same with every record changed, and no figure shown."""
    load = records.load_study
    monkeypatch.setattr(records, "load_study", lambda study: [change(record) for record in load(study)])
    monkeypatch.setattr(notebook, "show", lambda *arguments, **options: None)
    return outcomes_of_checks(path)
