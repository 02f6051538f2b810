"""Studies: many runs that answer one question, listed in a YAML file and filed under the study's name, run by run.

    name: digits-grown                  # results/digits-grown/
    planned: true                       # only while some of the runs have yet to be recorded
    options: --data digits --width 8    # of every run
    grid:                               # each entry is a product of its lists
      - models: [plain56, resnet56]
        recipes: ["quick-digits,rate=0.05,drops=none", "quick-digits,rate=0.01,drops=none"]
        seeds: [0, 1, 2]
        options: --init grown:plain20   # of this entry's runs

A study is its commands: each is a `resnet-nb train ... --study NAME`, and a single run can be repeated alone. `sweep` does them side by side:
what is recorded is skipped, what was stopped goes on. It imports no torch itself; its worker processes do.
"""

import contextlib
import difflib
import io
import itertools
import json
import math
import os
import shlex
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

import jsonschema
import typer
import yaml

from resnet_nb import records
from resnet_nb.errors import InputError, RunError
from resnet_nb.progress import Progress
from resnet_nb.recipes import get_recipe
from resnet_nb.sweep_display import SweepDisplay

TEXTS = {"type": "array", "minItems": 1, "items": {"type": "string"}}
ENTRY = {"models": TEXTS, "recipes": TEXTS, "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer"}}, "options": {"type": "string"}}
GRID = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "properties": ENTRY, "required": ["models", "recipes", "seeds"], "additionalProperties": False},
}
SCHEMA = {
    "type": "object",
    "properties": {**{name: {"type": "string"} for name in ("name", "question", "options")}, "planned": {"type": "boolean"}, "grid": GRID},
    "required": ["name", "grid"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Study:
    """A study's name and the words of each of its commands, after `resnet-nb`. planned: whether some of its runs have yet to be recorded."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    planned: bool = False


def find_study(study: str) -> Path:
    """The file that `study` is, or the one of that name in the checkout's studies/. Raises InputError with the nearest names."""
    if Path(study).is_file():
        return Path(study)
    known = {path.stem: path for path in sorted((Path(__file__).resolve().parents[1] / "studies").glob("*.yaml"))}
    if study not in known:
        near = difflib.get_close_matches(Path(study).stem, known, 2) or list(known)
        raise InputError(f"There is no study {study!r}: give a file, or the name of one in studies/, such as {' or '.join(near) or 'digits-grown'}.")
    return known[study]


def read_study(path: Path) -> Study:
    """Read a study file. Raises InputError, naming the file and the field, where it is not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a study ({type(error).__name__}): give a file of studies/.") from error
    fault = next(jsonschema.Draft202012Validator(SCHEMA).iter_errors(content), None)
    if fault is not None:
        raise InputError(f"{path}: {'.'.join(map(str, fault.path)) or 'the study'} is wrong: {fault.message}.")
    records.check_study(content["name"])
    common = _words(path, content)
    commands: list[tuple[str, ...]] = []
    for entry in content["grid"]:
        own = [*common, *_words(path, entry)]
        # seeds outermost: a study that is stopped has whole seeds, not whole models
        for seed, model, recipe in itertools.product(entry["seeds"], entry["models"], entry["recipes"]):
            commands.append(("train", model, *own, "--recipe", recipe, "--seed", str(seed), "--study", content["name"]))
    return Study(content["name"], tuple(dict.fromkeys(commands)), content.get("planned", False))  # a run that two entries list is one run


def _words(path: Path, part: dict) -> list[str]:
    try:
        return shlex.split(part.get("options", ""))
    except ValueError as error:
        raise InputError(f"{path}: the options {part['options']!r} cannot be read ({error}): close every quotation mark.") from error


NET_GB = 1.5  # of a GPU: what ResNet-110 keeps for the backward pass at batch 128 and width 16, and its gradients; an estimate
PROCESS_GB = 1.0  # CUDA's own share of a process, and the data
POLL_SECONDS = 0.5
DECIDING = ("model", "data", "split", "image_size", "seed", "width", "init", "norm", "deterministic")  # beside the recipe and its length


@dataclass(frozen=True)
class Run:
    """One command of a study as `sweep` sees it.

    words: after `resnet-nb`; extra: further words that decide nothing. asked: what decides the numbers: runs with equal ones are one run.
    gpu_gb: the memory that it is thought to need; infinite where there is no estimate.
    """

    words: tuple[str, ...]
    extra: tuple[str, ...]
    asked: dict
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


def sweep(study: Study, jobs: int | None = None, more: tuple[str, ...] = (), deadline: float = math.inf) -> list[Outcome]:
    """Do a study's runs, `jobs` at a time (None: as many as the device has room for), each with `more` words; one outcome a run.

    Side by side, each run has one CPU thread, unless the study says otherwise. deadline: a time of time.monotonic(), after which no run is
    begun and those under way stop at their next step with a checkpoint; however short the time, `jobs` runs are begun and take a step, so
    that the same command comes to an end if it is repeated. Lines and a bar on standard error say how it goes. Ctrl-C stops what is under
    way, which leaves its checkpoints. Raises InputError where a command cannot be read, the device is absent, or nothing can be filed.
    """
    records.check_writable()
    threads = () if jobs == 1 else ("--threads", "1")
    runs = list({json.dumps(run.asked): run for run in (_read(words, more, threads) for words in study.commands)}.values())
    filed = recorded(study.name)
    outcomes = {run.words: Outcome(run.words, "skipped", "recorded before", run.iterations) for run in runs if run.asked in filed}
    waiting = [run for run in runs if run.words not in outcomes]
    if waiting:
        workers = [Worker(deadline)]
        try:
            room, why = workers[0].room(waiting)
            jobs = min(jobs or room, len(waiting))
            Progress.say(f"{study.name}: {len(outcomes)} of {len(runs)} runs are recorded; {len(waiting)} are not and go {jobs} at a time ({why})")
            workers += [Worker(deadline) for _ in range(jobs - 1)]
            with SweepDisplay(study.name, len(runs), sum(run.iterations for run in runs)) as display:
                _work(study.name, runs, workers, outcomes, deadline, display)
        finally:
            for worker in workers:
                worker.close()
    return [outcomes.get(run.words) or Outcome(run.words, "left", "not begun", 0) for run in runs]


def summary(study: Study, outcomes: list[Outcome]) -> str:
    """One sentence on a sweep."""
    counts = Counter(outcome.kind for outcome in outcomes)
    line = f"{study.name}: {counts['done'] + counts['skipped']} of {len(outcomes)} runs are recorded, {counts['skipped']} of them before"
    rest = [f"{counts[kind]} {what}" for kind, what in (("failed", "failed"), ("stopped", "stopped"), ("left", "not begun")) if counts[kind]]
    return f"{line}; {', '.join(rest)}: the same command goes on." if rest else f"{line}."


def _read(words: tuple[str, ...], more: tuple[str, ...], threads: tuple[str, ...]) -> Run:
    """A command as `resnet-nb train` would read it. Raises InputError where it would not."""
    asked = _parsed((*words, *more))
    recipe = get_recipe(asked["recipe"], asked["data"])
    iterations = asked["iterations"] or recipe.iterations
    depth = None if asked["model"].startswith("imagenet:") else records.family_and_depth(asked["model"])[1]
    size = (depth or math.inf) / 110 * (asked["width"] or 16) / 16 * recipe.batch_size / 128
    extra = (*more, *(() if asked["threads"] else threads))
    return Run(words, extra, _deciding(asked), iterations, asked["device"], PROCESS_GB + NET_GB * size)


def _parsed(words: Sequence[str]) -> dict:
    """The arguments that `resnet-nb train` makes of a command's words, defaults among them."""
    from resnet_nb.cli import app  # which imports this module, in its commands

    try:
        return typer.main.get_command(app).commands[words[0]].make_context(words[0], list(words[1:])).params
    except Exception as error:  # typer has exceptions of its own for bad words
        raise InputError(f"`resnet-nb {shlex.join(words)}` is no command: {getattr(error, 'message', None) or error}") from error


def asked_for(words: Sequence[str]) -> dict:
    """What decides the numbers of a command: two with equal ones ask for one run. Raises InputError for words that are no command."""
    return _deciding(_parsed(words))


def _deciding(asked: dict) -> dict:
    recipe = get_recipe(asked["recipe"], asked["data"])
    return {**{name: asked[name] for name in DECIDING}, "recipe": recipe.name, "iterations": asked["iterations"] or recipe.iterations}


def recorded(study: str) -> list[dict]:
    """What the study's sound records of training runs were asked for, read from the commands that repeat them, as in `Run.asked`."""
    found = []
    for path in sorted((records.results_dir() / study).glob("[!.]*.json")):
        with contextlib.suppress(InputError):  # damaged, or of an older command line: to be done again
            record = records.read_record(path)
            if record["kind"] == "training" and path.stem == records.run_name(record):
                found.append(asked_for(shlex.split(record["command"])[1:]))
    return found


def _work(name: str, runs: list[Run], workers: list["Worker"], outcomes: dict, deadline: float, display: SweepDisplay) -> None:
    """Give every worker one run after another until there are none, or no time; what becomes of them is added to `outcomes`."""
    waiting = deque((number, run) for number, run in enumerate(runs, 1) if run.words not in outcomes)
    idle, under_way, taken, begun = list(workers), {}, 0, 0

    def end(future: Future) -> int:
        number, run, worker = under_way.pop(future)
        idle.append(worker)
        outcomes[run.words] = outcome = worker.outcome(run, future)
        Progress.say(f"{name} {number} of {len(runs)}: {outcome.said}")
        return worker.taken

    try:
        while waiting or under_way:
            while idle and waiting and (begun < len(workers) or time.monotonic() < deadline):
                worker, (number, run) = idle.pop(0), waiting.popleft()
                under_way[worker.begin(run)] = number, run, worker
                begun += 1
            if not under_way:
                break
            taken += sum(end(future) for future in wait(under_way, POLL_SECONDS, FIRST_COMPLETED).done)
            busy = [worker for _, _, worker in under_way.values()]
            reached = sum(outcome.iteration for outcome in outcomes.values()) + sum(worker.reached for worker in busy)
            complete = sum(outcome.kind in ("done", "skipped") for outcome in outcomes.values())
            display.show(complete, reached, taken + sum(worker.taken for worker in busy))
    finally:  # after Ctrl-C some are under way
        for worker in workers:
            worker.stop()
        for future in list(under_way):
            end(future)


class Worker:
    """A process that does one run after another: to import torch takes as long as many of them.

    shared: the time at which to stop, and the iterations that its run had when it took it up, and has now.
    """

    def __init__(self, deadline: float):
        self.shared = RawArray("d", [deadline, 0, 0])  # without a lock, which a process that is killed would keep
        self._start()

    def _start(self) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_enter, initargs=(self.shared,))

    def _submit(self, *call: object) -> Future:
        with _interrupts_ignored():  # a process inherits that: this one stops it, and what trains heeds Ctrl-C by itself
            try:
                return self.pool.submit(*call)
            except BrokenProcessPool:  # killed since its last run, or in it
                self._start()
                return self.pool.submit(*call)

    def room(self, runs: list[Run]) -> tuple[int, str]:
        """How many of the runs their device has room for at a time, and why. Raises InputError where the device is absent."""
        try:
            return self._submit(_room, runs[0].device, max(run.gpu_gb for run in runs)).result()
        except BrokenProcessPool as error:
            raise RunError("A process was killed before it began to train: is there memory for one?") from error

    def begin(self, run: Run) -> Future:
        self.shared[1] = self.shared[2] = 0
        return self._submit(_train, (*run.words, *run.extra))

    def outcome(self, run: Run, future: Future) -> Outcome:
        """What became of a run that is no longer under way."""
        try:
            kind, said = future.result()
        except BrokenProcessPool:
            kind, said = "failed", "its process was killed; the same command goes on"
        return Outcome(run.words, kind, said, run.iterations if kind == "done" else self.reached)

    @property
    def reached(self) -> int:
        return int(self.shared[2])

    @property
    def taken(self) -> int:
        return int(self.shared[2] - self.shared[1])

    def stop(self) -> None:
        """Let what is under way end with its next step."""
        self.shared[0] = 0

    def close(self) -> None:
        self.stop()
        self.pool.shutdown()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def answer_of(words: Sequence[str], until: Callable[[int], bool] | None = None) -> tuple[dict | None, str]:
    """Run a `resnet-nb train` command in this process: its answer as JSON has it, or None and what was wrong. until: as in `train.fit`."""
    from resnet_nb.cli import app

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            typer.main.get_command(app)([*words, "--json"], standalone_mode=False, obj=until)
        return json.loads(printed.getvalue()), ""
    except Exception as error:  # of this run alone: the others go on
        return None, getattr(error, "message", None) or str(error) or type(error).__name__


# What follows runs in a worker's process.

_shared: Sequence[float] = ()
_busy = threading.Lock()


def _enter(shared: Sequence[float]) -> None:
    global _shared
    _shared = shared
    os.environ["RESNET_NB_PROGRESS"] = "off"  # the sweep has a bar
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """When the sweep is killed, stop what is under way with a checkpoint, and end; the pool would wait for ever."""
    parent_process().join()
    _shared[0] = 0
    with _busy:
        os._exit(1)


def _room(device: str, gpu_gb: float) -> tuple[int, str]:
    import torch

    from resnet_nb.devices import resolve_device

    place, cores = resolve_device(device), _cores()
    if place.type == "cpu":
        return cores, f"the CPU has {cores} {'core' if cores == 1 else 'cores'}"
    if place.type != "cuda" or math.isinf(gpu_gb):
        return 1, f"on {place} without an estimate of what a run needs"
    free = torch.cuda.mem_get_info(place)[0] / 1e9
    return max(1, min(cores, int(free / gpu_gb))), f"{place} has {free:.0f} GB free, a run is thought to need {gpu_gb:.1f}, and a core"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _until(iteration: int) -> bool:
    if _shared[2] == 0:
        _shared[1] = iteration - 1
    _shared[2] = iteration
    return time.monotonic() >= _shared[0]


def _train(words: tuple[str, ...]) -> tuple[str, str]:
    """Run one command: "done", "stopped" or "failed", and what there is to say."""
    import torch

    from resnet_nb.cli import final_line

    before = torch.get_num_threads()
    with _busy:
        answer, wrong = answer_of(words, _until)
    torch.set_num_threads(before)
    if answer is None:
        return "failed", wrong
    if answer.get("finished", True):
        return "done", final_line(answer)
    return "stopped", f"{answer['model']} stopped at iteration {answer['iteration']} of {answer['iterations']}"
