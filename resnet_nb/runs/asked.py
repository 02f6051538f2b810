"""What `resnet-nb train` does as its options say, wherever they are read: on the command line, in a process of a sweep, in a task of Ray's.

Nothing here depends on the state of the process, such as its standard output, so that several threads may do it at a time.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_nb.errors import InputError
from resnet_nb.recipes import Recipe, get_recipe

if TYPE_CHECKING:
    from resnet_nb.data import Data
    from resnet_nb.data.photographs.training import PhotoData


@dataclass(frozen=True)
class Done:
    """A run's record and folder, whether there was anything left to do, and where the data came from."""

    record: dict
    folder: Path
    new: bool
    source: str


def deadline(minutes: float | None) -> float:
    """The time of time.monotonic() at which so many minutes from now are over. Raises InputError for a number that is none."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise InputError(f"--max-minutes {minutes:g}: give a number of minutes greater than 0.")
    return math.inf if minutes is None else time.monotonic() + 60 * minutes


def train(
    asked: Mapping, until: Callable[[int], bool] | None = None, *, progress: bool = True, read: "Callable[..., Data] | None" = None
) -> Done:
    """Train as the options `asked` say, of `train_command.parsed`. until: as in `train.fit`. read: in place of `load_data`, whose arguments it has.

    Raises what `runs.train` raises.
    """
    end = deadline(asked["max_minutes"])
    from resnet_nb.devices import set_threads
    from resnet_nb.runs import runs
    from resnet_nb.training.ranks import launched

    def over(iteration: int) -> bool:
        return (until is not None and until(iteration)) or time.monotonic() >= end

    def chosen(*names: str) -> dict:
        return {name: asked[name] for name in names}

    set_threads(asked["threads"])
    recipe = get_recipe(asked["recipe"], asked["data"])
    planned = runs.plan(asked["model"], recipe, asked["seed"], **chosen("iterations", "width", "init", "deterministic", "norm", "trace"))
    ranks = launched()
    device = ranks.device(asked["device"])
    data = data_of(planned.recipe, asked, read)
    out = asked["out"] and Path(asked["out"])
    how = chosen("study", "keep_weights", "fresh", "checkpoint_seconds", "compiled", "workers")
    done = runs.train(planned, data, out, device=device, until=over, progress=progress, ranks=ranks, **how)
    return Done(*done, data.source)


def data_of(recipe: Recipe, asked: Mapping, read: "Callable[..., Data] | None" = None) -> "Data | PhotoData":
    """What the recipe is trained on: photographs from their files, or small images whole. Raises InputError for options that do not go with it."""
    from resnet_nb.data import load_data
    from resnet_nb.data.photographs.imagenet import COLLECTIONS
    from resnet_nb.data.photographs.training import training_photographs

    name, root, options = asked["data"], asked["data_root"], {option: asked[option] for option in ("split", "download", "image_size")}
    if recipe.crop:
        if options != {"split": "all", "download": False, "image_size": None}:
            raise InputError(f"{name} is trained on as it lies there: leave --split, --image-size and --download out; the recipe sets the sizes.")
        return training_photographs(name, root, recipe.crop)
    if name in COLLECTIONS:
        raise InputError(f"{name} holds photographs, and the recipe {recipe.name} is for small images: write --recipe paper-imagenet.")
    return (read or load_data)(name, root, **options)
