"""Training batches of photographs: which image, at which short side, cropped and mirrored where, in which colours (He et al. 2015, section 3.4).

What a batch holds is decided by (seed, step) and by nothing else, and is known before a file is opened: so each of several ranks reads its own
slice of it, and however many there are, they read the same images in the same crops. The step number is all the state that reading has.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resnet_nb.data.draws import COLOUR, CROP, SCALE, Epochs, normal, words
from resnet_nb.data.normalise import Normalisation
from resnet_nb.data.photographs.photographs import Photographs
from resnet_nb.data.photographs.training import evenly
from resnet_nb.data.pictures import read_picture
from resnet_nb.errors import InputError
from resnet_nb.protocols.geometry import PLACES, View, box, resized_size
from resnet_nb.recipes import Recipe
from resnet_nb.training.ranks import ALONE, Ranks

COLOUR_STD = 0.1  # Krizhevsky et al. 2012, section 4.1
SAMPLE = 2_000  # training images that mean, deviation and colours are measured on, evenly spaced over the classes


class Item(NamedTuple):
    """One image of a batch. image: its place in the collection. short: pixels. top, left: a 63-bit number each, whose remainder by the room that the
    crop has is its place, or None for the centre. mirrored, and colour: what is added to red, green and blue, all in [0, 1]."""

    image: int
    short: int
    top: int | None = None
    left: int | None = None
    mirrored: bool = False
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Batch(NamedTuple):
    """images: (n, 3, crop, crop) uint8; labels: (n,) int64; colours: (n, 3) float32. failure: a sentence on a file that could not be read, and then
    the tensors are those of the others."""

    images: Tensor
    labels: Tensor
    colours: Tensor
    failure: str | None


class PhotoPlan:
    """What the batches of a run hold, from its seed. Images are drawn without replacement, epoch after epoch, as `training.batches` draws them.

    colours: (3, 3) float64, a principal component of the training images' colours in each column, times its variance; or None for none.
    """

    def __init__(self, images: int, recipe: Recipe, seed: int, colours: np.ndarray | None = None):
        self.recipe, self.seed, self.colours, self.drawn = recipe, seed, colours, Epochs(seed, images)

    def __call__(self, step: int) -> list[Item]:
        """The items of batch number `step`, counted from 0, in order."""
        size, (least, greatest) = self.recipe.batch_size, self.recipe.short_sides
        images = self.drawn(step * size, (step + 1) * size)
        shorts = least + words(self.seed, SCALE, step, size) % np.uint64(greatest - least + 1)
        tops, lefts, flips = words(self.seed, CROP, step, 3 * size).reshape(3, size) >> np.uint64(1)
        mirrored = (flips >> np.uint64(62)).astype(bool) & self.recipe.flip
        shifts = np.zeros((size, 3))
        if self.colours is not None:
            shifts = COLOUR_STD * normal(self.seed, COLOUR, step, 3 * size).reshape(size, 3) @ self.colours.T
        columns = (images, shorts, tops, lefts, mirrored, shifts)
        return [Item(*row[:5], tuple(row[5])) for row in zip(*(column.tolist() for column in columns), strict=True)]


class Reader(Dataset):
    """Items to pixels: a map-style data set whose keys are items, which DataLoader hands to its workers."""

    def __init__(self, photographs: Photographs, crop: int):
        # tensors, which the workers share: a million Python objects would be copied, to each of them
        paths = np.array([os.fsencode(path) for path in photographs.paths])
        self.paths = torch.from_numpy(paths.view(np.uint8).reshape(len(paths), -1))
        self.labels, self.crop = torch.from_numpy(photographs.labels), crop

    def __getitem__(self, item: Item) -> tuple[np.ndarray, int, tuple[float, float, float]] | str:
        """Pixels (crop, crop, 3) uint8, label, colour; or a sentence that says what is wrong with the file."""
        path = Path(os.fsdecode(self.paths[item.image].numpy().tobytes().rstrip(b"\0")))
        try:
            pixels = np.asarray(self._crop(read_picture(path), item))
        except (InputError, OSError) as error:
            return str(error) if str(path) in str(error) else f"{path} {error}"
        return pixels[:, ::-1] if item.mirrored else pixels, int(self.labels[item.image]), item.colour

    def _crop(self, picture: Image.Image, item: Item) -> Image.Image:
        height, width = resized_size(picture.height, picture.width, item.short)
        if item.top is None:  # the same pixels as the test protocols'
            top, left, *_ = box(View(item.short, PLACES[4], False), height, width, self.crop)
            return picture.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + self.crop, top + self.crop))
        top, left = item.top % (height - self.crop + 1), item.left % (width - self.crop + 1)
        # resizing no more than the crop: the same pixels but for rounding
        down, across = picture.height / height, picture.width / width
        right, bottom = min((left + self.crop) * across, picture.width), min((top + self.crop) * down, picture.height)
        return picture.resize((self.crop, self.crop), Image.Resampling.BILINEAR, (left * across, top * down, right, bottom))


def read(reader: Reader, batches: Iterable[Sequence[Item]], workers: int, pinned: bool = False) -> Iterator[Batch]:
    """The batches in order. workers: processes that decode, each a batch at a time, ahead of whoever takes them; 0 decodes in this one.

    pinned: in memory from which a GPU can copy while it computes.
    """
    context = None
    if workers and dist.is_initialized():  # a fork of a process that holds gloo's threads may hang, and in a trial did
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    return iter(
        DataLoader(
            reader, batch_sampler=batches, num_workers=workers, collate_fn=_together, pin_memory=pinned, worker_init_fn=_obedient,
            multiprocessing_context=context,
        )
    )  # fmt: skip


def _together(rows: list[tuple | str]) -> Batch:
    failure = next((row for row in rows if isinstance(row, str)), None)
    pixels, labels, colours = zip(*(row for row in rows if not isinstance(row, str)), strict=True) if failure is None else ((), (), ())
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) if pixels else torch.empty(0, 3, 0, 0, dtype=torch.uint8)
    return Batch(images, torch.tensor(labels, dtype=torch.int64), torch.tensor(colours, dtype=torch.float32), failure)


def _obedient(worker: int) -> None:
    """A worker leaves Ctrl-C to the process that trains, and ends when that ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def centres(images: np.ndarray, recipe: Recipe, size: int) -> Iterator[list[Item]]:
    """Batches of `size` items, the last perhaps smaller: the centre crops of images at the recipe's test side, as `1-crop` sees them."""
    for start in range(0, len(images), size):
        yield [Item(image, recipe.short_sides[0]) for image in images[start : start + size].tolist()]


def measured(photographs: Photographs, recipe: Recipe, workers: int, ranks: Ranks = ALONE) -> tuple[Normalisation, np.ndarray]:
    """The recipe's normalisation, and the colours of a PhotoPlan, of the centre crops of SAMPLE training images; each rank reads a part of them.

    Exact sums, so that the number of ranks changes nothing. Raises InputError for a file that cannot be read.
    """
    sample = evenly(len(photographs), SAMPLE)
    pixel = torch.zeros(3, recipe.crop, recipe.crop, dtype=torch.int64)
    products, failure = torch.zeros(3, 3, dtype=torch.float64), None
    for batch in read(Reader(photographs, recipe.crop), centres(sample[ranks.share(len(sample))], recipe, 50), workers):
        failure = failure or batch.failure
        if batch.failure is None:
            pixel += batch.images.sum(0, dtype=torch.int64)
            flat = batch.images.permute(1, 0, 2, 3).reshape(3, -1).double()
            products += flat @ flat.T  # whole numbers under 2 to the 53rd
    ranks.check(failure)
    mean = ranks.total(pixel).double() / len(sample) / 255
    channels = mean.mean((1, 2))
    covariance = ranks.total(products) / (len(sample) * recipe.crop**2) / 255**2 - torch.outer(channels, channels)
    std = covariance.diagonal().sqrt() if recipe.normalise == "channel-mean-std" else torch.ones(3)
    used = mean if recipe.normalise == "pixel-mean" else channels.view(-1, 1, 1)
    return Normalisation(used.float(), std.float().view(-1, 1, 1)), _components(covariance.numpy())


def _components(covariance: np.ndarray) -> np.ndarray:
    """Its eigenvectors, in columns, times their eigenvalues; signs as the sum of each has it, since LAPACK leaves them open."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.where(vectors.sum(0) < 0, -1, 1) * values
