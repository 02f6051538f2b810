"""Normalisation: uint8 images to the floats that a network sees, and back onto a disk beside its weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_nb.data import Images


@dataclass(frozen=True)
class Normalisation:
    """(image / 255 - mean) / std.

    mean: float32, (C, H, W) per pixel or (C, 1, 1) per channel, of images divided by 255.
    std: float32 (C, 1, 1), of the same; ones where nothing is divided.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of_channels(cls, mean: list[float], std: list[float] | None = None) -> "Normalisation":
        """Per channel, from numbers in [0, 1] such as 0.485, 0.456, 0.406."""
        mean_tensor = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        std_tensor = torch.ones_like(mean_tensor) if std is None else torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)
        return cls(mean_tensor, std_tensor)

    @classmethod
    def measured(cls, images: Images, kind: str) -> "Normalisation":
        """What a recipe's `normalise` asks for, measured on the training images with exact integer sums."""
        pixels = images.images
        sums = sum(chunk.sum(0, dtype=torch.int64).cpu() for chunk in pixels.split(5_000))
        mean = sums.double() / len(pixels) / 255
        if kind != "pixel-mean":
            mean = mean.mean((1, 2), keepdim=True)
        std = torch.ones(pixels.shape[1], 1, 1, dtype=torch.float64)
        if kind == "channel-mean-std":
            squares = sum(chunk.long().square().sum((0, 2, 3)).cpu() for chunk in pixels.split(5_000))
            per_channel = squares.double() / pixels[:, 0].numel() / 255**2
            std = (per_channel.view(-1, 1, 1) - mean.square()).sqrt()
        return cls(mean.float().to(pixels.device), std.float().to(pixels.device))

    def for_size(self, height: int, width: int) -> "Normalisation":
        """This one, or where its mean per pixel is of another size, that with the means of its channels."""
        if self.mean.shape[1:] in ((1, 1), (height, width)):
            return self
        return Normalisation(self.mean.mean((1, 2), keepdim=True), self.std)

    def to(self, device: torch.device | str) -> "Normalisation":
        """The same on `device`."""
        return Normalisation(self.mean.to(device), self.std.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) uint8. Returns float32 of the same shape, channels last in memory."""
        floats = images.to(torch.float32).contiguous(memory_format=torch.channels_last)
        return (floats - 255 * self.mean) * (1 / (255 * self.std))
