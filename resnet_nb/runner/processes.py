"""The notebooks, each in a process of its own, and what became of them."""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from resnet_nb.errors import InputError, RunError
from resnet_nb.runner.execution import Job, execute
from resnet_nb.runner.selection import assign, notebooks_folder, select, writable

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
                process = context.Process(target=execute, args=(job, end), name=job.name)
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
