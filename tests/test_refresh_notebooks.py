import nbformat
import pytest
import refresh_notebooks as tool
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SOURCES = [
    'EVIDENCE = "quick"',
    'print("one"); print("two", flush=True); print("three")',
    """from matplotlib import pyplot
from resnet_nb.notebook import show
figure, axes = pyplot.subplots()
axes.plot([1, 2, 3])
axes.set(title="t", xlabel="x", ylabel="y")
show(figure, "A line that rises from one to three, to be compared.", "A line.", shows="stored")""",
]


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


def test_clean_notebook_holds_sources_tags_and_outputs_and_nothing_else():
    times = {"execution": {"iopub.status.busy": "2026"}, "papermill": {"duration": 1}}
    notebook = new_notebook(
        metadata={"widgets": {}, "papermill": {}, "language_info": {"name": "python", "version": "3.11.7"}},
        cells=[
            new_markdown_cell("A line  \nbroken by two blanks\n"),
            new_code_cell("a = 1\n", metadata={"tags": ["parameters"], **times}),
            new_code_cell("a = 2", metadata={"tags": ["injected-parameters"]}),
            new_code_cell("b = 1", metadata=times, outputs=[stream("x"), stream("y\n"), stream("e", "stderr")]),
        ],
    )
    ids = [cell.id for cell in notebook.cells]
    clean = tool.clean(notebook)
    assert clean.metadata == tool.METADATA
    assert [cell.source for cell in clean.cells] == ["A line  \nbroken by two blanks", "a = 1", "b = 1"]
    assert [cell.metadata for cell in clean.cells] == [{}, {"tags": ["parameters"]}, {}]
    assert [cell.id for cell in clean.cells] == [ids[0], ids[1], ids[3]]
    assert [output.text for output in clean.cells[2].outputs] == ["xy\n", "e"]


def test_cells_without_ids_get_the_same_ones_every_time():
    old = nbformat.from_dict({"cells": [{"cell_type": "markdown", "metadata": {}, "source": "x"}] * 2})
    assert [cell.id for cell in tool.clean(old).cells] == ["cell-01", "cell-02"]


@pytest.fixture
def notebook_file(tmp_path):
    def write(*sources: str):
        path = tmp_path / "00_small.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
        return path

    return write


def test_second_refresh_leaves_the_same_bytes(notebook_file):
    path = notebook_file(*SOURCES)
    assert tool.refresh(path) == []
    first = path.read_bytes()
    notebook = tool.read(path)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert notebook.cells[1].outputs == [stream("one\ntwo\nthree\n")]
    assert first.endswith(b"}\n")
    assert tool.refresh(path) == []
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("source", "reason"), [("import warnings\nwarnings.warn('old')", "standard error"), ("1 / 0", "ZeroDivisionError")]
)
def test_notebook_that_warns_or_fails_is_left_as_it_was(source, reason, notebook_file):
    path = notebook_file(source)
    before = path.read_bytes()
    assert reason in " ".join(tool.refresh(path))
    assert path.read_bytes() == before


def test_check_names_a_broken_rule_and_an_unclean_form(notebook_file):
    found = " ".join(tool.check(notebook_file("1")))
    assert "execution counts" in found and "not in the form" in found
