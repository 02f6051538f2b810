"""One training run on several processes, its ranks, which torchrun starts on one machine or on several: who does what, and on what they agree.

Whatever is decided is decided once: rank 0 reads and writes the run's folder and tells the others what came of it, errors included.
"""

import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError, RunError
from resnet_nb.training.checkpoints import RunFolder

Value = TypeVar("Value")
PATIENCE = datetime.timedelta(hours=2)  # ranks wait for the slowest one, which may be listing a million files on a network disk


@dataclass(frozen=True)
class Ranks:
    """number: this process's, from 0. count: of all processes. local, locals: the same two among those on this machine."""

    number: int = 0
    count: int = 1
    local: int = 0
    locals: int = 1

    def share(self, total: int) -> slice:
        """This rank's contiguous part of `total` places. The parts of all ranks, one after another, are every place once, none padded."""
        return slice(self.number * total // self.count, (self.number + 1) * total // self.count)

    def device(self, name: str) -> str:
        """The device called `name` as this rank has it: of several GPUs, the one of its own number. Raises InputError where there is none."""
        if self.count == 1:
            return name
        kind = "cuda" if name in ("auto", "cuda") and torch.cuda.is_available() else "cpu" if name == "auto" else name
        if kind not in ("cpu", "cuda"):
            raise InputError(f"--device {name} with {self.count} processes: each takes a GPU of its own; write cuda, cpu or auto.")
        resolve_device(kind)
        if kind == "cuda" and self.locals > torch.cuda.device_count():
            raise InputError(f"{self.locals} processes and {torch.cuda.device_count()} GPUs on this machine: lower torchrun's --nproc-per-node.")
        return f"cuda:{self.local}" if kind == "cuda" else kind

    @contextmanager
    def joined(self, device: str) -> Iterator[None]:
        """Inside the block the ranks can reach one another, unless a group that can is there already. device: as `device` returns it."""
        if self.count == 1 or dist.is_initialized():
            yield
            return
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on any rank."""
        if self.count == 1:
            return flags
        found = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(found, dist.ReduceOp.MAX)  # on the host, so that it does not wait for a GPU
        return tuple(map(bool, found.tolist()))

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of `numbers`, on the host, over the ranks; each has the same."""
        if self.count > 1:
            dist.all_reduce(numbers)
        return numbers

    def gathered(self, value: Value) -> list[Value]:
        """Every rank's value, by number."""
        if self.count == 1:
            return [value]
        found = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def on_first(self, call: Callable[[], Value]) -> Value:
        """What `call` returns on rank 0, which alone makes it; an InputError or RunError that it raises there is raised on every rank."""
        if self.count == 1:
            return call()
        answer = [None, None]
        if self.number == 0:
            try:
                answer[0] = call()
            except (InputError, RunError) as error:
                answer[1] = type(error), str(error)
        dist.broadcast_object_list(answer)
        if answer[1] is not None:
            kind, sentence = answer[1]
            raise kind(sentence)
        return answer[0]

    def check(self, failure: str | None) -> None:
        """Raise the same InputError on all ranks where any has found something wrong with what it read: `failure`, a sentence."""
        if any(self.any(failure is not None)):
            raise InputError(next(sentence for sentence in self.gathered(failure) if sentence is not None))

    def check_same(self, what: str, value: object) -> None:
        """Raise InputError unless `value` is the same on all ranks."""
        if len(set(map(str, self.gathered(value)))) > 1:
            raise InputError(f"The ranks differ in {what}: start the same command on every machine, with the same data.")


ALONE = Ranks()


def launched() -> Ranks:
    """The ranks as torchrun has set them in the environment; one where it has started none."""
    return Ranks(*(int(os.environ.get(name, default)) for name, default in zip(NAMES, (0, 1, 0, 1), strict=True)))


NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class SharedFolder:
    """A run's folder as all ranks use it: rank 0 holds it, reads and writes, and the others, on whatever machine, are told (a context manager)."""

    def __init__(self, folder: RunFolder, ranks: Ranks):
        self.folder, self.ranks = folder, ranks
        self.path: Path = folder.path
        self.fresh = folder.fresh

    def __enter__(self) -> "SharedFolder":
        self.ranks.on_first(lambda: self.folder.__enter__() and None)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.ranks.number == 0:
            self.folder.__exit__(*exception)

    def record(self) -> dict | None:
        """As RunFolder.record."""
        return self.ranks.on_first(self.folder.record)

    def load_checkpoint(self) -> dict | None:
        """As RunFolder.load_checkpoint."""
        return self.ranks.on_first(self.folder.load_checkpoint)

    def save_checkpoint(self, state: dict) -> None:
        """As RunFolder.save_checkpoint; the state is rank 0's."""
        self.ranks.on_first(lambda: self.folder.save_checkpoint(state))

    def finish(self, weights: dict, model: dict, normalisation: Normalisation, record: dict, trace: list[list] | None = None) -> None:
        """As RunFolder.finish."""
        self.ranks.on_first(lambda: self.folder.finish(weights, model, normalisation, record, trace))
