"""Experiments that several runs make up; a notebook calls one and draws the table that it returns."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from resnet_nb import records, runs
from resnet_nb.data import Data
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe
from resnet_nb.train import fit

FAMILIES = ("plain", "resnet")


def train_depths(
    depths: Sequence[int], data: Data, recipe: Recipe, seed: int = 0, *, width: int | None = None, threads: int = 1, device: str = "auto"
) -> pd.DataFrame:
    """Train a plain and a residual net of each depth, in memory, on `threads` CPU threads (small nets gain nothing from a second one).

    Returns one row a net: family, depth, seed, train_error, test_error (percent, at the end, evaluation mode, all images), seconds.
    """
    rows, before = [], torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for depth in depths:
            for family in FAMILIES:
                name = f"{family}{depth}"
                net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
                done = fit(net, data, recipe.for_depth(depth), seed, device)
                kind, _ = records.family_and_depth(name)
                rows.append((kind, depth, seed, done.train.top1_error, done.test.top1_error, done.seconds))
    finally:
        torch.set_num_threads(before)
    return pd.DataFrame(rows, columns=["family", "depth", "seed", "train_error", "test_error", "seconds"])


def run_depths(
    depths: Sequence[int], data: Data, recipe: Recipe, seed: int = 0, *, device: str = "auto", out: Path | str = "runs"
) -> pd.DataFrame:
    """The same with a run folder each under `out`, for runs of hours: what is finished is read, what was stopped goes on.

    Returns the runs' table (records.to_table).
    """
    done = []
    for depth in depths:
        for family in FAMILIES:
            planned = runs.plan(f"{family}{depth}", recipe, seed)
            folder = Path(out) / f"{family}{depth}-{data.name}-{recipe.name}-s{seed}"
            done.append(runs.train(planned, data, folder, device=device)[0])
    return records.to_table(done)


def first_losses(name: str, data: Data, recipe: Recipe, seed: int = 0, *, steps: int = 5, width: int | None = None) -> list[float]:
    """The training loss at each of the first `steps` iterations on the CPU.

    Kinds of CPU round differently, and training amplifies that: for 8 layers the first five losses agreed to 4e-5 of their size on four kinds, for
    56 layers the second one no longer to 1e-3.
    """
    net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    done = fit(net, data, recipe.replaced(curve_every=1), seed, "cpu", iterations=steps, progress=False)
    return [loss for _, loss, _ in done.curve.running]
