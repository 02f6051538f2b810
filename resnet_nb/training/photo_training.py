"""Training on photographs that are read from their files meanwhile, by one process or by several ranks (DistributedDataParallel).

Each rank takes the step on its own slice of the batch; the gradients are averaged, and as the slices are equal that is the gradient of the mean loss
of the whole batch. Batch normalisation's statistics are each rank's own, as everyone's are (the authors': of 32 images on each of 8 GPUs), so
that with another number of ranks a net with batch normalisation is trained a little differently; the running statistics that are evaluated and
kept are rank 0's.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_nb.data.photographs.photographs import Photographs
from resnet_nb.data.photographs.training import PhotoData
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError, RunError
from resnet_nb.protocols.evaluate import Errors, evaluation_mode
from resnet_nb.recipes import Recipe
from resnet_nb.training.guards import out_of_memory_explained, repeatable
from resnet_nb.training.photo_batches import Batch, Item, PhotoPlan, Reader, centres, measured, read
from resnet_nb.training.ranks import ALONE, Ranks, SharedFolder
from resnet_nb.training.step import set_rate, sgd, take_step
from resnet_nb.training.train import Fit, Run

EVALUATED = {"cpu": 25, "cuda": 250}  # images at a time in evaluation: more overflow a CPU's caches


def fit(
    net: nn.Module,
    data: PhotoData,
    recipe: Recipe,
    seed: int = 0,
    device: str = "auto",
    *,
    ranks: Ranks = ALONE,
    workers: int | None = None,
    iterations: int | None = None,
    folder: SharedFolder | None = None,
    checkpoint_seconds: float = 30,
    deterministic: bool = False,
    progress: bool = True,
    until: Callable[[int], bool] | None = None,
) -> Fit:
    """Train `net` in place on photographs, and evaluate it: `training.train.fit` for what does not fit into memory.

    Called on every rank, with equal arguments but for the device, the ranks within `ranks.joined`. workers: processes of each rank that decode;
    None shares the processors among the ranks of a machine. until: where any rank's says True, all stop. The training error is that of
    `data.evaluated`. A run goes on from its checkpoint with any number of ranks: the batches stay the same, and with the same number, one or two,
    every bit (of more, the order in which gradients are added depends on when a process started).
    Raises InputError for a batch that the ranks cannot share equally and for a file that cannot be read, on all ranks alike; else as `train.fit`.
    """
    check_shares(recipe, ranks)
    place = resolve_device(device)
    if workers is None:
        workers = max(1, (os.cpu_count() or 1) // ranks.locals)
    with repeatable(place, deterministic), _failures_explained(ranks), out_of_memory_explained(place):
        run = PhotoRun(net, data, recipe, seed, place, iterations or recipe.iterations, deterministic, ranks, workers)
        if folder is not None:
            run.resume(folder, progress)
        run.go(folder, checkpoint_seconds, progress and ranks.number == 0, None, until)
        return run.finish()


def check_shares(recipe: Recipe, ranks: Ranks) -> None:
    """Raise InputError unless the ranks can share a batch equally."""
    size = recipe.batch_size
    if size % ranks.count:
        raise InputError(f"{ranks.count} processes cannot share a batch of {size} images equally: start a number of them that divides {size}.")


class PhotoRun(Run):
    """A run whose batches come from files, on one of the ranks."""

    def __init__(
        self, net: nn.Module, data: PhotoData, recipe: Recipe, seed: int, device: torch.device, total: int, deterministic: bool,
        ranks: Ranks, workers: int,
    ):  # fmt: skip
        ranks.check_same("data, recipe or seed", (data.fingerprint, recipe, seed, total))
        self.net = net.to(device, memory_format=torch.channels_last).train()
        self.data, self.recipe, self.device, self.total, self.deterministic = data, recipe, device, total, deterministic
        self.ranks, self.workers = ranks, workers
        normalisation, colours = measured(data.train, recipe, workers, ranks)
        self.normalisation = normalisation.to(device)
        self.plan = PhotoPlan(len(data.train), recipe, seed, colours if recipe.colour == "pca" else None)
        self.reader = Reader(data.train, recipe.crop)
        self.optimiser = sgd(net, recipe)
        self.stepped = self.net if ranks.count == 1 else DistributedDataParallel(self.net)
        self.sums = torch.zeros(2, device=device)
        # the sum of three gradients depends on their order, and that on a tensor's place in DDP's buckets, which move after a process's first step
        self.begin({"ranks": ranks.count, **({"repeatable": False} if ranks.count > 2 else {})})

    def slices(self, steps: range) -> Iterator[list[Item]]:
        """This rank's part of each step's batch."""
        share = self.ranks.share(self.recipe.batch_size)
        return (self.plan(step)[share] for step in steps)

    def read(self, reader: Reader, batches: Iterator[list[Item]]) -> Iterator[Batch]:
        return read(reader, batches, self.workers, pinned=self.device.type == "cuda")

    def placed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, crop, crop), channels last, and labels (n,), on the device."""
        floats = self.normalisation(batch.images.to(self.device, non_blocking=True))
        if self.plan.colours is not None:
            floats += batch.colours.to(self.device, non_blocking=True).view(-1, 3, 1, 1) / self.normalisation.std
        return floats, batch.labels.to(self.device, non_blocking=True)

    def go(self, *arguments: object) -> None:
        """As Run.go; files are read ahead from the first step that is left."""
        self.batches = self.read(self.reader, self.slices(range(self.step, self.total)))
        super().go(*arguments)

    def take_step(self) -> None:
        """One update with the schedule's rate. Raises InputError on all ranks where a file of any cannot be read."""
        batch = next(self.batches)
        self.ranks.check(batch.failure)
        set_rate(self.optimiser, self.recipe.rate_at(self.step), self.recipe.momentum_form)
        take_step(self.stepped, self.optimiser, *self.placed(batch), self.sums, self.recipe)
        self.step += 1
        self.since += 1

    def agreed(self, *flags: bool) -> tuple[bool, ...]:
        """What any rank wants, all do."""
        return self.ranks.any(*flags)

    def state(self) -> dict:
        """As Run.state, with the sums of every rank, (ranks, 2)."""
        return {**super().state(), "sums": torch.stack(self.ranks.gathered(self.sums.cpu()))}

    def take_up(self, state: dict) -> None:
        """As Run.take_up; with another number of ranks, each begins with the mean of the sums."""
        sums = state["sums"]
        super().take_up({**state, "sums": sums[self.ranks.number] if len(sums) == self.ranks.count else sums.mean(0)})

    def add_point(self) -> None:
        """As Run.add_point, of the whole batches."""
        self.sums.copy_(self.ranks.total(self.sums.cpu().double()) / self.ranks.count)
        super().add_point()

    def images_of(self, steps: range) -> Iterator[Tensor]:
        """This rank's part of the batches of some steps, normalised."""
        for batch in self.read(self.reader, self.slices(steps)):
            self.ranks.check(batch.failure)
            yield self.placed(batch)[0]

    def evaluate(self) -> tuple[Errors, None, Errors]:
        """Errors on a sample of the training images and on all test images, with rank 0's running statistics."""
        if self.ranks.count > 1:
            for buffer in self.net.buffers():
                dist.broadcast(buffer, 0)
        return self.errors(self.data.train, self.data.evaluated), None, self.errors(self.data.test, np.arange(len(self.data.test)))

    @torch.no_grad()
    def errors(self, photographs: Photographs, places: np.ndarray) -> Errors:
        """Under `1-crop`, of the images at `places`. Each rank tests a part of them, none is padded or repeated: the counts are exact."""
        mine = centres(places[self.ranks.share(len(places))], self.recipe, EVALUATED.get(self.device.type, 25))
        sums, failure = torch.zeros(4, dtype=torch.float64), None  # images, wrong, wrong in five, loss
        with evaluation_mode(self.net):
            for batch in self.read(Reader(photographs, self.recipe.crop), mine):
                failure = failure or batch.failure
                if failure is None:
                    images = self.normalisation(batch.images.to(self.device, non_blocking=True))
                    sums += _counts(self.net(images).float().cpu(), batch.labels)
        self.ranks.check(failure)
        images, wrong, wrong_top5, loss = self.ranks.total(sums).tolist()
        return Errors(int(images), int(wrong), int(wrong_top5), loss / images)


def _counts(scores: Tensor, labels: Tensor) -> Tensor:
    """(4,) float64 of scores (n, classes): n, how many are wrong at the first and within five guesses, and the sum of the losses."""
    right = scores.topk(min(5, scores.shape[1]), dim=1).indices == labels.unsqueeze(1)
    wrong, wrong_top5 = (~right[:, 0]).sum().item(), (~right.any(1)).sum().item()
    loss = F.cross_entropy(scores.double(), labels, reduction="sum").item()
    return torch.tensor([len(labels), wrong, wrong_top5, loss], dtype=torch.float64)


@contextmanager
def _failures_explained(ranks: Ranks) -> Iterator[None]:
    """What ends one rank alone: it says so itself, since rank 0 speaks for all else, and the others say that they were left."""
    try:
        yield
    except RunError as error:
        if ranks.local and isinstance(error.__cause__, MemoryError | RuntimeError):
            print(f"resnet-nb: rank {ranks.number}: {error}", file=sys.stderr)
        raise
    except RuntimeError as error:
        if ranks.count > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise RunError("Another process of this run has ended: see what it said; the same command goes on from the last checkpoint.") from error
        raise
