"""nbval, with the plugin nbval_scheme, passes a committed notebook that is right and turns red for one that is not."""

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import nbval
import pytest
from matplotlib import pyplot
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval_scheme import PICTURE_TOLERANCE, RTOL, kinds, picture_difference, snap

import resnet_nb.notebook

ROOT = Path(__file__).parents[1]
IGNORED = {"tags": ["nbval-ignore-output"]}


def test_nbval_is_the_version_that_the_plugin_was_written_for():
    assert nbval.__version__.startswith("0.11.")


@pytest.mark.parametrize(
    ("new", "committed"),
    [
        ("loss 2.153143501", "loss 2.153143613"),
        ("2.30258512 and 1.60943790", "2.30258509 and 1.60943791"),
        ("1.234567e-05", "1.234568e-05"),
        ("-0.3333333333", "-0.3333333334"),
        ("0.30000000000000004", "0.3"),
        ("[0.123456, nan]", "[0.123457, nan]"),
        ("ends at 0.1234567.", "ends at 0.1234568."),
        ("<td>0.123456</td>", "<td>0.123457</td>"),
    ],
)
def test_float_with_a_difference_in_the_last_bits_is_the_same(new, committed):
    assert snap(new, committed) == committed


@pytest.mark.parametrize(
    ("new", "committed"),
    [
        ("12.34 %", "12.35 %"),  # a percentage with two decimals is exact
        ("98.76 %", "98.77 %"),  # also where the step is within RTOL
        ("12.345", "12.346"),
        ("270896 parameters", "270897 parameters"),
        ("2.153143", "2.154143"),
        ("nan", "0.123456"),
        ("0.123456", "nan"),
        ("0.123456 0.123456", "0.123456"),
        ("0.123456", "-0.123456"),
        ("+0.123456", "-0.123456"),
        ("inf", "0.123456"),
        ("9.7e-10", "1.0e-05"),  # no absolute tolerance: small gradients differ by their ratio
        ("0.000000970", "0.0000100"),
        ("20 layers: 0.123456", "56 layers: 0.123456"),
        ("1,234.5678", "1,235.5678"),
        ("torch 2.14.1", "torch 2.14.0"),
        ("sha256:123456e7", "sha256:123457e7"),
        ("run1.234567", "run1.234568"),
    ],
)
def test_other_difference_stays(new, committed):
    assert snap(new, committed) != committed


def test_tolerance_is_relative_to_the_committed_float():
    committed = 1234.56789
    assert snap(f"{committed * (1 + RTOL / 2):.5f}", f"{committed:.5f}") == f"{committed:.5f}"
    assert snap(f"{committed * (1 + RTOL * 2):.5f}", f"{committed:.5f}") != f"{committed:.5f}"


def test_only_the_close_floats_of_a_text_are_replaced():
    assert snap("0.123456 0.523456", "0.123457 0.123457") == "0.123457 0.523456"


def test_what_is_not_text_is_left_alone():
    assert snap({"a": 1}, {"a": 2}) == {"a": 1}


def drawn(scale: float = 1, **changes) -> str:
    """Four curves, as base64 PNG; `scale` multiplies one of them."""
    figure, axes = pyplot.subplots(figsize=(7.5, 4.2), layout="constrained")
    steps = range(100, 2001, 100)
    for depth in (8, 20, 32, 44):
        axes.plot(steps, [60 * (depth / 44 if depth < 44 else scale) * 0.999**step for step in steps], label=f"{depth}")
    axes.set(title="Training error", xlabel="iteration", ylabel="error, %")
    axes.legend()
    axes.set(**changes)
    png = resnet_nb.notebook._png(figure)
    pyplot.close(figure)
    return base64.b64encode(png).decode()


def test_equal_pictures_do_not_differ():
    assert picture_difference(drawn(), drawn()) == 0


def test_text_drawn_by_another_library_version_is_tolerated():
    with pyplot.rc_context({"text.hinting": "no_hinting"}):
        unhinted = drawn()
    assert 0 < picture_difference(unhinted, drawn()) < PICTURE_TOLERANCE


def test_curve_that_moved_is_not_tolerated():
    assert picture_difference(drawn(scale=0.8), drawn()) > PICTURE_TOLERANCE


def test_picture_of_another_size_is_not_tolerated():
    assert picture_difference(drawn(), base64.b64encode(small_png()).decode()) == float("inf")


def small_png() -> bytes:
    png = io.BytesIO()
    pyplot.imsave(png, [[0, 1], [1, 0]])
    return png.getvalue()


def test_kinds_tell_a_lost_picture_from_a_kept_one():
    text = {"text/plain": "<Figure size 750x400 with 1 Axes>"}
    whole = new_output("display_data", text | {"image/png": "iVBORw0KGgo="})
    assert kinds([whole]) != kinds([new_output("display_data", text)]) != kinds([])
    assert kinds([new_output("stream", name="stdout", text="a")]) == kinds(
        [new_output("stream", name="stdout", text="b")]
    )


# One run of pytest over one notebook; each of its cells has a fault of its own, planted after it was executed

NUMBER = 'print("depth", 20, "error", 12.34, "loss", 2.153143501)'
PROCESS = "import os\nprint(os.getpid())"
FIGURE = """figure, axes = pyplot.subplots()
axes.plot([1, 2, 3])
axes.set(title="t", xlabel="x", ylabel="y")
show(figure, "A line that rises from one to three, to be compared.", "A line.", shows="stored")"""


def nothing(cell: NotebookNode) -> None:
    pass


def printing(old: str, new: str) -> Callable[[NotebookNode], None]:
    def fault(cell: NotebookNode) -> None:
        assert old in cell.outputs[0].text
        cell.outputs[0].text = cell.outputs[0].text.replace(old, new)

    return fault


def stripped(cell: NotebookNode) -> None:
    cell.outputs, cell.execution_count = [], None


def without_outputs(cell: NotebookNode) -> None:
    cell.outputs = []


def without_picture(cell: NotebookNode) -> None:
    del cell.outputs[0].data["image/png"]


def with_another_picture(cell: NotebookNode) -> None:
    cell.outputs[0].data["image/png"] = drawn()


def with_another_text(cell: NotebookNode) -> None:
    cell.outputs[0].metadata["image/png"]["alt"] = "A line that falls from three to one, to be compared."


CELLS = [  # claim, source, ignored by nbval, fault, red
    ("import", "from matplotlib import pyplot\nfrom resnet_nb.notebook import show", False, nothing, False),
    ("sound number", NUMBER, False, nothing, False),
    ("other last bits", NUMBER, False, printing("3501", "3613"), False),
    ("wrong number", NUMBER, False, printing("12.34", "12.43"), True),
    ("stripped", NUMBER, False, stripped, True),
    ("stripped, ignored", PROCESS, True, stripped, True),
    ("varies, ignored", PROCESS, True, nothing, False),
    ("no outputs, ignored", PROCESS, True, without_outputs, True),
    ("sound figure", FIGURE, False, nothing, False),
    ("lost figure", FIGURE, False, without_outputs, True),
    ("lost picture", FIGURE, False, without_picture, True),
    ("lost picture, ignored", FIGURE, True, without_picture, True),
    ("another picture", FIGURE, False, with_another_picture, True),
    ("another picture, ignored", FIGURE, True, with_another_picture, False),
    ("another alternative text", FIGURE, False, with_another_text, True),
]


@pytest.fixture(scope="module")
def red_cells(tmp_path_factory) -> list[bool]:
    """Whether pytest reports each cell as failed."""
    cells = [new_code_cell(source, metadata=IGNORED if ignored else {}) for _, source, ignored, _, _ in CELLS]
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", record_timing=False).execute()
    for cell, (_, _, _, fault, _) in zip(notebook.cells, CELLS, strict=True):
        fault(cell)
    folder = tmp_path_factory.mktemp("committed")
    nbformat.write(notebook, folder / "planted.ipynb")
    (folder / "pytest.ini").touch()  # so that no configuration further up is used
    command = [sys.executable, "-m", "pytest", "-p", "nbval_scheme", "--nbval", "-q", "-rA", "--color=no", "--tb=no"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    outcomes = {
        int(cell): outcome for outcome, cell in re.findall(r"^(PASSED|FAILED) .*::Cell (\d+)", run.stdout, re.M)
    }
    assert len(outcomes) == len(CELLS), run.stdout + run.stderr
    return [outcomes[place] == "FAILED" for place in range(len(CELLS))]


@pytest.mark.parametrize("place", range(len(CELLS)), ids=[claim for claim, *_ in CELLS])
def test_cell_with_a_planted_fault_turns_red_and_no_other(place, red_cells):
    assert red_cells[place] == CELLS[place][-1]
