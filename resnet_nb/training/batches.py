"""Training batches: which images, enlarged, cropped and mirrored how, as a function of (seed, iteration) and of nothing else.

A batch is one gather from images that were enlarged and padded once: the side, the crop and the mirror image are in the indices. On two CPU
cores that costs a hundredth of a training step of ResNet-20, where PIL and a DataLoader cost a third (benchmarks/training.py). What a block of
batches holds is drawn on the host and moved to the device as one tensor, a plan; a batch is a function of one row of it.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_nb.data import Images
from resnet_nb.data.draws import CROP, SCALE, Epochs, words
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.recipes import Recipe

CHUNK = 2048  # images that are enlarged at a time


class Batches:
    """The batches of one run, resident on the images' device.

    The images are drawn without replacement, epoch after epoch, from permutations made from (seed, epoch); a batch may span two epochs,
    so that 64,000 iterations of 128 images are 163.84 epochs of 50,000. Sides, crops and mirror images come from (seed, iteration).

    All images are held at all sides of the recipe's `scales` as padded bytes: 50,000 of CIFAR-10 with a padding of 4 are 0.24 GB as they are,
    and 1.06 GB at 32, 40 and 48 pixels. Raises InputError for a side that is less than the images' own.
    """

    def __init__(self, images: Images, recipe: Recipe, normalisation: Normalisation, seed: int):
        count, channels, self.height, self.width = images.images.shape
        self.count, self.labels, self.seed = count, images.labels, seed
        self.size, self.flip = recipe.batch_size, recipe.flip
        device = images.images.device
        sizes = sizes_of(self.height, self.width, recipe.scales)
        padded = np.array(sizes) + 2 * recipe.pad
        self.spans = padded - (self.height, self.width) + 1  # how many offsets a crop has, down and across
        self.padded_widths = padded[:, 1]
        areas = padded.prod(1).tolist()
        *starts, self.area = itertools.accumulate(areas, initial=0)  # an image's sides lie one after another
        self.starts = np.array(starts)
        # channels last, one row a pixel: a row is what the gather takes
        pixels = torch.zeros(count, self.area, channels, dtype=torch.uint8, device=device)
        frames = [frame.unflatten(1, size) for frame, size in zip(pixels.split(areas, 1), padded.tolist(), strict=True)]
        done = 0
        for chunk in _enlarged(images.images, recipe.scales):
            for frame, (height, width), enlarged in zip(frames, sizes, chunk, strict=True):
                inside = frame[done : done + len(enlarged), recipe.pad : recipe.pad + height, recipe.pad : recipe.pad + width]
                inside.copy_(enlarged.permute(0, 2, 3, 1))
            done += len(chunk[0])
        self.pixels = pixels.view(-1, channels)
        # copied, so that its rows are contiguous: as a transposed view it made a batch take three times as long (one CPU core)
        self.mean = torch.cat([_padded_mean(normalisation.mean.to(device).expand(channels, *size), recipe) for size in sizes])
        self.inverse_std = (1 / (255 * normalisation.std.to(device))).view(-1)
        self.rows, self.columns = torch.arange(self.height, device=device), torch.arange(self.width, device=device)
        self.drawn = Epochs(seed, count)

    def indices(self, step: int) -> np.ndarray:
        """(batch,) int64: which training images batch number `step`, counted from 0, holds."""
        return self.drawn(step * self.size, (step + 1) * self.size)

    def sides(self, step: int) -> np.ndarray:
        """(batch,) int64: the place among the recipe's `scales` of the side that each image of a batch has; zeros without them."""
        return (words(self.seed, SCALE, step, self.size) % np.uint64(len(self.starts))).astype(np.int64)

    def crops(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row offset, column offset (0 to side + 2 pad - crop) and mirror image (0 or 1) of each image of a batch, int64 (batch,)."""
        drawn = words(self.seed, CROP, step, 3 * self.size).reshape(3, self.size)
        offsets = (drawn[:2] % self.spans[self.sides(step)].T.astype(np.uint64)).astype(np.int64)
        mirrored = (drawn[2] >> np.uint64(63)).astype(np.int64) if self.flip else np.zeros(self.size, np.int64)
        return offsets[0], offsets[1], mirrored

    def plan(self, first: int, count: int) -> Tensor:
        """What the batches number `first` to `first + count - 1` hold, on the images' device: (count, 4, batch) int64.

        The four: the image; where its crop begins among the image's pixels; how wide the image is, enlarged and padded; mirrored (1) or not.
        A row of it is all that `gather` needs, so that a step that has one draws no numbers and asks the host for nothing.
        """
        images = self.drawn(first * self.size, (first + count) * self.size).reshape(count, self.size)
        rows = []
        for step in range(first, first + count):
            sides, (tops, lefts, mirrored) = self.sides(step), self.crops(step)
            widths = self.padded_widths[sides]
            rows.append((self.starts[sides] + tops * widths + lefts, widths, mirrored))
        plan = torch.from_numpy(np.concatenate([images[:, None], rows], 1))
        if self.pixels.device.type == "cuda":
            plan = plan.pin_memory()  # from other memory the copy would wait until the device has done all that it was given
        return plan.to(self.pixels.device, non_blocking=True)

    def gather(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of one row of a plan, (4, batch): images (batch, C, H, W) float32, channels last in memory, and labels (batch,) int64.

        A function of tensors on the device alone, so that a CUDA graph can hold it.
        """
        image, origin, padded_width, mirrored = plan.unsqueeze(2)
        rows = origin + self.rows * padded_width
        columns = torch.where(mirrored == 1, self.width - 1 - self.columns, self.columns)
        within = (rows.unsqueeze(2) + columns.unsqueeze(1)).view(-1)
        where = (image * self.area).expand(-1, self.height * self.width).reshape(-1) + within
        pixels = self.pixels.index_select(0, where).to(torch.float32)
        floats = (pixels - self.mean.index_select(0, within)) * self.inverse_std
        return floats.view(len(image), self.height, self.width, -1).permute(0, 3, 1, 2), self.labels[plan[0]]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`, as `gather` returns it."""
        return self.gather(self.plan(step, 1)[0])


def sizes_of(height: int, width: int, scales: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of the images at each side; their own without scales. Raises InputError for a side that is less than their own."""
    if not scales:
        return [(height, width)]
    from resnet_nb.protocols.geometry import resized_size  # here, since the protocols import torchvision, and other recipes do without

    if scales[0] < min(height, width):
        raise InputError(f"Recipe field scales begins with {scales[0]}, less than the images' {width}x{height} pixels: give their own side or more.")
    return [resized_size(height, width, side) for side in scales]


def _enlarged(images: Tensor, scales: tuple[int, ...]) -> Iterator[list[Tensor]]:
    """Of each chunk of `images`, uint8 (N, C, H, W) in order, one tensor for each side, enlarged as the test protocols do it (Pillow's bilinear)."""
    if not scales:
        yield [images]
        return
    from resnet_nb.protocols.geometry import Protocol
    from resnet_nb.protocols.sources import load

    protocol = Protocol("multi-scale", crop=min(images.shape[2:]), scales=scales)
    for chunk in images.split(CHUNK):
        one = load(0, chunk.flatten(0, 1).cpu(), [protocol])  # channels are resized one by one, so many images are a picture of many channels
        yield [enlarged.unflatten(0, chunk.shape[:2]) for enlarged in one.sources.values()]


def _padded_mean(mean: Tensor, recipe: Recipe) -> Tensor:
    """What is subtracted from each pixel of a padded image, (pixels, C): `mean`, (C, H, W) in [0, 1], and around it what the recipe's border says."""
    mean = 255 * mean
    outside = torch.zeros_like(mean[:, :1, :1]) if recipe.border == "mean" else mean.mean((1, 2), keepdim=True)
    around = F.pad(mean - outside, (recipe.pad,) * 4) + outside if recipe.pad else mean
    return around.permute(1, 2, 0).reshape(-1, len(mean))
