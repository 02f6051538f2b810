"""One training run from names to files: what `resnet-nb train` does, callable from Python too."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from resnet_nb import records
from resnet_nb.data import Data
from resnet_nb.data.photographs.training import PhotoData
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.models import BOTTLENECKS, is_foreign, parse
from resnet_nb.models.weights import read_tensors
from resnet_nb.recipes import Recipe
from resnet_nb.records.kept import TRACE, WEIGHTS
from resnet_nb.runs import grow
from resnet_nb.runs.plans import Plan, build, described, evaluable
from resnet_nb.runs.run_records import command, outline, record_of
from resnet_nb.training import checkpoints, photo_training
from resnet_nb.training.batches import sizes_of
from resnet_nb.training.checkpoints import FolderInUse, RunFolder
from resnet_nb.training.conditions import conditions
from resnet_nb.training.ranks import ALONE, Ranks, SharedFolder
from resnet_nb.training.train import RunStopped, fit

WAIT_SECONDS = 0.5  # between two looks whether another has trained a net


def plan(
    model: str,
    recipe: Recipe,
    seed: int = 0,
    *,
    iterations: int | None = None,
    width: int | None = None,
    init: str = "he-fan-in",
    deterministic: bool = False,
    norm: str = "batch",
    trace: bool = False,
) -> Plan:
    """A plan whose recipe is the one that a net of this depth is trained with. Raises InputError for what cannot be."""
    if iterations is not None and not 1 <= iterations <= recipe.iterations:
        raise InputError(f"--iterations {iterations}: the recipe {recipe.name} has {recipe.iterations}, and is only ever cut short.")
    if width is not None and width < 1:
        raise InputError(f"--width {width}: a net has at least 1 channel.")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed}: seeds are 0 or greater, and less than 2 to the 63rd.")
    of_ours = model not in BOTTLENECKS and (":" not in model or model.startswith(("cifar:", "imagenet:")))
    depth = parse(model).depth if of_ours else 0
    if of_ours and recipe.crop and parse(model).stem == "cifar":
        raise InputError(f"{model} is a net for 32x32 pixels and {recipe.name} is for photographs: name another, such as imagenet:resnet50.")
    return Plan(model, width, init, recipe.for_depth(depth), seed, iterations or recipe.iterations, deterministic, norm, trace)


def train(
    plan: Plan,
    data: Data | PhotoData,
    out: Path | None = None,
    *,
    device: str = "auto",
    study: str | None = None,
    keep_weights: bool = False,
    fresh: bool = False,
    checkpoint_seconds: float = 30,
    compiled: bool = False,
    progress: bool = True,
    until: Callable[[int], bool] | None = None,
    ranks: Ranks = ALONE,
    workers: int | None = None,
) -> tuple[dict, Path, bool]:
    """Run `plan`, or what is left of it, in the folder `out` (`runs/NAME` when None).

    Returns the record, the folder, and whether there was anything left to do. With `study` the record is also filed under results/STUDY/.
    keep_weights: file the final weights beside it, in half precision; a plan's trace is filed there in any case.
    compiled: as in `fit`; the record's provenance and command say so.
    until: as in `fit`, whose RunStopped is raised; it is also asked after each step of the net that a grown one begins with, with 0. That net
    is trained in a folder of its own, runs/shallow/NAME, which other runs that begin with it find (in `out`/shallow where `out` is given).
    ranks, workers: as in `photo_training.fit`, for photographs; every rank calls this, and rank 0 alone writes.
    Nothing is written where the net cannot take the images or the recipe's sides are less than theirs, which raises InputError.
    """
    if keep_weights and study is None:
        raise InputError("--keep-weights files the weights beside the run's record: name the --study.")
    if study is not None:
        records.check_study(study)  # before hours of work, not after them
        records.check_writable()
    check_fitting(plan, data, ranks, compiled)
    resolve_device(device)  # before anything is written
    model = described(plan, data)
    if study is not None:
        records.check_name(outline(plan, data, model), study)  # such as that of the same run on other images of one's own
    if not plan.recipe.crop:
        sizes_of(*data.image_size, plan.recipe.scales)  # and a folder is claimed for what can be trained alone
    shallow = (out or Path("runs")) / "shallow"
    identity = plan.identity(data) | {key: model[key] for key in ("init_sha256",) if key in model}
    out = out or Path("runs") / records.run_name(outline(plan, data, model))
    with ranks.joined(device), SharedFolder(RunFolder(out, identity, fresh=fresh), ranks) as folder:
        record, new = folder.record(), False
        if record is None:
            new = True
            how = {"checkpoint_seconds": checkpoint_seconds, "progress": progress, "until": until}
            begun = folder.load_checkpoint() is not None
            net = _initial_net(plan, data, model["width"], None if begun else shallow, device=device, fresh=fresh, compiled=compiled, **how)
            how |= {"ranks": ranks, "workers": workers} if plan.recipe.crop else {"compiled": compiled, "trace": plan.trace}
            done = (photo_training.fit if plan.recipe.crop else fit)(
                net, data, plan.recipe, plan.seed, device, iterations=plan.iterations, folder=folder, deterministic=plan.deterministic, **how
            )
            record = records.signed(record_of(plan, data, model, done, device, compiled, ranks))
            records.validate(record)
            folder.finish(done.net.state_dict(), evaluable(plan, data, model), done.normalisation, record, done.trace)
        if study is not None and ranks.number == 0:
            words = command(plan, data, study, record["provenance"], keep_weights=keep_weights)
            record = {**record, "study": study, "command": words}
            _file(record, folder, traced=plan.trace, keep_weights=keep_weights)
        return record, out, new


def check_fitting(plan: Plan, data: Data | PhotoData, ranks: Ranks, compiled: bool) -> None:
    """Raise InputError where recipe and data are not both of photographs or both of small images, or the ranks cannot share the work."""
    recipe = plan.recipe
    if bool(recipe.crop) != isinstance(data, PhotoData):
        kinds = ("photographs", "small images") if recipe.crop else ("small images", "photographs")
        raise InputError(f"The recipe {recipe.name} is for {kinds[0]} and {data.name} holds {kinds[1]}: choose another --recipe or --data.")
    if ranks.count > 1 and not recipe.crop:
        raise InputError(f"The recipe {recipe.name} is for one process: several train on photographs, with paper-imagenet; leave torchrun out.")
    grown = plan.init.startswith(grow.PREFIX)
    if recipe.crop and (plan.trace or compiled or grown):
        raise InputError(f"The recipe {recipe.name} is for photographs: leave {'--init ' + plan.init if grown else '--trace and --compiled'} out.")
    if compiled and is_foreign(plan.model):
        raise InputError(f"--compiled compiles blocks of the package's own nets, and {plan.model} has none: leave it out.")
    photo_training.check_shares(recipe, ranks)


def _file(record: dict, folder: RunFolder | SharedFolder, *, traced: bool, keep_weights: bool) -> None:
    """Put the record of a complete run into its study, and beside it what is kept of the run."""
    beside = {TRACE: (folder.path / checkpoints.TRACE).read_text()} if traced else {}
    if keep_weights:
        beside[WEIGHTS] = checkpoints.kept_weights(folder.path)
    records.file_record(record, record["study"], beside=beside)


def _initial_net(plan: Plan, data: Data, width: int | None, shallow: Path | None, **how: object) -> torch.nn.Module:
    """The net as the run begins with it. shallow: where what a grown net begins with is trained; None where a checkpoint holds the weights."""
    name = grow.shallow_net(plan.init, plan.model)
    if name is None:
        return build(plan, data, plan.init)
    kept = grow.kept_weights(plan.init, data, width=width, seed=plan.seed)
    if kept is not None:
        weights = grow.read_kept(kept)
    else:
        weights = shallow and _shallow_weights(name, plan, data, shallow, **how)
    return grow.deepened(name, parse(plan.model), data, width=plan.width, seed=plan.seed, weights=weights)


def _shallow_weights(
    name: str, large: Plan, data: Data, where: Path, *, device: str, fresh: bool, compiled: bool, until: Callable[[int], bool] | None, **how: object
) -> dict[str, torch.Tensor]:
    """The state dict of the trained net called `name`, from the folder below `where` of the run that it is: trained there, or what is left of it.

    Several processes and threads may ask for it at a time: one trains it, and the others wait.
    """
    small = plan(name, grow.recipe_of(data), large.seed, width=large.width, deterministic=large.deterministic)
    identity, place = small.identity(data), resolve_device(device)
    # what it is and where it is computed make its name, so that what is found there is what would be computed here
    known = json.dumps([identity, conditions(place, large.deterministic, compiled)], sort_keys=True)
    name_of_run = records.run_name(outline(small, data, described(small, data)))
    folder = where / f"{name_of_run}-{hashlib.sha256(known.encode()).hexdigest()[:8]}"
    stops = None if until is None else lambda step: until(0)
    while True:
        try:
            train(small, data, folder, device=device, fresh=fresh, compiled=compiled, until=stops, **how)
            fresh = False
            with RunFolder(folder, identity) as done:
                if done.record() is not None:  # and no other has begun it afresh
                    return read_tensors(folder / checkpoints.WEIGHTS)
        except FolderInUse:
            if until is not None and until(0):
                raise RunStopped(0, small.iterations, RunFolder(folder, identity), name) from None
            time.sleep(WAIT_SECONDS)
        except RunStopped as stopped:
            raise RunStopped(stopped.iteration, stopped.iterations, stopped.place, name) from None
