"""A study spread over a Ray cluster, one run a task. Ray schedules, and starts again elsewhere what a lost node was doing.

A task trains and returns its record; only this process files records. So no disk need be shared, and a run that was done twice, because its
node was lost before the answer had come, is recorded once.
"""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from types import ModuleType

from resnet_nb import records
from resnet_nb.errors import InputError, RunError
from resnet_nb.runs import studies
from resnet_nb.runs.studies import Study
from resnet_nb.runs.sweep import Outcome
from resnet_nb.runs.train_command import answer_of, final_line, parsed

RETRIES = 3  # of a run whose node or process is lost
REACH_SECONDS = 10  # Ray by itself tries for minutes, and says so all the while
STOP_SECONDS = 20  # for the checkpoints of what is under way


def run_study(
    study: Study, *, address: str | None = None, more: tuple[str, ...] = (), gpus: float = 0, cpus: float = 1
) -> list[tuple[tuple[str, ...], str]]:
    """Run every command of a study that is not recorded yet, each with `more` words, on a Ray cluster; say on standard error what was done.

    address: as `ray.init` takes it: HOST:PORT, ray://HOST:PORT, or None for the cluster of RAY_ADDRESS or the one that runs here, else a new
    one of this machine alone.
    gpus, cpus: what a run takes of its node; a GPU can be shared (0.25: four runs on one). A run gets as many CPU threads as whole CPUs,
    unless its words say otherwise.

    Every node has this package, and finds data by its own RESNET_NB_DATA or --data-root. Run folders, runs/NAME, lie where the node was started.
    Where that is one folder of a shared file system, a run whose node is lost goes on elsewhere from its checkpoint; else it starts anew.
    A run for which no node is left waits until one joins.

    Returns the commands that failed, each with what was wrong. Ctrl-C stops what is under way, which leaves its checkpoints. Raises InputError
    where Ray is not installed, there is no cluster at the address, or none of its nodes has so many CPUs and GPUs.
    """
    ray = _ray()
    records.check_study(study.name)
    records.check_writable()
    recorded = studies.recorded(study.name)
    failed = []

    def say(number: int, said: str) -> None:
        print(f"{study.name} {number} of {len(study.commands)}: {said}", file=sys.stderr, flush=True)

    left = []
    for number, words in enumerate(study.commands, 1):
        if _is_recorded((*words, *more), recorded):
            say(number, "is recorded already")
        else:
            left.append((number, words))
    if not left:
        return failed
    with _connected(ray, address):
        _check_resources(ray, gpus, cpus)
        task = ray.remote(num_gpus=gpus, num_cpus=cpus, max_retries=RETRIES)(answer_of)
        running = {task.remote(_words(words, more, cpus)): (number, words) for number, words in left}
        try:
            while running:
                (done, *_), _ = ray.wait(list(running))
                number, words = running.pop(done)
                ok, said = _filed(ray, done, study.name)
                say(number, said)
                if not ok:
                    failed.append((words, said))
        finally:
            _stop(ray, list(running))
    return failed


def sweep(study: Study, **options: object) -> list[Outcome]:
    """`run_study` with these options, and what became of each run, as `sweep.sweep` tells it: "skipped", "done" or "failed"."""
    before, more = studies.recorded(study.name), options.get("more", ())
    failed = dict(run_study(study, **options))
    outcomes = []
    for words in study.commands:
        kind = "failed" if words in failed else "skipped" if _is_recorded((*words, *more), before) else "done"
        outcomes.append(Outcome(words, kind, failed.get(words, ""), 0 if kind == "failed" else studies.asked_for(words)["iterations"]))
    return outcomes


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is begun here reports to nobody
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed: pip install 'resnet-nb[ray]'.") from error
    return ray


@contextmanager
def _connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    """A connection to the cluster, whose own logs stay in its files. Raises InputError where there is none."""
    _reach(address or os.environ.get("RAY_ADDRESS", ""))
    # what Ray says of lost nodes, forty lines each, it prints on standard output whatever it is told
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except Exception as error:  # of many types: no such cluster, another version of Ray or Python there, an address that is none
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}".rstrip(".")
            raise InputError(f"Cannot use the Ray cluster at {address or 'this machine'} ({reason}): run `ray status` there.") from error
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raise InputError where nothing answers at HOST:PORT."""
    place = re.fullmatch(r"(?:ray://)?\[?(?P<host>[^\[\]/]+)\]?:(?P<port>[0-9]{1,5})", address)
    if place is None:
        return  # "auto" and the like, which are Ray's to read
    try:
        socket.create_connection((place["host"], int(place["port"])), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"No Ray cluster answers at {address} ({error}): start one with `ray start --head`, or give its address.") from error


def _check_resources(ray: ModuleType, gpus: float, cpus: float) -> None:
    """Raise InputError where no node has what a run takes: Ray would wait for one without a word."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("GPU", 0) >= gpus and node.get("CPU", 0) >= cpus for node in nodes):
        has = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise InputError(f"A run takes {cpus:g} CPUs and {gpus:g} GPUs, and no node of the cluster has them ({has}): ask for less, or add a node.")


def _words(words: tuple[str, ...], more: tuple[str, ...], cpus: float) -> tuple[str, ...]:
    """The words for a task: it files nothing."""
    if "--study" in words:
        at = words.index("--study")
        words = (*words[:at], *words[at + 2 :])
    threads = () if "--threads" in (*words, *more) else ("--threads", str(max(1, int(cpus))))
    return (*words, *threads, *more)


def _filed(ray: ModuleType, done: object, study: str) -> tuple[bool, str]:
    """File what a task returned: whether that went well, and its errors, or what was wrong."""
    try:
        record, wrong = ray.get(done)
    except ray.exceptions.RayError as error:  # of a run that was lost once too often, or a node that lacks the package
        return False, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
    if record is None:
        return False, wrong
    try:
        records.file_record({**record, "command": _with_study(record["command"], study)}, study)
    except (InputError, RunError) as error:
        return False, str(error)
    return True, final_line(record)


def _with_study(command: str, study: str) -> str:
    """A record's command as `train --study` writes it: the data's place comes last."""
    text, root, place = command.partition(" --data-root ")
    return f"{text} --study {study}{root}{place}"


def _is_recorded(words: tuple[str, ...], filed: list[studies.Filed]) -> bool:
    """As `studies.is_recorded`, and no for words that are no command, which the task will name, and for images that lie on the nodes alone."""
    with suppress(InputError):
        return studies.is_recorded(parsed(words), filed)
    return False


def _stop(ray: ModuleType, running: list) -> None:
    """End what was interrupted, and give it the time for a last checkpoint."""
    if running:
        for ref in running:
            ray.cancel(ref)
        ray.wait(running, num_returns=len(running), timeout=STOP_SECONDS)
