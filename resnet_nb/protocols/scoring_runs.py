"""Scoring runs of minutes or days: progress with the time left, and finished chunks kept on disk, so that a killed run goes on where it was."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm.auto import tqdm

from resnet_nb.audience import silenced
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError, RunError
from resnet_nb.files import DAMAGED, write_atomically
from resnet_nb.protocols import Chunk, Failure, Protocol, Scores, run
from resnet_nb.protocols.infer import CHUNK, SMALL_CHUNK

IDENTITY, LOCK = "run.json", ".lock"
BAR = "{percentage:3.0f} % {bar} {n:.0f} of {total} images, {elapsed} gone, {remaining} left, {rate_noinv:.1f} images/s{postfix}"
LEAST = float(np.finfo(np.float32).tiny)  # a score that underflowed counts as this much: a loss of 87 nats, not of infinity


class Judged(NamedTuple):
    """What one protocol made of n labelled pictures: predictions (n,) int64; top5 (n,) bool, whether the label is among the five likeliest;
    losses (n,) float64, the cross-entropy of the averaged scores in nats."""

    predictions: np.ndarray
    top5: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcome:
    """A scored set of pictures, or a chunk of one. places: (n,) int64, of the scored ones among all. judged: one for each protocol.

    logits: for each protocol (n, views, classes) float32 as recorded views have them, or none. failures: the pictures that could not be read.
    compared: for each protocol how many were scored in float32 as well, and how many of their predictions differ.
    """

    places: np.ndarray
    judged: tuple[Judged, ...]
    logits: tuple[np.ndarray, ...]
    failures: tuple[Failure, ...]
    compared: np.ndarray


def score(
    nets: Sequence[nn.Module],
    pictures: Sequence[Path] | Tensor,
    labels: np.ndarray,
    protocols: Sequence[Protocol],
    normalisations: Sequence[Normalisation],
    *,
    folder: Path | None = None,
    identity: dict | None = None,
    keep_logits: bool = False,
    device: torch.device,
    chunk: int | None = None,
    **options: object,
) -> Outcome:
    """Score `pictures` as `protocols.run` does with these options, and judge them by `labels`, (N,) int64.

    folder: where finished chunks are kept, and those of an earlier run with an equal `identity` (what decides the numbers, as JSON has it) are
    taken from; whoever has written the result removes it with `forget`. Raises InputError for a folder of another run, where no picture could be
    read, and as `run` does.
    """
    size = chunk or (SMALL_CHUNK if isinstance(pictures, Tensor) else CHUNK[device.type])
    with _kept(folder, {**(identity or {}), "chunk": size}) as store:
        outcomes = {number: store.load(number) for number in store.numbers()}
        outcomes = {number: outcome for number, outcome in outcomes.items() if outcome is not None}
        done = sum(len(outcome.places) + len(outcome.failures) for outcome in outcomes.values())
        with _bar(len(pictures), done) as advance:
            keep = "logits" if keep_logits else None
            chosen = {"device": device, "chunk": size, "keep": keep, "skip": outcomes, "advance": advance, **options}
            found = run(nets, pictures, protocols, normalisations, **chosen)
            for part in found:
                outcomes[part.number] = judged_chunk(part, labels, protocols)
                store.save(part.number, outcomes[part.number])
    whole = joined([outcomes[number] for number in sorted(outcomes)])
    if not len(whole.places):
        raise InputError(f"None of the {len(pictures)} pictures can be read; the first: {whole.failures[0].reason}")
    return whole


def forget(folder: Path | None) -> None:
    """Remove the finished chunks once the result is written."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def judge(scores: np.ndarray, labels: np.ndarray) -> Judged:
    """scores: (n, classes), which sum to one; labels: (n,) int64. With fewer than 5 classes, top-5 is out of all of them."""
    own = scores[np.arange(len(labels)), labels]
    first = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    losses = -np.log(np.maximum(own.astype(np.float64), LEAST))
    return Judged(scores.argmax(1), (first == labels[:, None]).any(1), losses)


def judged_chunk(chunk: Chunk, labels: np.ndarray, protocols: Sequence[Protocol]) -> Outcome:
    """What is kept of a finished chunk; its logits are those of the first net."""
    judged = tuple(judge(result.scores, labels[chunk.places]) for result in chunk.results)
    logits = tuple(view_logits(result, protocol) for result, protocol in zip(chunk.results, protocols, strict=True) if result.logits is not None)
    compared = np.array([(result.compared, result.flipped) for result in chunk.results], dtype=np.int64)
    return Outcome(chunk.places, judged, logits, chunk.failures, compared)


def view_logits(result: Scores, protocol: Protocol) -> np.ndarray:
    """(n, views, classes) float32 whose softmax is each view's posterior: its logits, or the logarithm of a mean over windows."""
    if protocol.dense and protocol.rule == "softmax":
        return np.log(np.maximum(result.views[0], LEAST))
    return result.logits[0]


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Chunks one after the other."""
    judged = tuple(Judged(*map(np.concatenate, zip(*each, strict=True))) for each in zip(*(one.judged for one in outcomes), strict=True))
    logits = tuple(map(np.concatenate, zip(*(one.logits for one in outcomes), strict=True)))
    failures = tuple(failure for one in outcomes for failure in one.failures)
    return Outcome(np.concatenate([one.places for one in outcomes]), judged, logits, failures, sum(one.compared for one in outcomes))


@contextmanager
def _bar(total: int, done: int):
    """Progress on standard error, for what takes longer than a second; gives what is called with how many more images are done."""
    with tqdm(
        total=total, initial=done, bar_format=BAR, disable=silenced(), file=sys.stderr, leave=False, delay=1, mininterval=1
    ) as bar:
        yield bar.update


class _Store(NamedTuple):
    """Finished chunks in a folder, one file each; nothing is kept where the folder is None."""

    folder: Path | None

    def numbers(self) -> list[int]:
        stems = (path.stem for path in self.folder.glob("[0-9]*.npz")) if self.folder else ()
        return sorted(int(stem) for stem in stems if stem.isdecimal())  # a copy made by hand has another name

    def load(self, number: int) -> Outcome | None:
        """A chunk, or None where its file is damaged: it is scored again."""
        try:
            with np.load(self._path(number), allow_pickle=False) as stored:
                return _unpacked(stored)
        except DAMAGED:
            return None

    def save(self, number: int, outcome: Outcome) -> None:
        if self.folder:
            buffer = io.BytesIO()
            np.savez(buffer, **_packed(outcome))
            write_atomically(self._path(number), buffer.getvalue())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"


def _packed(outcome: Outcome) -> dict[str, np.ndarray]:
    judged = {f"{name}_{place}": array for place, one in enumerate(outcome.judged) for name, array in one._asdict().items()}
    logits = {f"logits_{place}": array for place, array in enumerate(outcome.logits)}
    failures = np.array(json.dumps(outcome.failures))
    return {"places": outcome.places, "failures": failures, "compared": outcome.compared, **judged, **logits}


def _unpacked(stored: Callable) -> Outcome:
    count = len(stored["compared"])
    judged = tuple(Judged(*(stored[f"{name}_{place}"] for name in Judged._fields)) for place in range(count))
    logits = tuple(stored[f"logits_{place}"] for place in range(count) if f"logits_{place}" in stored)
    failures = tuple(Failure(*one) for one in json.loads(str(stored["failures"])))
    return Outcome(stored["places"], judged, logits, failures, stored["compared"])


@contextmanager
def _kept(folder: Path | None, identity: dict):
    """The store in `folder`, held by one process at a time. Raises InputError where it holds another run's chunks, or is in use."""
    if folder is None:
        yield _Store(None)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot make the folder {folder} ({error.strerror}): choose another place for the result.") from error
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"Another process is writing into {folder}: wait for it, or choose another file.") from error
    try:
        _claim(folder, json.loads(json.dumps(identity)))
        yield _Store(folder)
    finally:
        lock.release()


def _claim(folder: Path, identity: dict) -> None:
    for rest in folder.glob(".*.part"):  # of a process that was killed while it wrote
        rest.unlink(missing_ok=True)
    path = folder / IDENTITY
    if not path.exists():
        if any(folder.glob("[!.]*")):
            raise InputError(f"{folder} holds files that are no finished chunks: move them away, or choose another file for the result.")
        write_atomically(path, json.dumps(identity, indent=1) + "\n")
        return
    try:
        existing = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: remove the folder and start again.") from error
    if existing != identity:
        differ = ", ".join(key for key in {**existing, **identity} if existing.get(key) != identity.get(key))
        raise InputError(f"{folder} holds the finished chunks of another command (differing in {differ}): remove it, or choose another file.")
