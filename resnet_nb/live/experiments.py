"""Experiments that several runs make up; a notebook calls one and draws the table that it returns."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from resnet_nb import records
from resnet_nb.data import Data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model, parse
from resnet_nb.protocols.evaluate import three_errors
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.runs import grow, runs
from resnet_nb.training.curve import Curve
from resnet_nb.training.train import fit

FAMILIES = ("plain", "resnet")


def train_depths(
    depths: Sequence[int], data: Data, recipe: Recipe, seed: int = 0, *, width: int | None = None, device: str = "auto"
) -> pd.DataFrame:
    """Train a plain and a residual net of each depth, in memory, side by side; give the depths in ascending order, so that the longest begin first.

    Returns one row a net: family, depth, seed, train_error, test_error (percent, at the end, evaluation mode, all images), seconds.
    """
    jobs = [(f"{family}{depth}", data, recipe, seed, width, device) for depth in depths for family in FAMILIES]
    rows = side_by_side(_train_one, jobs, device)
    return pd.DataFrame(rows, columns=["family", "depth", "seed", "train_error", "test_error", "seconds"])


def _train_one(name: str, data: Data, recipe: Recipe, seed: int, width: int | None, device: str) -> tuple:
    family, depth = records.family_and_depth(name)
    net = build_model(name, classes=len(data.classes), in_channels=data.channels, width=width, seed=seed)
    done = fit(net, data, recipe.for_depth(depth), seed, device, progress=False)
    return family, depth, seed, done.train.top1_error, done.test.top1_error, done.seconds


def train_grown(
    settings: Sequence[tuple[str, str, float]], data: Data, steps: int, seed: int = 0, *, points: Sequence[int] = (),
    width: int | None = None, device: str = "auto",
) -> pd.DataFrame:
    """Deepen a trained net and train it on, for each (deep net, shallow net, rate), such as ("plain56", "plain20", 0.05), side by side.

    The shallow net is trained with the data set's own recipe, and trained on with it too but for the rate, which stays as it is for `steps`.
    Returns one row an iteration: family, depth, rate, seed, iteration, error of its batch, and at `points` the training error of the same
    weights three times over: with each batch's own statistics ("batch_statistics"), in evaluation mode with statistics averaged anew over the
    training set ("averaged_anew"), and in evaluation mode as it stands ("evaluation_mode"); errors in percent.
    """  # fmt: skip
    jobs = [(*setting, data, steps, seed, tuple(points), width, device) for setting in settings]
    return pd.concat(side_by_side(_train_grown, jobs, device), ignore_index=True)


def _train_grown(
    name: str, shallow: str, rate: float, data: Data, steps: int, seed: int, points: tuple[int, ...], width: int | None, device: str
) -> pd.DataFrame:
    recipe = get_recipe(data=data.name).replaced(iterations=steps, rate=rate, drops=(), curve_every=1, evaluations=1)
    net = grow.build(shallow, parse(name), data, width=width, seed=seed, device=device, progress=False)
    images, seen = data.train.to(resolve_device(device)), {}
    normalisation = Normalisation.measured(images, recipe.normalise)

    def look(curve: Curve) -> None:
        step = curve.running[-1][0]
        if step in points:
            seen[step] = three_errors(net, images, normalisation)

    done = fit(net, data, recipe, seed, device, progress=False, on_point=look)
    family, depth = records.family_and_depth(name)
    table = pd.DataFrame([(step, error) for step, _, error in done.curve.running], columns=["iteration", "error"])
    three = pd.DataFrame.from_dict(seen, orient="index", columns=["batch_statistics", "averaged_anew", "evaluation_mode"], dtype=float)
    return table.assign(family=family, depth=depth, rate=rate, seed=seed).join(three, on="iteration")


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
