"""A small net's weights and photographs in class folders, and the command line called in this process."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from protocol_examples import randomised
from torch import nn
from typer.testing import CliRunner

from resnet_nb import cli
from resnet_nb.models import build_model

MODEL = "imagenet:resnet18"
SIZES = ["--resize", "72", "--crop", "64"]
CONSTANTS = ["--mean", "0.45,0.45,0.45", "--std", "0.25,0.25,0.25"]


def small_net(model: str = MODEL, seed: int = 0, **options: object) -> nn.Module:
    """A net of `width` 4 for three classes whose scores differ."""
    net = randomised(build_model(model, seed=seed, **{"width": 4, "classes": 3, **options}), seed)
    nn.init.normal_(net.fc.weight, std=0.5, generator=torch.Generator().manual_seed(seed))
    return net


def weights_file(path: Path, net: nn.Module) -> Path:
    torch.save(net.state_dict(), path)
    return path


def class_folders(root: Path, images: int = 18) -> Path:
    """Random photographs of several sizes in val/a, val/b and val/c."""
    random = np.random.default_rng(0)
    for place in range(images):
        folder = root / "val" / "abc"[place % 3]
        folder.mkdir(parents=True, exist_ok=True)
        height, width = ((80, 100), (90, 70))[place % 2]
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{place:03}.png")
    return root


def invoke(*words: object) -> tuple[dict, str]:
    """The JSON on standard output, and what is on standard error."""
    result = CliRunner().invoke(cli.app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr
