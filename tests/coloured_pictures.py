"""Small pictures whose class depends on what a faulty test pipeline changes: hue, brightness, shape, size and fine texture."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation


def coloured(count: int, seed: int) -> Images:
    """3x16x16, eight classes: red, orange, azure or blue, bright or dark, under noise."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 8
    hues = np.array([[60, -10, -50], [60, 30, -50], [-50, 30, 60], [-50, -10, 60]])[labels % 4]
    levels = np.where(labels < 4, 95, 155)[:, None]
    pixels = (levels + hues)[:, :, None, None] + draw.normal(0, 60, (count, 3, 16, 16)) + draw.normal(0, 11, (count, 3, 1, 1))
    return Images(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)), torch.from_numpy(labels.astype(np.int64)))


def shaped(count: int, seed: int) -> tuple[list[Image.Image], list[int]]:
    """96x72 pixels, eight classes: a striped disc or ellipse, small or large, its fine stripes of low or high contrast."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 8
    y, x = np.mgrid[:72, :96]
    pictures = []
    for label in labels:
        wide, large, strong = label & 1, label >> 1 & 1, label >> 2 & 1
        radius = (20 if large else 17) + draw.uniform(-0.7, 0.7)
        aspect = 1.33 if wide else 1.0
        across, down = (x - 48) / aspect**0.5, (y - 36) * aspect**0.5
        inside = across**2 + down**2 < radius**2
        stripes = (70 if strong else 30) * (1 + draw.uniform(-0.15, 0.15)) * np.where((x + y) % 6 < 3, 1, -1)
        grey = 80 + inside * (90 + stripes) + draw.normal(0, 5, (72, 96))
        pictures.append(Image.fromarray(np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 2)))
    return pictures, labels.tolist()


def saved(folder: Path, count: int, seed: int) -> tuple[list[Path], list[int]]:
    """`shaped` as PNG files."""
    pictures, labels = shaped(count, seed)
    paths = [folder / f"{place:04}.png" for place in range(count)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path, compress_level=1)
    return paths, labels


def trained(images: Images, normalisation: Normalisation, steps: int, classes: int = 8, width: int = 16) -> nn.Module:
    """A small convolutional net with batch normalisation, trained for so many batches of 64, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes),
        )  # fmt: skip
        optimiser = torch.optim.Adam(net.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, steps)
        for _ in range(steps):
            places = torch.randint(len(images), (64,))
            optimiser.zero_grad()
            F.cross_entropy(net(normalisation(images.images[places])), images.labels[places]).backward()
            optimiser.step()
            schedule.step()
    return net.eval()
