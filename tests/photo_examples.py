"""Photographs of a few dozen pixels in class folders, and what is trained on them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from resnet_nb.data.photographs.training import PhotoData, training_photographs
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe, get_recipe

CHANGES = "batch_size=6,iterations=8,rate=0.02,drops=6,curve_every=2,evaluations=2,average_batches=2,crop=16,short_sides=18+32"
RECIPE = get_recipe(f"paper-imagenet,{CHANGES}")


def write_photographs(root: Path, train: int = 25, test: int = 7) -> Path:
    """`root`/{train,test}/CLASS/NUMBER.jpg of 24 to 60 pixels a side, whose colour tells which of the three classes they are of."""
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for number in range(count):
            pixels = random.integers(0, 90, (*random.integers(24, 60, 2), 3))
            pixels[..., number % 3] += 60
            path = root / part / f"class{number % 3}" / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def photo_data(root: Path, recipe: Recipe = RECIPE) -> PhotoData:
    return training_photographs("folder", root, recipe.crop)


def photo_net(seed: int = 0, norm: str = "batch") -> nn.Module:
    return build_model("imagenet:resnet18", width=2, classes=3, seed=seed, norm=norm)


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in net.state_dict().values()])
