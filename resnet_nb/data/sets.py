"""What a data set is: as it is read (NumPy, channels last), and as all else uses it (tensors, channels first)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Training or test images as read. pixels: (N, H, W, C) uint8; labels: (N,) int64, places in the class names."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, order: np.ndarray) -> "Part":
        """The images at the places `order`, (n,) int64, in that order."""
        return Part(self.pixels[order], self.labels[order])

    def images(self) -> "Images":
        """The same as tensors."""
        return Images(torch.from_numpy(self.pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(self.labels))


@dataclass(frozen=True, eq=False)
class Images:
    """images: (N, C, H, W) uint8; labels: (N,) int64; both on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """The same on `device`."""
        return Images(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Data:
    """A named data set, every part of it in canonical order (`resnet_nb.data.canonical`).

    split: "all", or "45000/5000" where the training images were parted. fingerprint: "sha256:..." of the whole data
    set, whatever the split and the form it was read from. source: for people, what it was read from.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images | None
    test: Images
    split: str
    fingerprint: str
    source: str = ""

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return tuple(self.train.images.shape[2:])

    def to(self, device: torch.device | str) -> "Data":
        """The same on `device`."""
        validation = self.validation and self.validation.to(device)
        return replace(self, train=self.train.to(device), validation=validation, test=self.test.to(device))
