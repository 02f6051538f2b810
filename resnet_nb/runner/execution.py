"""Inside a notebook's process: the kernel, papermill, what is said meanwhile, and the page at the end."""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from ipykernel.kernelspec import write_kernel_spec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines

from resnet_nb.errors import RunError
from resnet_nb.files import write_atomically
from resnet_nb.runner.selection import absolute, literal

ENGINE, KERNEL = "reporting", "python3"
SECONDS_BETWEEN_LINES = 10
SECONDS_TO_START = 300  # a kernel on a busy machine, the libraries not yet in memory


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    threads: of the kernel's libraries, None for as many as they choose. live: one line that is rewritten, instead of a
    line every now and then.
    """

    notebook: Path
    out: Path
    parameters: Mapping[str, Any]
    timeout: int | None
    threads: int | None
    live: bool

    @property
    def name(self) -> str:
        return self.notebook.stem

    def file(self, suffix: str) -> Path:
        return self.out / f"{self.name}{suffix}"


def execute(job: Job, answer: Connection) -> None:
    """Execute one notebook, write its page, and answer with what went wrong, or None."""
    from resnet_nb.runner.pages import to_html  # here, since it imports nbconvert, which only this process needs

    signal.signal(signal.SIGINT, lambda *_: None)  # a Ctrl-C reaches every process; it is the parent that ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["RESNET_NB_PROGRESS"] = "off"
    if job.threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    if os.environ.get("RESNET_NB_DATA"):
        os.environ["RESNET_NB_DATA"] = absolute(os.environ["RESNET_NB_DATA"])
    report = Report(job.name, _take_over_output(job.file(".log")), job.live)
    papermill_engines.register(ENGINE, ReportingEngine)
    with _this_python_as_kernel():
        problem = _papermill(job, report)
    try:
        write_atomically(job.file(".html"), to_html(nbformat.read(job.file(".ipynb"), as_version=4)))
    except RunError as error:
        problem = problem or str(error)
    report.clear()
    answer.send(problem)


def _end_with_parent() -> None:
    """A notebook does not outlive its command, however that ends."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _take_over_output(log: Path) -> TextIO:
    """Send what this process and its kernel print to `log`, so that it does not drown the progress; gives standard error."""
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8")
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    return terminal


@contextlib.contextmanager
def _this_python_as_kernel() -> Iterator[None]:
    """A kernel specification of our own, first in Jupyter's path: the user's `python3` may be another Python."""
    with tempfile.TemporaryDirectory(prefix="resnet-nb-") as folder:
        write_kernel_spec(Path(folder) / "kernels" / KERNEL)
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
        yield


def _papermill(job: Job, report: "Report") -> str | None:
    """Execute the notebook; what went wrong, which then stands in the copy too, or None."""
    copy = job.file(".ipynb")
    try:
        papermill.execute_notebook(
            literal(job.notebook), literal(copy), dict(job.parameters), cwd=job.notebook.parent, kernel_name=KERNEL,
            engine_name=ENGINE, progress_bar=False, start_timeout=SECONDS_TO_START, execution_timeout=job.timeout, report=report.cell,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        return textwrap.shorten(f"In [{error.exec_count}] raised {error.ename}: {error.evalue}", 300)
    except CellTimeoutError:
        return _noted(copy, report.number, f"Cell {report.number} took longer than {job.timeout} s.")
    except DeadKernelError:
        return _noted(copy, report.number, f"The kernel died in cell {report.number}, perhaps for want of memory.")
    return None


def _noted(copy: Path, number: int, problem: str) -> str:
    """Write what ended a notebook into the cell where it happened: no exception was raised there that could tell."""
    notebook = nbformat.read(copy, as_version=4)
    output = nbformat.v4.new_output("error", ename="Stopped", evalue=problem, traceback=[f"Stopped: {problem}"])
    notebook.cells[number - 1].outputs.append(output)
    write_atomically(copy, nbformat.writes(notebook) + "\n")
    return problem


class ReportingEngine(NBClientEngine):
    """papermill's own engine, which also says which cell it has come to."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, report: Callable[[int, int], None], **options: Any) -> None:
        start = nb_man.cell_start

        def cell_start(cell: Any, cell_index: int) -> None:
            report(cell_index + 1, len(nb_man.nb.cells))
            start(cell, cell_index)

        nb_man.cell_start = cell_start
        super().execute_managed_notebook(nb_man, kernel_name, **options)


class Report:
    """Says on `terminal` which cell a notebook has come to: in one live line, or in a line every ten seconds."""

    def __init__(self, name: str, terminal: TextIO, live: bool):
        self.name, self.terminal, self.live = name, terminal, live
        self.number, self.said = 0, -float("inf")

    def cell(self, number: int, total: int) -> None:
        self.number = number
        line = f"{self.name}: cell {number} of {total}"
        if self.live:
            self._write(f"\r\x1b[K{line}")
        elif time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            self._write(f"{line}\n")

    def clear(self) -> None:
        if self.live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a reader that has gone away stops no notebook
            self.terminal.write(text)
            self.terminal.flush()
