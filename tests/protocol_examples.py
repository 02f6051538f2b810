"""Nets and photographs for the tests of the test protocols."""

from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """`net` in evaluation mode with random statistics and scales, without which batch normalisation is next to the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def small_resnet(seed: int = 0, classes: int = 10) -> ResNet:
    """torchvision's ResNet with one block a stage: a crop of 64 pixels gives a map of 2x2. Its classifier is drawn wide, so that scores differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
        nn.init.normal_(net.fc.weight, std=0.3)
    return randomised(net, seed)


def photographs() -> list[Image.Image]:
    """scikit-learn's two photographs, whole, upright, narrow and tiny: four sizes, of which the first comes again as the fourth."""
    china, flower = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    return [china.resize((160, 120)), china.resize((121, 163)), flower.crop((50, 50, 350, 150)), flower.resize((160, 120)), china.resize((40, 33))]


def write(folder: Path, pictures: list[Image.Image]) -> list[Path]:
    """The pictures as PNG files."""
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths
