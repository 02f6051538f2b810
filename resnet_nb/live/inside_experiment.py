"""Nets trained and then looked into: what notebook 03 does live."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from resnet_nb.data import Data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.probes.blocks import blocks, is_residual
from resnet_nb.probes.lesions import delete_each
from resnet_nb.probes.responses import branch_shares, layer_responses
from resnet_nb.recipes import Recipe
from resnet_nb.records import family_and_depth
from resnet_nb.runs import runs
from resnet_nb.training.train import fit

PROBES = ("lesions", "responses", "shares")


def train_and_probe(
    models: Sequence[str], data: Data, recipe: Recipe, seeds: Sequence[int], *, width: int | None = None, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """Train each of `models` with each seed, side by side, and probe it on all test images; give the models with the slowest last.

    Returns {"lesions": rows of `lesions.delete_each`, "responses": of `responses.layer_responses`, "shares": of `responses.branch_shares`, which
    plain nets lack}, each with the columns model, family, depth, seed before its own.
    """
    jobs = [(model, data, recipe, seed, width, device) for model in models for seed in seeds]
    return _joined(side_by_side(_train_and_probe, jobs, device))


def run_and_probe(
    models: Sequence[str], data: Data, recipe: Recipe, seed: int = 0, *, width: int | None = None, device: str = "auto", out: Path | str = "runs"
) -> dict[str, pd.DataFrame]:
    """The same with a run folder each under `out`, for runs of hours: what is finished is read, what was stopped goes on."""
    found = []
    for model in models:
        planned = runs.plan(model, recipe, seed, width=width)
        folder = runs.train(planned, data, Path(out) / f"{model}-{data.name}-{recipe.name}-s{seed}", device=device)[1]
        net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width)
        load_weights(net, read_weights(folder / "weights.pt"))
        normalisation = Normalisation.measured(data.train, recipe.normalise)
        found.append(_probed(net, model, seed, normalisation(data.test.images), data.test.labels))
    return _joined(found)


def _train_and_probe(model: str, data: Data, recipe: Recipe, seed: int, width: int | None, device: str) -> dict[str, pd.DataFrame]:
    net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    done = fit(net, data, recipe.for_depth(family_and_depth(model)[1]), seed, device, progress=False)
    test = data.test.to(resolve_device(device))
    return _probed(net, model, seed, done.normalisation(test.images), test.labels)


def _probed(net: nn.Module, model: str, seed: int, images: Tensor, labels: Tensor) -> dict[str, pd.DataFrame]:
    tables = {"lesions": delete_each(net, images, labels), "responses": layer_responses(net, images)}
    if all(is_residual(block) for block in blocks(net).values()):
        tables["shares"] = branch_shares(net, images)
    family, depth = family_and_depth(model)
    return {probe: pd.DataFrame({"model": model, "family": family, "depth": depth, "seed": seed, **table}) for probe, table in tables.items()}


def _joined(found: Sequence[dict[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    return {probe: pd.concat([tables[probe] for tables in found if probe in tables], ignore_index=True) for probe in PROBES}
