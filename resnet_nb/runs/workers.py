"""The processes of a sweep. Each does several runs at a time, in threads of its own: lanes, one run after another in each.

On a CPU a process has one lane, and there are as many processes as cores. On a GPU one process has many: the kernels of several processes only
share its time, while those of one process run side by side, where each lane has a stream of its own. What the host does for a step, tens of
microseconds where the step is one CUDA graph, is done by one lane at a time, and is a twentieth of what the step of a ResNet-20 takes.
"""

import contextlib
import gc
import math
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING

from resnet_nb.errors import InputError, RunError
from resnet_nb.runs.train_command import answer_of, final_line, parsed

if TYPE_CHECKING:
    import torch

    from resnet_nb.data import Data

LANES = 12  # at most, of a process: each has two of the 32 streams that torch hands out in turn, and the host has time for no more
PROCESS_GB = 1.5  # of a GPU: CUDA's own share of a process, and the data; an estimate
KILLED = "its process was killed; the same command goes on"


@dataclass(frozen=True)
class Ended:
    """How a lane's run ended: "done", "stopped" or "failed", what there is to say, and how far it came, as `Lane` has it."""

    lane: "Lane"
    kind: str
    said: str
    reached: int
    taken: int


class Worker:
    """A process. What it shares with this one: the time at which to stop, and for each lane the iterations that its run had when it was taken
    up, and has now."""

    def __init__(self, deadline: float, deterministic: bool = False):
        self.deadline, self.deterministic = deadline, deterministic
        self.lanes = [Lane(self, number) for number in range(LANES)]
        self.busy: set[int] = set()
        self.over: list[Ended] = []
        self._start()

    def _start(self) -> None:
        self.shared = RawArray("d", [self.deadline, *(2 * LANES * [0])])  # without a lock, which a process that is killed would keep
        self.connection, theirs = connection.Pipe()
        with _interrupts_ignored():  # a process inherits that: this one stops it
            self.process = get_context("spawn").Process(target=_serve, args=(theirs, self.shared, self.deterministic))
            self.process.start()
        theirs.close()  # so that this end notices when the process has ended

    def send(self, *message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:  # it was killed
            self._collect()
            self._end()
            self._start()
            self.connection.send(message)

    def room(self, device: str, gpu_gb: float) -> "Room":
        """How many runs of this need the device has room for. Raises InputError where the device is absent, RunError where there is no process."""
        try:
            self.send("room", device, gpu_gb)
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise RunError("A process was killed before it began to train: is there memory for one?") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ended(self) -> list[Ended]:
        """The runs that have ended since the last call; all of them where the process was killed."""
        self._collect()
        over, self.over = self.over, []
        return over

    def _collect(self) -> None:
        try:
            while self.busy and self.connection.poll():
                self._note(*self.connection.recv())
        except (EOFError, OSError):
            for lane in sorted(self.busy):
                self._note(lane, "failed", KILLED)

    def _note(self, lane: int, kind: str, said: str) -> None:
        self.busy.remove(lane)
        self.over.append(Ended(self.lanes[lane], kind, said, self.lanes[lane].reached, self.lanes[lane].taken))

    def stop(self) -> None:
        """Let what is under way end with its next step."""
        self.shared[0] = 0

    def close(self) -> None:
        """Stop, and wait until the process has ended."""
        self.stop()
        self._end()

    def _end(self) -> None:
        self.connection.close()  # the process ends when it notices
        self.process.join()


class Lane:
    """One of a worker's threads, as this process sees it."""

    def __init__(self, worker: Worker, number: int):
        self.worker, self.number = worker, number

    def begin(self, words: tuple[str, ...]) -> None:
        """Let it run a `resnet-nb train` command."""
        self.worker.shared[1 + 2 * self.number] = self.worker.shared[2 + 2 * self.number] = 0
        self.worker.send("train", self.number, words)
        self.worker.busy.add(self.number)

    @property
    def reached(self) -> int:
        """The iterations that its run has."""
        return int(self.worker.shared[2 + 2 * self.number])

    @property
    def taken(self) -> int:
        """The iterations that were taken since it took its run up."""
        return self.reached - int(self.worker.shared[1 + 2 * self.number])


def wait(workers: Sequence[Worker], seconds: float) -> list[Ended]:
    """The runs that have ended, after so long or as soon as there are some."""
    if not any(worker.over for worker in workers):
        connection.wait([worker.connection for worker in workers if worker.busy], seconds)
    return [ended for worker in workers for ended in worker.ended()]


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


# What follows runs in a worker's process.


@dataclass(frozen=True)
class Room:
    """How many runs a device has room for, how many of them may be the lanes of one process, and why."""

    runs: int
    lanes: int
    why: str


def _serve(parent: Connection, shared: Sequence[float], deterministic: bool) -> None:
    """Do what comes from the parent until it is gone, or this process is asked to end; what is under way then stops with a checkpoint."""
    os.environ["RESNET_NB_PROGRESS"] = "off"  # the sweep has a bar, which nothing here may write over
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once a process, by whichever run is the first
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    lanes, sending, data = defaultdict(lambda: ThreadPoolExecutor(1)), threading.Lock(), _Held()

    def do(lane: int, words: tuple[str, ...]) -> None:
        try:
            kind, said = _train(words, _until(shared, lane), data)
        except Exception as error:
            kind, said = "failed", f"{type(error).__name__}: {error}"
        with sending, contextlib.suppress(OSError):  # of a parent that is gone
            parent.send((lane, kind, said))

    try:
        while True:
            what, *message = parent.recv()
            if what == "room":
                parent.send(_room_or_error(*message))
            else:
                lanes[message[0]].submit(do, *message)
    except (EOFError, OSError):
        pass
    finally:
        shared[0] = 0
        for lane in lanes.values():
            lane.shutdown()


def _until(shared: Sequence[float], lane: int) -> Callable[[int], bool]:
    begun, now = 1 + 2 * lane, 2 + 2 * lane

    def until(iteration: int) -> bool:
        if shared[now] == 0:
            shared[begun] = max(0, iteration - 1)  # 0 as long as a grown run trains what it begins with
        shared[now] = iteration
        return time.monotonic() >= shared[0]

    return until


def _room_or_error(device: str, gpu_gb: float) -> Room | Exception:
    try:
        return room(device, gpu_gb)
    except (InputError, RunError) as error:
        return error


def room(device: str, gpu_gb: float) -> Room:
    """How many runs that need so much of a GPU, beside what a process does, the device called `device` has room for at a time."""
    import torch

    from resnet_nb.devices import resolve_device

    place, cores = resolve_device(device), _cores()
    if place.type == "cpu":
        return Room(cores, 1, f"the CPU has {cores} {'core' if cores == 1 else 'cores'}")
    if place.type != "cuda" or math.isinf(gpu_gb):
        return Room(1, 1, f"on {place} without an estimate of what a run needs")
    free = torch.cuda.mem_get_info(place)[0] / 1e9
    runs = max(1, min(LANES, int((free - PROCESS_GB) / gpu_gb)))
    why = f"on streams of one process; {place} has {free:.0f} GB free, of which a run is thought to need {gpu_gb:.1f}"
    return Room(runs, LANES, f"{why}, and the host has time for {LANES}" if runs == LANES else why)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Held:
    """The data that were read last, on the device where they were asked for: the lanes only read them, and share them."""

    def __init__(self) -> None:
        self.lock, self.asked, self.data = threading.Lock(), None, None

    def read(self, device: "torch.device", *place: object, **options: object) -> "Data":
        from resnet_nb.data import load_data

        asked = device, place, tuple(options.items())
        with self.lock:
            if self.asked != asked:
                self.asked = self.data = None
                self.data = load_data(*place, **options).to(device)  # waits for the copy, so that other streams may read it
                self.asked = asked
            return self.data


def _train(words: tuple[str, ...], until: Callable[[int], bool], data: _Held) -> tuple[str, str]:
    """Run one command: "done", "stopped" or "failed", and what there is to say."""
    import torch

    from resnet_nb.devices import resolve_device
    from resnet_nb.training.step import CAPTURING, own_stream

    before = torch.get_num_threads()
    device = resolve_device(parsed(words)["device"])
    with torch.cuda.stream(own_stream(device)) if device.type == "cuda" else contextlib.nullcontext():
        answer, wrong = answer_of(words, until, lambda *place, **options: data.read(device, *place, **options))
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # nothing reads the data any more, should they be replaced
    with CAPTURING:  # a graph and its memory are given back when the cycles that hold it are found; not while another is captured
        gc.collect()
    torch.set_num_threads(before)
    if answer is None:
        return "failed", wrong
    if answer.get("finished", True):
        return "done", final_line(answer)
    return "stopped", f"{answer['model']} stopped {answer['reached']}"
