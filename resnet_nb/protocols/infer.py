"""Scores of pictures under test protocols: each picture decoded once, resized once per short side, its views slices of one tensor.

Protocols share what they have in common: the centre crop of `1-crop` is the fifth of `10-crop`, and `dense` is one scale of `multi-scale`. Pictures
are worked on in chunks, in order; the next chunk is decoded while one is scored, so that memory is bounded by two chunks whatever the number of
pictures.
"""

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import cpu_count

import numpy as np
import torch
from torch import Tensor, nn

from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.protocols.geometry import CROP, Protocol
from resnet_nb.protocols.heads import DenseScores
from resnet_nb.protocols.scoring import PRECISIONS, Pass, Scorer, passes, pixels, score
from resnet_nb.protocols.sources import Failure, Loaded, Picture, decoded

CHUNK = {"cpu": 64, "cuda": 256, "mps": 64}  # pictures, about 4 MB each at the paper's five scales; the more, the more are of one size
SMALL_CHUNK = 2048  # images of a tensor
BATCH = {"cpu": 10, "cuda": 256, "mps": 64}  # crops of 224x224 pixels: a CPU's caches hold few, a GPU is filled by many
KEEP = (None, "views", "logits")
Pictures = Iterable[Picture] | Tensor  # a tensor is uint8 (N, C, H, W)


@dataclass(frozen=True, eq=False)
class Scores:
    """What one protocol says of n pictures. All arrays float32.

    scores: (n, classes), averaged over views and nets as the protocol's rule has it; they sum to 1. views, logits: (nets, n, views, classes) in the
    order of `Protocol.views`, or None where they were not asked for. Of a crop, `logits` are the net's and `views` their softmax; of a
    dense pass each is the mean over windows (with the rule "pooled", of the one global average). compared: how many pictures were scored in
    float32 as well; flipped: how many of their predictions differ.
    """

    scores: np.ndarray
    views: np.ndarray | None = None
    logits: np.ndarray | None = None
    compared: int = 0
    flipped: int = 0

    @property
    def predictions(self) -> np.ndarray:
        """(n,) int64: the class with the greatest score."""
        return self.scores.argmax(1)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A finished part of a run. number: its place among the chunks; places: (n,) int64, those of the scored pictures among all; names: theirs;
    results: one for each protocol, in the order given; failures: the pictures that could not be read."""

    number: int
    places: np.ndarray
    names: tuple[str, ...]
    results: tuple[Scores, ...]
    failures: tuple[Failure, ...]


def run(
    nets: nn.Module | Sequence[nn.Module],
    pictures: Pictures,
    protocols: Sequence[Protocol],
    normalisation: Normalisation | Sequence[Normalisation],
    *,
    device: str | torch.device = "auto",
    chunk: int | None = None,
    batch: int | None = None,
    workers: int | None = None,
    precision: str = "float32",
    compare_every: int = 1,
    keep: str | None = None,
    skip: Container[int] = (),
    advance: Callable[[float], None] | None = None,
) -> Iterator[Chunk]:
    """Score `pictures` under each of `protocols`; finished chunks come in order, each as soon as it is done.

    nets: one, or an ensemble: each net's own scores, averaged. They are copied, put in evaluation mode, channels last, with batch normalisation
    folded where that is exact to rounding (`heads.fold`); those given are left as they are. pictures: paths or PIL images, read as RGB as
    torchvision's loader does, or uint8 (N, C, H, W), left on its device. What cannot be read, or not exactly, becomes a Failure (`sources.load`).
    normalisation: one for all, or one for each net. A mean per pixel serves pictures of its own size; for those of any other size the mean of
    each channel takes its place.
    chunk: pictures a chunk (CHUNK; SMALL_CHUNK of a tensor). batch: crops of 224x224 pixels at a time, or as many pixels in other sizes (BATCH).
    workers: threads that decode (half the processors). No score depends on these three but by rounding, 1e-5 at most for a ResNet-50.
    precision: "float32", which leaves TF32 out, "tf32", "bfloat16" or "float16"; with those every `compare_every`-th chunk (0: none) is scored in
    float32 as well, which takes its own time, and the predictions that differ are counted.
    keep: what to return besides the averages: None, "views", or "logits", which brings the views as well. skip: the numbers of chunks that are
    done already; their pictures are not opened, and the others keep their numbers. advance: called with how many pictures, a fraction, were
    done since the last call, as tqdm's `update` is; those of skipped chunks are not counted.
    Raises InputError for what cannot be run, before any picture is read, and for scores that are not numbers.
    """
    nets, protocols = [nets] if isinstance(nets, nn.Module) else list(nets), tuple(protocols)
    normalisations = [normalisation] * len(nets) if isinstance(normalisation, Normalisation) else list(normalisation)
    if not nets or not protocols or len(normalisations) != len(nets):
        raise InputError(f"{len(nets)} nets, {len(normalisations)} normalisations and {len(protocols)} protocols: give at least one of each.")
    if precision not in PRECISIONS or keep not in KEEP:
        raise InputError(f"Precision {precision!r}, keep {keep!r}: choose of {', '.join(PRECISIONS)} and of {', '.join(map(str, KEEP))}.")
    if min(size for size in (chunk, batch, workers, 1) if size is not None) < 1:
        raise InputError(f"chunk {chunk}, batch {batch}, workers {workers}: each is 1 or more.")
    place = resolve_device(device) if isinstance(device, str) else device
    scorers = [Scorer.of(net, one, protocols, place) for net, one in zip(nets, normalisations, strict=True)]
    pixels_a_batch = (batch or BATCH[place.type]) * CROP**2
    work = _Work(scorers, protocols, pixels_a_batch, precision, compare_every, keep, advance or (lambda pictures: None))
    size = chunk or (SMALL_CHUNK if isinstance(pictures, Tensor) else CHUNK[place.type])
    chunks = decoded(pictures, protocols, size, workers or max(1, (cpu_count() or 1) // 2), skip)
    return _chunks(work, chunks)


def average(views: np.ndarray | Tensor, logits: np.ndarray | Tensor | None, rule: str) -> Tensor:
    """The mean over the views that are given, then over nets, as `rule` has it: (nets, n, views, classes) to (n, classes) float32.

    "logits" takes `logits` and lets one softmax follow their mean; the other rules average `views`, which are softmax scores already.
    """
    if rule == "logits":
        return torch.as_tensor(logits).float().mean(2).softmax(2).mean(0)
    return torch.as_tensor(views).float().mean((0, 2))


@dataclass(frozen=True, eq=False)
class _Work:
    """All that a run depends on but its pictures."""

    scorers: list[Scorer]
    protocols: tuple[Protocol, ...]
    batch: int
    precision: str
    compare_every: int
    keep: str | None
    advance: Callable[[float], None]

    @torch.inference_mode()
    def chunk(self, number: int, outcomes: list[Loaded | Failure]) -> Chunk:
        """Score a chunk's pictures, in float32 as well where this chunk is one to compare."""
        loaded = [outcome for outcome in outcomes if isinstance(outcome, Loaded)]
        failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
        self.advance(len(failures))
        compared = self.precision != "float32" and self.compare_every > 0 and number % self.compare_every == 0
        precisions = [self.precision, "float32"] if compared else [self.precision]
        results, *exact = ([self.result(found, protocol) for protocol in self.protocols] for found in self.scores(loaded, precisions))
        if compared:
            flips = [int((ours.predictions != theirs.predictions).sum()) for ours, theirs in zip(results, exact[0], strict=True)]
            results = [replace(result, compared=len(loaded), flipped=flip) for result, flip in zip(results, flips, strict=True)]
        places = np.array([picture.place for picture in loaded], dtype=np.int64)
        return Chunk(number, places, tuple(picture.name for picture in loaded), tuple(results), failures)

    def scores(self, loaded: list[Loaded], precisions: list[str]) -> list[list[dict[Pass, DenseScores]]]:
        """For each precision and net: what each pass gives."""
        wanted = list(dict.fromkeys(one for protocol in self.protocols for one in passes(protocol)))
        share = len(loaded) / max(1, pixels(loaded, wanted) * len(self.scorers) * len(precisions))

        def done(pixels: int) -> None:
            self.advance(share * pixels)

        return [[score(scorer, loaded, wanted, self.batch, precision, done) for scorer in self.scorers] for precision in precisions]

    def result(self, found: list[dict[Pass, DenseScores]], protocol: Protocol) -> Scores:
        """One protocol's scores, from those of its passes, net by net."""
        own = [[scores[one] for one in passes(protocol)] for scores in found]
        logits = _stack([[one.pooled if protocol.rule == "pooled" else one.logits for one in scores] for scores in own])
        views = logits.softmax(3) if protocol.rule == "pooled" else _stack([[one.softmax for one in scores] for scores in own])
        scores = average(views, logits, protocol.rule)
        if not scores.isfinite().all():
            raise InputError("The net gives scores that are not numbers: weights or normalisation are far off, or the precision is too low.")
        return Scores(scores.numpy(), views.numpy() if self.keep else None, logits.numpy() if self.keep == "logits" else None)


def _stack(scores: list[list[Tensor]]) -> Tensor:
    """Nets, views and (n, classes) to (nets, n, views, classes) float32."""
    return torch.stack([torch.stack(views, 1) for views in scores]).float()


def _chunks(work: _Work, decoded_ahead: Iterator[tuple[int, list[Loaded | Failure]]]) -> Iterator[Chunk]:
    with contextlib.closing(decoded_ahead):  # who stops early stops the decoding, too
        for number, outcomes in decoded_ahead:
            yield work.chunk(number, outcomes)
