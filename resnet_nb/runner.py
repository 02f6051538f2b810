"""Executes the notebooks with papermill, each in a process of its own: `resnet-nb run`, `make run`.

A notebook is executed in its own folder by this very Python, whatever kernels the user has installed. Its executed
copy and its page go to executed/EVIDENCE; a notebook that fails leaves both, with the traceback, and stops no other.
"""

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
from ipykernel.kernelspec import write_kernel_spec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines

from resnet_nb.errors import InputError, RunError
from resnet_nb.files import write_atomically

ENGINE, KERNEL = "reporting", "python3"
SECONDS_BETWEEN_LINES = 10
SECONDS_TO_START = 300  # a kernel on a busy machine, the libraries not yet in memory
SECONDS_TO_END = 15  # nbclient waits 5 s for a kernel before it kills it


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook. `problem` is None, or one sentence; `copy` and `page` are None where none was written."""

    name: str
    problem: str | None
    seconds: float
    copy: Path | None
    page: Path | None

    @property
    def ok(self) -> bool:
        return self.problem is None


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


def run_notebooks(
    evidence: str,
    only: Sequence[str] = (),
    jobs: int = 1,
    out: Path | None = None,
    timeout: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Execute notebooks/*.ipynb, those of the current folder or else of the checkout that holds this package.

    evidence: stored, quick or full, the value of each notebook's EVIDENCE. only: numbers ("01") or beginnings of names.
    jobs: notebooks at a time. out: the folder for copies and pages. timeout: seconds a cell may take. parameters: more
    values for the cells tagged `parameters`; a notebook gets those that it declares.

    Progress goes to standard error. Raises InputError, before anything runs, for what does not exist: a rung, a
    notebook, a parameter that none of the notebooks declares; and for a folder that cannot be written to. Raises
    RunError when it is interrupted; what the notebooks had executed until then stays.
    """
    from resnet_nb.notebook import RUNGS  # here, since it imports pandas and matplotlib, and a notebook's process does without

    if evidence not in RUNGS:
        raise InputError(f"The rung {evidence!r} is unknown: choose one of {', '.join(RUNGS)}.")
    folder = notebooks_folder()
    chosen = select(sorted(folder.glob("*.ipynb")), only)
    given = assign(chosen, evidence, parameters or {})
    out = writable(folder.parent / "executed" / evidence if out is None else out, folder)
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    live = jobs == 1 and sys.stderr.isatty()
    return _execute_all([Job(path, out, given[path], timeout, threads, live) for path in chosen], jobs)


def format_outcomes(outcomes: Sequence[Outcome]) -> str:
    """A line for each notebook: its result, its time, where its copy and its page lie, and what went wrong."""
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    lines = []
    for outcome in outcomes:
        places = "  ".join(_shown(path) for path in (outcome.copy, outcome.page) if path)
        lines.append(f"{outcome.name:<{width}}  {'ok' if outcome.ok else 'FAILED':<6}  {outcome.seconds:5.0f} s  {places}")
        if outcome.problem:
            lines.append(f"{'':<{width}}  {outcome.problem}")
    return "\n".join(lines)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


# What there is to run, and with what


def notebooks_folder() -> Path:
    """Where the notebooks lie. Raises InputError where there are none."""
    for place in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if any((place / "notebooks").glob("*.ipynb")):
            return place / "notebooks"
    raise InputError(f"There are no notebooks in {Path.cwd() / 'notebooks'}: clone the repository and run this in its folder.")


def select(notebooks: Sequence[Path], only: Sequence[str]) -> list[Path]:
    """The notebooks whose number or whose name's beginning is among `only`; all of them if it is empty."""
    for wanted in only:
        if not any(_is_meant(path, wanted) for path in notebooks):
            raise InputError(f"No notebook is called {wanted!r}: choose from {', '.join(path.stem for path in notebooks)}.")
    return [path for path in notebooks if not only or any(_is_meant(path, wanted) for wanted in only)]


def _is_meant(path: Path, wanted: str) -> bool:
    if wanted.isdecimal():
        number = re.match(r"\d+", path.stem)
        return number is not None and int(number[0]) == int(wanted)
    return bool(wanted) and path.stem.startswith(Path(wanted).name.removesuffix(".ipynb"))


def assign(notebooks: Sequence[Path], evidence: str, parameters: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """The parameters of each notebook: EVIDENCE, and those of `parameters` that it declares.

    papermill itself passes an unknown name without a word, so that a misspelt one would have no effect.
    """
    declared = {path: _declared(path) for path in notebooks}
    for path, names in declared.items():
        if "EVIDENCE" not in names:
            raise InputError(f"{path.name} declares no parameter EVIDENCE: assign it in a cell tagged `parameters`.")
    for name in parameters:
        if not any(name in names for names in declared.values()):
            known = ", ".join(sorted(set().union(*declared.values())))
            who = f"{notebooks[0].name} has no" if len(notebooks) == 1 else "No notebook has a"
            raise InputError(f"{who} parameter {name}: choose from {known}.")
    given = {"EVIDENCE": evidence, **parameters}
    if given.get("DATA_ROOT"):
        given["DATA_ROOT"] = _absolute(given["DATA_ROOT"])
    return {path: {name: value for name, value in given.items() if name in names} for path, names in declared.items()}


def _absolute(folder: str | Path) -> str:
    """Of a folder that the user names from where they are: the kernels run in another one."""
    return str(Path(folder).expanduser().absolute())


def _declared(path: Path) -> set[str]:
    try:
        return set(papermill.inspect_notebook(_literal(path)))
    except Exception as error:  # a damaged file fails in many ways, in nbformat, in JSON, in papermill
        raise InputError(f"{path} cannot be read as a notebook ({type(error).__name__}): restore it.") from error


def _literal(path: Path) -> str:
    """The path for papermill, which takes braces in it for names of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def writable(out: Path, notebooks: Path) -> Path:
    """The folder, absolute and made. Raises InputError where it cannot be, or is that of the notebooks themselves."""
    out = Path(out).expanduser().absolute()
    if out.resolve() == notebooks.resolve():
        raise InputError(f"The copies would replace the notebooks in {notebooks}: choose another folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise InputError(f"Cannot write to {out} ({error.strerror}): choose another folder with --out.") from error


# The processes


def _execute_all(jobs: Sequence[Job], at_a_time: int) -> list[Outcome]:
    """A process per notebook rather than a pool: one that is killed for want of memory takes no other with it."""
    context = multiprocessing.get_context("spawn")
    waiting, running, outcomes = list(jobs), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                job = waiting.pop(0)
                for suffix in (".ipynb", ".html", ".log"):
                    job.file(suffix).unlink(missing_ok=True)
                answer, end = context.Pipe(duplex=False)
                process = context.Process(target=_execute, args=(job, end), name=job.name)
                process.start()
                end.close()
                running[process.sentinel] = (process, job, answer, time.monotonic())
            for sentinel in wait(list(running)):
                process, job, answer, start = running.pop(sentinel)
                process.join()
                problem = _problem(process.exitcode, answer, job.file(".log"))
                outcomes[job.name] = _outcome(job, problem, time.monotonic() - start)
                print(f"{job.name}: {'failed' if problem else 'done'}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        raise RunError(f"Interrupted: what was executed so far lies in {_shown(jobs[0].out)}.") from None
    finally:
        _end([process for process, *_ in running.values()])
    return [outcomes[job.name] for job in jobs]


def _outcome(job: Job, problem: str | None, seconds: float) -> Outcome:
    if problem is None:
        job.file(".log").unlink()
    copy, page = (path if path.exists() else None for path in (job.file(".ipynb"), job.file(".html")))
    return Outcome(job.name, problem, seconds, copy, page)


def _problem(exitcode: int | None, answer: Connection, log: Path) -> str | None:
    with contextlib.suppress(EOFError), answer:
        return answer.recv()
    how = "was killed, perhaps for want of memory" if exitcode == -9 else f"ended with status {exitcode}"
    return f"Its process {how}; {_shown(log)} may say why."


def _end(processes: Sequence[multiprocessing.Process]) -> None:
    """End the processes of an interrupted run; each shuts its kernel down first."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(SECONDS_TO_END)
        process.kill()


# Inside a notebook's process


def _execute(job: Job, answer: Connection) -> None:
    """Execute one notebook, write its page, and answer with what went wrong, or None."""
    from resnet_nb.pages import to_html  # here, since it imports nbconvert, which only this process needs

    signal.signal(signal.SIGINT, lambda *_: None)  # a Ctrl-C reaches every process; it is the parent that ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["RESNET_NB_PROGRESS"] = "off"
    if job.threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    if os.environ.get("RESNET_NB_DATA"):
        os.environ["RESNET_NB_DATA"] = _absolute(os.environ["RESNET_NB_DATA"])
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
            _literal(job.notebook), _literal(copy), dict(job.parameters), cwd=job.notebook.parent, kernel_name=KERNEL,
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
