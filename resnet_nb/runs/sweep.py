"""A sweep: the runs of a study side by side on this machine. What is recorded is skipped, what was stopped goes on.

Nothing here imports torch: a sweep that has nothing to do ends at once, and the processes that train import it by themselves.
"""

import json
import math
import shlex
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from resnet_nb import records
from resnet_nb.errors import InputError
from resnet_nb.recipes import get_recipe
from resnet_nb.runs.studies import Filed, Study, deciding, is_recorded, kept, recorded
from resnet_nb.runs.sweep_display import SweepDisplay
from resnet_nb.runs.train_command import parsed
from resnet_nb.runs.workers import Ended, Lane, Worker, wait
from resnet_nb.training.progress import Progress

NET_GB = 1.5  # of a GPU: what ResNet-110 keeps for the backward pass at batch 128 and width 16, and its gradients; an estimate
BATCHES_GB = 0.25  # of a GPU: CIFAR's 50,000 images once more, padded, which each run has for itself
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Run:
    """One command of a study as `sweep` sees it.

    words: after `resnet-nb`; extra: further words that decide nothing. asked: what decides the numbers: runs with equal ones are one run.
    recorded: whether it is, with all that is to be kept of it; keeps: what that is.
    gpu_gb: the memory that it is thought to need; infinite where there is no estimate.
    """

    words: tuple[str, ...]
    extra: tuple[str, ...]
    asked: dict
    recorded: bool
    keeps: frozenset[str]
    iterations: int
    device: str
    gpu_gb: float


@dataclass(frozen=True)
class Outcome:
    """What became of a run: "skipped" (it was recorded), "done", "stopped" (it goes on the next time), "failed", or "left" (not begun).

    iteration: how far it is; one that ended early, at its recipe's loss, counts as all of its iterations, of which none is left.
    """

    words: tuple[str, ...]
    kind: str
    said: str
    iteration: int

    def as_dict(self) -> dict:
        """For JSON: the command, how it ended, and the iteration that it reached."""
        return {"command": shlex.join(["resnet-nb", *self.words]), "said": self.said, "iteration": self.iteration}


def sweep(
    study: Study, jobs: int | None = None, more: tuple[str, ...] = (), deadline: float = math.inf, lanes: int | None = None
) -> list[Outcome]:
    """Do a study's runs, `jobs` at a time (None: as many as the device has room for), each with `more` words; one outcome a run.

    Side by side, each run has one CPU thread, unless the study says otherwise. deadline: a time of time.monotonic(), after which no run is
    begun and those under way stop at their next step with a checkpoint; however short the time, `jobs` runs are begun and take a step, so
    that the same command comes to an end if it is repeated. lanes: runs that share a process (None: as the device is used best, one on a CPU).
    Lines and a bar on standard error say how it goes. Ctrl-C stops what is under way, which leaves its checkpoints. Raises InputError where a
    command cannot be read, the device is absent, or nothing can be filed, and where images of one's own that a record may be of cannot be read.
    """
    records.check_writable()
    threads = () if jobs == 1 else ("--threads", "1")
    filed = recorded(study.name)
    runs = _distinct(_read(words, more, threads, filed) for words in study.commands)
    outcomes = {run.words: Outcome(run.words, "skipped", "recorded before", run.iterations) for run in runs if run.recorded}
    waiting = [run for run in runs if run.words not in outcomes]
    if waiting:
        deterministic = any(run.asked["deterministic"] for run in waiting)
        workers = [Worker(deadline, deterministic)]
        try:
            room = workers[0].room(waiting[0].device, max(run.gpu_gb for run in waiting))
            jobs, lanes = min(jobs or room.runs, len(waiting)), lanes or room.lanes
            before = f"{len(outcomes)} of {len(runs)} runs are recorded"
            Progress.say(f"{study.name}: {before}; {len(waiting)} are not and go {jobs} at a time ({room.why})")
            workers += [Worker(deadline, deterministic) for _ in range((jobs - 1) // lanes)]
            places = [worker.lanes[lane] for lane in range(lanes) for worker in workers][:jobs]
            with SweepDisplay(study.name, len(runs), sum(run.iterations for run in runs)) as display:
                _work(study.name, runs, workers, places, outcomes, deadline, display)
        finally:
            for worker in workers:
                worker.close()
    return [outcomes.get(run.words) or Outcome(run.words, "left", "not begun", 0) for run in runs]


def summary(study: Study, outcomes: list[Outcome]) -> str:
    """One sentence on a sweep."""
    counts = Counter(outcome.kind for outcome in outcomes)
    line = f"{study.name}: {counts['done'] + counts['skipped']} of {len(outcomes)} runs are recorded, {counts['skipped']} of them before"
    rest = [f"{counts[kind]} {what}" for kind, what in (("failed", "failed"), ("stopped", "stopped"), ("left", "not begun")) if counts[kind]]
    again = "goes on" if counts["stopped"] or counts["left"] else "tries that again"
    return f"{line}; {', '.join(rest)}: the same command {again}." if rest else f"{line}."


def _read(words: tuple[str, ...], more: tuple[str, ...], threads: tuple[str, ...], filed: list[Filed]) -> Run:
    """A command as `resnet-nb train` would read it. Raises InputError where it would not."""
    asked = parsed((*words, *more))
    recipe = get_recipe(asked["recipe"], asked["data"])
    iterations = asked["iterations"] or recipe.iterations
    depth = None if asked["model"].startswith("imagenet:") else records.family_and_depth(asked["model"])[1]
    size = (depth or math.inf) / 110 * (asked["width"] or 16) / 16 * recipe.batch_size / 128
    extra = (*more, *(() if asked["threads"] else threads))
    return Run(words, extra, deciding(asked), is_recorded(asked, filed), kept(asked), iterations, asked["device"], BATCHES_GB + NET_GB * size)


def _distinct(runs: Iterable[Run]) -> list[Run]:
    """Each run once: of the commands that ask for the same one, that which keeps most of it. Raises InputError where none keeps all that they ask."""
    found: dict[str, Run] = {}
    for run in runs:
        key = json.dumps(run.asked, default=str)
        before = found.setdefault(key, run)
        if run.keeps > before.keeps:
            found[key] = run
        elif not run.keeps <= before.keeps:
            raise InputError(f"The study lists a run of {run.words[1]} twice, to keep different things of it: give it --trace and --keep-weights.")
    return list(found.values())


def _work(
    name: str, runs: list[Run], workers: list[Worker], places: list[Lane], outcomes: dict, deadline: float, display: SweepDisplay
) -> None:
    """Give every place one run after another until there are none, or no time; what becomes of them is added to `outcomes`."""
    waiting = deque((number, run) for number, run in enumerate(runs, 1) if run.words not in outcomes)
    idle, under_way, taken, begun = list(places), {}, 0, 0

    def end(ended: Ended) -> int:
        lane, (number, run) = ended.lane, under_way.pop(ended.lane)
        idle.append(lane)
        outcomes[run.words] = Outcome(run.words, ended.kind, ended.said, run.iterations if ended.kind == "done" else ended.reached)
        Progress.say(f"{name} {number} of {len(runs)}: {ended.said}")
        return ended.taken

    try:
        while waiting or under_way:
            while idle and waiting and (begun < len(places) or time.monotonic() < deadline):
                lane, (number, run) = idle.pop(0), waiting.popleft()
                lane.begin((*run.words, *run.extra))
                under_way[lane] = number, run
                begun += 1
            if not under_way:
                break
            taken += sum(end(ended) for ended in wait(workers, POLL_SECONDS))
            reached = sum(outcome.iteration for outcome in outcomes.values()) + sum(lane.reached for lane in under_way)
            complete = sum(outcome.kind in ("done", "skipped") for outcome in outcomes.values())
            display.show(complete, reached, taken + sum(lane.taken for lane in under_way))
    finally:  # after Ctrl-C some are under way
        for worker in workers:
            worker.stop()
        while under_way:
            for ended in wait(workers, POLL_SECONDS):
                end(ended)
