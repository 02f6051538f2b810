"""Notebooks are executed one and all: what they get, what they leave, and what is said when something goes wrong."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from resnet_nb.errors import InputError
from resnet_nb.runner import Outcome, format_outcomes, run_notebooks
from resnet_nb.runner.selection import assign, select

PARAMETERS = 'EVIDENCE = "quick"\nSEED = 0\nDATA_ROOT = None\nDOWNLOAD = False'
ALT = 'Error against depth, with "quotes" & a rising line.'
ASK = """import os, sys
print(EVIDENCE, DATA_ROOT, os.environ["RESNET_NB_DATA"], os.environ["RESNET_NB_PROGRESS"])
print(os.path.samefile(sys.executable, {python!r}), sys.prefix, os.path.basename(os.getcwd()))
_ = os.write(2, b"noise")"""
SHOW = """from matplotlib.figure import Figure
from resnet_nb.notebook import show
figure = Figure()
figure.subplots().set(title="t", xlabel="x", ylabel="y")
show(figure, alt={alt!r}, caption="A caption.", shows="stored")"""


def write(folder: Path, name: str, *sources: str, parameters: str = PARAMETERS) -> None:
    """A notebook in folder/notebooks: its parameters, then one cell for each source."""
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *(new_code_cell(source) for source in sources)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    (folder / "notebooks").mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


def printed(copy: Path) -> str:
    """All that the cells of a notebook printed, or raised."""
    outputs = [output for cell in nbformat.read(copy, 4).cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") or output.get("ename", "") for output in outputs)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "resnet_nb", "run", *words]


# One run of three notebooks, two at a time, of which one fails


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    write(folder, "00_good", ASK.format(python=sys.executable), SHOW.format(alt=ALT))
    write(folder, "01_raises", "1 / 0", "print('never')")
    write(folder, "02_after", "print('still run')")
    kernel = folder / "jupyter/kernels/python3"  # another Python that a user may have registered under this name
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "Other", "language": "python"}))
    return folder


@pytest.fixture(scope="module")
def run(folder) -> subprocess.CompletedProcess:
    environment = {**os.environ, "JUPYTER_PATH": str(folder / "jupyter"), "RESNET_NB_DATA": "data"}
    words = command("--evidence", "stored", "--jobs", "2", "--data-root", "root")
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_failing_notebook_makes_the_command_fail_and_stops_no_other(folder, run):
    assert run.returncode == 1
    assert printed(folder / "executed/stored/02_after.ipynb") == "still run\n"


def test_run_ends_with_a_line_for_each_notebook_with_result_time_and_places(run):
    good, raises, why, after = run.stdout.splitlines()
    assert good.split() == ["00_good", "ok", good.split()[2], "s", "executed/stored/00_good.ipynb", "executed/stored/00_good.html"]
    assert raises.split()[:2] == ["01_raises", "FAILED"] and raises.endswith("executed/stored/01_raises.html")
    assert why.strip() == "In [3] raised ZeroDivisionError: division by zero"
    assert after.split()[:2] == ["02_after", "ok"]


def test_progress_says_which_notebook_and_which_cell_and_nothing_else(run):
    said = run.stderr.splitlines()
    assert {"00_good: cell 1 of 4", "01_raises: cell 1 of 4", "01_raises: failed", "02_after: done"} <= set(said)
    assert all(line.startswith(("00_good: ", "01_raises: ", "02_after: ")) for line in said), run.stderr


def test_failing_notebook_leaves_copy_and_page_with_the_traceback(folder, run):
    assert printed(folder / "executed/stored/01_raises.ipynb") == "ZeroDivisionError"
    page = (folder / "executed/stored/01_raises.html").read_text()
    assert "ZeroDivisionError" in page and "division by zero" in page


def test_notebook_gets_the_rung_and_data_from_where_the_user_stands(folder, run):
    first = printed(folder / "executed/stored/00_good.ipynb").splitlines()[0]
    assert first == f"stored {folder / 'root'} {folder / 'data'} off"


def test_kernel_is_this_python_in_the_notebooks_folder_whatever_the_user_has_registered(folder, run):
    assert printed(folder / "executed/stored/00_good.ipynb").splitlines()[1] == f"True {sys.prefix} notebooks"


def test_alternative_text_arrives_in_the_page(folder, run):
    page = (folder / "executed/stored/00_good.html").read_text()
    assert """alt='Error against depth, with "quotes" &amp; a rising line.'""" in page


def test_committed_notebooks_and_their_folder_stay_as_they_were(folder, run):
    assert sorted(path.name for path in (folder / "notebooks").iterdir()) == ["00_good.ipynb", "01_raises.ipynb", "02_after.ipynb"]
    assert printed(folder / "notebooks/00_good.ipynb") == ""


def test_only_failures_keep_what_their_kernel_said(folder, run):
    assert [path.name for path in (folder / "executed/stored").glob("*.log")] == ["01_raises.log"]


# Notebooks that do not end by themselves


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_cell_that_takes_too_long_and_kernel_that_dies_are_named_in_copy_and_page(tmp_path):
    write(tmp_path, "01_slow", "print('before')", "import time; time.sleep(600)", "print('never')")
    write(tmp_path, "02_dies", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with contextlib.chdir(tmp_path):
        slow, dies = run_notebooks("quick", jobs=2, timeout=5, out="elsewhere")
    assert slow.problem == "Cell 4 took longer than 5 s."  # the fourth with the one that papermill adds
    assert dies.problem == "The kernel died in cell 3, perhaps for want of memory."
    assert printed(slow.copy).startswith("before\n") and "never" not in printed(slow.copy)
    for outcome in (slow, dies):
        assert outcome.copy == tmp_path / "elsewhere" / f"{outcome.name}.ipynb" and printed(outcome.copy).endswith("Stopped")
        assert outcome.problem in outcome.page.read_text()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_stopped_run_ends_its_kernel_and_leaves_the_copy_so_far(tmp_path, number):
    note = "import os, pathlib; pathlib.Path('../kernel').write_text(str(os.getpid())); print('before')"
    write(tmp_path, "01_long", note, "import time; pathlib.Path('../sleeps').touch(); time.sleep(600)")
    heeds_interrupts = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a command in the background inherits that it does not
    with subprocess.Popen(command(), cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_interrupts) as process:
        try:
            wait_for(lambda: (tmp_path / "sleeps").exists() or process.poll() is not None)
            process.send_signal(number)
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    kernel = int((tmp_path / "kernel").read_text())
    wait_for(lambda: not is_running(kernel))
    assert printed(tmp_path / "executed/quick/01_long.ipynb").startswith("before\n")
    if number == signal.SIGINT:
        assert process.returncode == 1
        assert said.splitlines()[-1] == "resnet-nb: Interrupted: what was executed so far lies in executed/quick."


def wait_for(condition) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "waited for five minutes"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    return False


# What is refused before anything runs


@pytest.fixture
def unrun(tmp_path, monkeypatch) -> Path:
    """A checkout of two notebooks, the current folder; nothing may be executed in it."""
    write(tmp_path, "00_start")
    write(tmp_path, "01_degradation", parameters=PARAMETERS + "\nALLOW_SLOW = False")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"evidence": "fast"}, "'fast' is unknown: choose one of stored, quick, full"),
        ({"only": ["07"]}, "No notebook is called '07': choose from 00_start, 01_degradation"),
        ({"only": ["01", "nothing"]}, "'nothing'"),
        ({"parameters": {"SEEED": 1}}, "No notebook has a parameter SEEED: choose from ALLOW_SLOW, DATA_ROOT"),
        ({"only": ["00"], "parameters": {"ALLOW_SLOW": True}}, "00_start.ipynb has no parameter ALLOW_SLOW"),
        ({"out": Path("notebooks")}, "would replace the notebooks"),
        ({"out": Path("notebooks/00_start.ipynb")}, "choose another folder with --out"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(unrun, arguments, sentence):
    with pytest.raises(InputError) as error:
        run_notebooks(**{"evidence": "quick", **arguments})
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert not list(unrun.glob("executed/**/*.ipynb"))


def test_damaged_notebook_is_named(unrun):
    (unrun / "notebooks/01_degradation.ipynb").write_text('{"cells": [')
    with pytest.raises(InputError, match=r"01_degradation.ipynb cannot be read as a notebook"):
        run_notebooks("stored")


def test_notebook_without_a_rung_is_named(unrun):
    write(unrun, "02_other", parameters="SEED = 0")
    with pytest.raises(InputError, match="02_other.ipynb declares no parameter EVIDENCE"):
        run_notebooks("stored")


def test_each_notebook_gets_the_parameters_that_it_declares(unrun):
    start, degradation = sorted(unrun.glob("notebooks/*.ipynb"))
    assert assign([start, degradation], "full", {"ALLOW_SLOW": True}) == {
        start: {"EVIDENCE": "full"},
        degradation: {"EVIDENCE": "full", "ALLOW_SLOW": True},
    }


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ((), ["00_start", "01_degradation", "10_more"]),
        (["1"], ["01_degradation"]),
        (["01"], ["01_degradation"]),
        (["10", "00"], ["00_start", "10_more"]),
        (["01_deg"], ["01_degradation"]),
        (["notebooks/01_degradation.ipynb"], ["01_degradation"]),
    ],
)
def test_notebooks_are_chosen_by_number_or_by_the_beginning_of_the_name(only, chosen):
    notebooks = [Path(f"notebooks/{name}.ipynb") for name in ("00_start", "01_degradation", "10_more")]
    assert [path.stem for path in select(notebooks, only)] == chosen


def test_table_has_a_line_for_each_notebook_and_one_for_each_problem():
    outcomes = [
        Outcome("00_start", None, 3.4, Path.cwd() / "executed/a.ipynb", Path("/elsewhere/a.html")),
        Outcome("01_degradation", "It broke.", 121.6, None, None),
    ]
    assert format_outcomes(outcomes).splitlines() == [
        "00_start        ok          3 s  executed/a.ipynb  /elsewhere/a.html",
        "01_degradation  FAILED    122 s  ",
        "                It broke.",
    ]
