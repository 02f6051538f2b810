"""Small data sets in memory, for tests that train for a few steps."""

import torch

from resnet_nb.data import Data, Images


def images(count: int, channels: int = 1, side: int = 8, classes: int = 4, seed: int = 0) -> Images:
    """`count` random uint8 images whose brightness tells the class, so that a net can learn them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 60, (count, channels, side, side), generator=generator)
    return Images((noise + 45 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


def small_data(train: int = 96, channels: int = 1, side: int = 8, classes: int = 4) -> Data:
    """A data set of `train` training and 40 test images."""
    names = tuple(f"class {number}" for number in range(classes))
    parts = images(train, channels, side, classes), images(40, channels, side, classes, seed=1)
    return Data("small", names, parts[0], None, parts[1], "all", "sha256:" + "0" * 64)
