"""Execute the committed notebooks on the quick rung and write them back clean.

    python tools/refresh_notebooks.py [--check] [NOTEBOOK ...]

Each notebook (all of notebooks/ by default) runs from top to bottom in a fresh kernel, as `make test` will run it:
progress silenced, one thread, no data root. A cell that fails or writes to standard error leaves the file as it was.
What is written holds sources, tags, counts 1 to n and outputs, and nothing else.

--check executes nothing: it names what breaks tools/notebook_rules.py or is not in the form written here, and exits
with 1.
"""

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbformat import NotebookNode
from notebook_rules import EXCEPTED, METADATA, NOTEBOOKS, is_free_of_debris, is_free_of_errors, problems

from resnet_nb.files import write_atomically

SECONDS_PER_CELL = 900


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run every cell in a fresh kernel whose working folder is `folder`; the outputs replace those of before."""
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=SECONDS_PER_CELL, kernel_name="python3", resources=resources, record_timing=False
    ).execute()


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what varies or does not matter: times, widget state, version of the language, split streams.

    Ids stay; a cell without one gets one from its place. An injected-parameters cell, which papermill adds, goes.
    """
    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for place, cell in enumerate(cells, 1):
        cell.metadata = {"tags": cell.metadata.tags} if cell.metadata.get("tags") else {}
        cell.id = cell.get("id") or f"cell-{place:02d}"
        cell.source = cell.source.strip("\n")
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return nbformat.from_dict({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs with neighbouring pieces of one stream joined: where they are split is a matter of timing."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == "stream" == kept[-1].output_type and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def written(notebook: NotebookNode) -> str:
    """The text of the file, ending with a newline."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)


def refresh(path: Path) -> list[str]:
    """Execute and rewrite one notebook; what went wrong, in which case the file stays as it was."""
    notebook = clean(read(path))
    try:
        execute(notebook, path.parent)
    except CellControlSignal as error:
        return [str(error).strip()]
    notebook = clean(notebook)
    wrong = [*is_free_of_errors(notebook), *is_free_of_debris(notebook)]
    if not wrong:
        write_atomically(path, written(notebook))
    return wrong


def check(path: Path) -> list[str]:
    """What is not clean in one notebook."""
    notebook = read(path)
    found = problems(notebook, EXCEPTED.get(path.name, frozenset()))
    if path.read_text(encoding="utf-8") != written(clean(notebook)):
        found.append("not in the form that tools/refresh_notebooks.py writes")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--check", action="store_true", help="execute nothing, name what is not clean")
    options = parser.parse_args()
    os.environ |= {"RESNET_NB_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    os.environ.pop("RESNET_NB_DATA", None)
    failed = False
    for path in options.notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        found = check(path) if options.check else refresh(path)
        print(f"{path.name}: " + ("; ".join(found) if found else "clean" if options.check else "refreshed"))
        failed |= bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
