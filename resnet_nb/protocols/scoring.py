"""Nets made ready for inference, and the scores that they give to the views of loaded pictures.

Batches hold images of one size and are never padded: zeros beside a picture would change the means of its windows. Crops of one size fill a batch
whatever picture they come from; whole pictures share one where their sizes are equal.
"""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.data.normalise import Normalisation
from resnet_nb.protocols.geometry import WHOLE, Protocol, View, box
from resnet_nb.protocols.heads import DenseScores, dense_scores, fold, full, pooled_logits, probe, split
from resnet_nb.protocols.sources import Loaded, Source, sources

PRECISIONS = {"float32": None, "tf32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}  # what autocast computes in


class Pass(NamedTuple):
    """A view with all that its scores depend on: protocols that agree on it share it."""

    source: Source
    view: View
    crop: int
    pad: int

    @property
    def dense(self) -> bool:
        return self.view.place == WHOLE


def passes(protocol: Protocol) -> list[Pass]:
    """One for each of the protocol's views, in their order."""
    source = {source.short: source for source in sources(protocol)}
    return [Pass(source[view.short], view, protocol.crop, protocol.pad) for view in protocol.views()]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A net made ready. body: to logits, or to the last map where `classifier` takes it from there; windows: the dense forms', by crop."""

    normalisation: Normalisation
    dtype: torch.dtype
    body: nn.Module
    classifier: nn.Linear | None
    windows: dict[int, tuple[int, int]]
    classes: int

    @classmethod
    def of(cls, net: nn.Module, normalisation: Normalisation, protocols: Sequence[Protocol], device: torch.device) -> "Scorer":
        """A copy of `net` on `device` in evaluation mode, batch normalisation folded, channels last. Raises InputError as `heads.split` does."""
        net = copy.deepcopy(net).to(device).eval()
        channels, body, classifier, windows = len(normalisation.std), net, None, {}
        for crop in {protocol.crop for protocol in protocols if protocol.dense}:
            body, classifier, windows[crop] = split(net, crop, channels)
        body = fold(body, protocols[0].crop, channels).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            classes = classifier.out_features if classifier else body(probe(net, protocols[0].crop, channels)).shape[-1]
        return cls(normalisation.to(device), next(net.parameters()).dtype, body, classifier, windows, classes)

    def normalised(self, pictures: Tensor) -> Tensor:
        """uint8 (N, C, H, W) to floats of the net's type, channels last. A mean per pixel serves pictures of its own size, else its channel means."""
        normalisation = self.normalisation.for_size(*pictures.shape[2:])
        return normalisation(pictures.to(normalisation.mean.device)).to(self.dtype)  # uint8 travels to the device: a quarter of the bytes

    def logits(self, crops: Tensor) -> Tensor:
        """(N, classes) of crops (N, C, crop, crop)."""
        found = self.body(crops)
        return full(found) if self.classifier is None else pooled_logits(found, self.classifier)


def score(
    scorer: Scorer, pictures: Sequence[Loaded], wanted: Sequence[Pass], batch: int, precision: str, done: Callable[[int], None]
) -> dict[Pass, DenseScores]:
    """The scores of n pictures in each pass, (n, classes) on the CPU; a crop is its own one window.

    batch: pixels a batch. done: called with the pixels of each batch when it is scored.
    """
    rows: dict[Pass, list[int]] = {one: [] for one in wanted}
    parts: dict[Pass, list[DenseScores]] = {one: [] for one in wanted}
    with computing_in(precision, scorer.normalisation.std.device):
        for keys, images in _batches(scorer, pictures, wanted, batch):
            scores = _scores(scorer, keys[0][0], images)
            for one in dict.fromkeys(one for one, _ in keys):
                places = [place for place, key in enumerate(keys) if key[0] == one]
                rows[one] += [keys[place][1] for place in places]
                parts[one].append(DenseScores(*(kind[places] for kind in scores)))
            done(len(images) * images[0, 0].numel())
    return {one: _in_order(rows[one], parts[one]) if rows[one] else DenseScores(*torch.zeros(3, 0, scorer.classes)) for one in wanted}


def pixels(pictures: Sequence[Loaded], wanted: Sequence[Pass]) -> int:
    """How many pixels `score` puts through a net, in all."""
    whole = [picture.sources[one.source][0].numel() for picture in pictures for one in wanted if one.dense]
    return sum(whole) + len(pictures) * sum(one.crop**2 for one in wanted if not one.dense)


@contextlib.contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """One of PRECISIONS inside the block. "float32" is just that: cuDNN's convolutions take TF32 unless they are told not to."""
    settings, wanted = (torch.backends.cudnn.conv, torch.backends.cuda.matmul), "tf32" if precision == "tf32" else "ieee"
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = wanted
        with torch.autocast(device.type, PRECISIONS[precision], enabled=PRECISIONS[precision] is not None):
            yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


Key = tuple[Pass, int]  # of an image in a batch: what it is, and the row of its picture


def _scores(scorer: Scorer, one: Pass, images: Tensor) -> DenseScores:
    if one.dense:
        return dense_scores(scorer.body(images), scorer.classifier, scorer.windows[one.crop])
    logits = scorer.logits(images)
    return DenseScores(logits.softmax(1), logits, logits)


def _in_order(rows: list[int], parts: list[DenseScores]) -> DenseScores:
    order = torch.tensor(rows).argsort()
    return DenseScores(*(torch.cat(kind).cpu()[order] for kind in zip(*parts, strict=True)))


def _batches(scorer: Scorer, pictures: Sequence[Loaded], wanted: Sequence[Pass], batch: int) -> Iterator[tuple[list[Key], Tensor]]:
    """Crops of each source and padding in full batches, then whole pictures."""
    for source, pad, crop in dict.fromkeys((one.source, one.pad, one.crop) for one in wanted if not one.dense):
        own = [one for one in wanted if (one.source, one.pad, one.crop, one.dense) == (source, pad, crop, False)]
        yield from _filled(_crops(scorer, pictures, own, batch), max(1, batch // crop**2))
    for source in dict.fromkeys(one.source for one in wanted if one.dense):
        own = [one for one in wanted if one.source == source and one.dense]
        yield from _whole(scorer, pictures, own, batch)


def _crops(scorer: Scorer, pictures: Sequence[Loaded], wanted: list[Pass], batch: int) -> Iterator[tuple[list[Key], Tensor]]:
    """Slices of each picture, all the views of one place together."""
    for rows, images in _groups(scorer, pictures, wanted[0].source, batch // len(wanted)):
        padded = F.pad(images, (wanted[0].pad,) * 4)
        for one in wanted:
            top, left = (offset + one.pad for offset in box(one.view, *images.shape[2:], one.crop, one.pad)[:2])
            slices = padded[:, :, top : top + one.crop, left : left + one.crop]
            yield [(one, row) for row in rows], slices.flip(3) if one.view.mirrored else slices


def _whole(scorer: Scorer, pictures: Sequence[Loaded], wanted: list[Pass], batch: int) -> Iterator[tuple[list[Key], Tensor]]:
    for rows, images in _groups(scorer, pictures, wanted[0].source, batch):
        for one in wanted:
            yield [(one, row) for row in rows], images.flip(3) if one.view.mirrored else images


def _groups(scorer: Scorer, pictures: Sequence[Loaded], source: Source, batch: int) -> Iterator[tuple[list[int], Tensor]]:
    """The rows of pictures of one exact size, and the pictures normalised; at most `batch` pixels, and at least one picture."""
    by_size: dict[torch.Size, list[int]] = {}
    for row, picture in enumerate(pictures):
        by_size.setdefault(picture.sources[source].shape, []).append(row)
    for (_, height, width), rows in by_size.items():
        count = max(1, batch // (height * width))
        for start in range(0, len(rows), count):
            own = rows[start : start + count]
            yield own, scorer.normalised(torch.stack([pictures[row].sources[source] for row in own]))


def _filled(pieces: Iterable[tuple[list[Key], Tensor]], size: int) -> Iterator[tuple[list[Key], Tensor]]:
    """Pieces joined into batches of `size` images; the last may be smaller."""
    keys: list[Key] = []
    waiting: list[Tensor] = []
    for own, images in pieces:
        keys, waiting = keys + own, [*waiting, images]
        while len(keys) >= size:
            joined = torch.cat(waiting)
            yield keys[:size], joined[:size]
            keys, waiting = keys[size:], [joined[size:]]
    if keys:
        yield keys, torch.cat(waiting)
