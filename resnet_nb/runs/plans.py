"""A run's plan: everything that decides its numbers; and the net that it names, built and described."""

from dataclasses import dataclass

import torch

from resnet_nb.data import Data
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.models import build_model, check_usable, count_parameters
from resnet_nb.models.nets import Net
from resnet_nb.recipes import Recipe
from resnet_nb.runs import grow


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run's numbers: two runs with equal plans on equal machines are the same run."""

    model: str
    width: int | None
    init: str
    recipe: Recipe
    seed: int
    iterations: int
    deterministic: bool = False
    norm: str = "batch"
    trace: bool = False

    def identity(self, data: Data) -> dict:
        """What `run.json` keeps, so that another command in the same folder is refused."""
        return {
            "model": self.model,
            "width": self.width,
            "init": self.init,
            "data": data.name,
            "fingerprint": data.fingerprint,
            "split": data.split,
            "recipe": self.recipe.as_dict(),
            "seed": self.seed,
            "iterations": self.iterations,
            "deterministic": self.deterministic,
            **changed_norm(self.norm),
            **({"trace": True} if self.trace else {}),
        }


def changed_norm(norm: str) -> dict:
    """What a record says of the normalisation layers: nothing where they are the paper's, as in the first records."""
    return {"norm": norm} if norm != "batch" else {}


def build(plan: Plan, data: Data, init: str) -> torch.nn.Module:
    """The net, newly initialised as `init` says."""
    return build_model(
        plan.model, classes=len(data.classes), in_channels=data.channels, width=plan.width, seed=plan.seed, init=init, norm=plan.norm
    )


def described(plan: Plan, data: Data) -> dict:
    """The model as its record describes it. Raises InputError for a name that says nothing, and for a net that cannot take the images."""
    grown = grow.shallow_net(plan.init, plan.model) is not None
    if grown and plan.norm != "batch":
        raise InputError(f"--init {plan.init} needs batch normalisation, which makes an inserted block the identity: leave --norm out.")
    net = build(plan, data, "he-fan-in" if grown else plan.init)
    if not isinstance(net, Net):
        check_usable(net, plan.model, (data.channels, *data.image_size), len(data.classes))
    width = plan.width or getattr(getattr(net, "conv1", None), "out_channels", None)
    kept = grow.kept_weights(plan.init, data, width=width, seed=plan.seed) if grown else None
    return {
        "name": plan.model,
        "width": width,
        "in_channels": data.channels,
        "classes": len(data.classes),
        "parameters": count_parameters(net),
        "init": plan.init,
        **({"init_sha256": checksum(kept)} if kept else {}),
        **changed_norm(plan.norm),
    }


def evaluable(plan: Plan, data: Data, model: dict) -> dict:
    """What `evaluate` needs to build the net again; `width` as it was asked for."""
    sizes = {"crop": plan.recipe.crop, "resize": plan.recipe.short_sides[0]} if plan.recipe.crop else {}
    return {**model, "width": plan.width, "data": data.name, "class_names": list(data.classes), **sizes}
