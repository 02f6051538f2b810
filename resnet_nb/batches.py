"""Training batches: which images, cropped and mirrored how, as a function of (seed, iteration) and of nothing else.

A batch is one gather from images that were padded once: the crop and the mirror image are in the indices. On two CPU cores that costs
a hundredth of a training step of ResNet-20, where PIL and a DataLoader cost a third (benchmarks/training.py).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_nb.data import Images
from resnet_nb.draws import CROP, ORDER, permutation, words
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import Recipe


class Batches:
    """The batches of one run, resident on the images' device.

    The images are drawn without replacement, epoch after epoch, from permutations made from (seed, epoch); a batch may span two epochs,
    so that 64,000 iterations of 128 images are 163.84 epochs of 50,000. Crops and mirror images come from (seed, iteration).
    """

    def __init__(self, images: Images, recipe: Recipe, normalisation: Normalisation, seed: int):
        count, channels, self.height, self.width = images.images.shape
        self.count, self.labels, self.seed = count, images.labels, seed
        self.size, self.pad, self.flip = recipe.batch_size, recipe.pad, recipe.flip
        self.padded_width = self.width + 2 * self.pad
        self.padded_area = (self.height + 2 * self.pad) * self.padded_width
        borders = (self.pad,) * 4
        # channels last, one row a pixel: a row is what the gather takes
        self.pixels = F.pad(images.images, borders).permute(0, 2, 3, 1).reshape(-1, channels)
        device = self.pixels.device
        mean = 255 * normalisation.mean.to(device).expand(channels, self.height, self.width)
        outside = torch.zeros(channels, 1, 1, device=device) if recipe.border == "mean" else mean.mean((1, 2), keepdim=True)
        around = F.pad(mean - outside, borders) + outside if self.pad else mean
        self.mean = around.permute(1, 2, 0).reshape(-1, channels)
        self.scale = (1 / (255 * normalisation.std.to(device))).view(-1)
        self.rows, self.columns = torch.arange(self.height, device=device), torch.arange(self.width, device=device)
        self.orders: dict[int, np.ndarray] = {}

    def indices(self, step: int) -> np.ndarray:
        """(batch,) int64: which training images batch number `step`, counted from 0, holds."""
        places = np.arange(step * self.size, (step + 1) * self.size)
        epochs, within = np.divmod(places, self.count)
        needed = np.unique(epochs).tolist()  # one, or two where the batch spans the end of an epoch
        self.orders = {e: self.orders[e] if e in self.orders else permutation(self.seed, ORDER, e, self.count) for e in needed}
        return np.array([self.orders[epoch][place] for epoch, place in zip(epochs.tolist(), within.tolist(), strict=True)])

    def crops(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row offset, column offset (0 to 2 pad) and mirror image (0 or 1) of each image of a batch, int64 (batch,)."""
        drawn = words(self.seed, CROP, step, 3 * self.size).reshape(3, self.size)
        offsets = (drawn[:2] % np.uint64(2 * self.pad + 1)).astype(np.int64)
        mirrored = (drawn[2] >> np.uint64(63)).astype(np.int64) if self.flip else np.zeros(self.size, np.int64)
        return offsets[0], offsets[1], mirrored

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`: images (batch, C, H, W) float32, channels last in memory, and labels (batch,) int64."""
        plan = torch.from_numpy(np.stack([self.indices(step), *self.crops(step)])).to(self.pixels.device)
        image, top, left, mirrored = plan.unsqueeze(2)
        rows = (top + self.rows) * self.padded_width
        columns = left + torch.where(mirrored == 1, self.width - 1 - self.columns, self.columns)
        within = (rows.unsqueeze(2) + columns.unsqueeze(1)).view(-1)
        where = (image * self.padded_area).expand(-1, self.height * self.width).reshape(-1) + within
        pixels = self.pixels.index_select(0, where).to(torch.float32)
        floats = (pixels - self.mean.index_select(0, within)) * self.scale
        return floats.view(len(plan[0]), self.height, self.width, -1).permute(0, 3, 1, 2), self.labels[plan[0]]
