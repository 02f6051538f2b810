"""Nets trained and then looked into: what notebook 03 does live."""

from collections.abc import Sequence

import pandas as pd

from resnet_nb.data import Data
from resnet_nb.devices import resolve_device
from resnet_nb.models import build_model
from resnet_nb.probes.blocks import blocks, is_residual
from resnet_nb.probes.lesions import delete_each
from resnet_nb.probes.responses import branch_shares, layer_responses
from resnet_nb.recipes import Recipe
from resnet_nb.records import family_and_depth
from resnet_nb.side_by_side import side_by_side
from resnet_nb.train import fit

PROBES = ("lesions", "responses", "shares")


def train_and_probe(
    models: Sequence[str], data: Data, recipe: Recipe, seeds: Sequence[int], *, width: int | None = None, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """Train each of `models` with each seed, side by side, and probe it on all test images; give the models with the slowest last.

    Returns {"lesions": rows of `lesions.delete_each`, "responses": of `responses.layer_responses`, "shares": of `responses.branch_shares`, of residual
    nets alone}, each with the columns model, family, depth, seed before its own.
    """
    jobs = [(model, data, recipe, seed, width, device) for model in models for seed in seeds]
    found = side_by_side(_train_and_probe, jobs, device)
    return {probe: pd.concat([tables[probe] for tables in found if probe in tables], ignore_index=True) for probe in PROBES}


def _train_and_probe(model: str, data: Data, recipe: Recipe, seed: int, width: int | None, device: str) -> dict[str, pd.DataFrame]:
    family, depth = family_and_depth(model)
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    done = fit(net, data, recipe.for_depth(depth), seed, device, progress=False)
    test = data.test.to(resolve_device(device))
    images = done.normalisation(test.images)
    tables = {"lesions": delete_each(net, images, test.labels), "responses": layer_responses(net, images)}
    if all(is_residual(block) for block in blocks(net).values()):
        tables["shares"] = branch_shares(net, images)
    what = {"model": model, "family": family, "depth": depth, "seed": seed}
    return {probe: pd.DataFrame({**what, **table}) for probe, table in tables.items()}
