"""A training run as its record has it: what it was, what came of it, and the command that repeats it."""

import shlex

from resnet_nb.data import Data
from resnet_nb.data.photographs.training import PhotoData
from resnet_nb.devices import resolve_device
from resnet_nb.provenance import cpu_threads, machine
from resnet_nb.runs.plans import Plan
from resnet_nb.training.ranks import Ranks
from resnet_nb.training.train import Fit


def outline(plan: Plan, data: Data, model: dict) -> dict:
    """The part of a record that is known before the run, which is enough for its name. model: of `plans.described`."""
    return {
        "kind": "training",
        "model": model,
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "split": data.split,
            "train_images": len(data.train),
            **({"train_evaluated": len(data.evaluated)} if plan.recipe.crop else {}),
            "validation_images": len(data.validation) if data.validation else 0,
            "test_images": len(data.test),
        },
        "recipe": plan.recipe.as_dict(),
        "seed": plan.seed,
        "iterations": plan.iterations,
    }


def record_of(plan: Plan, data: Data | PhotoData, model: dict, done: Fit, device: str, compiled: bool, ranks: Ranks) -> dict:
    """The record of a run that is done, unsigned and of no study yet."""
    running, evaluated = zip(*done.curve.running, strict=True), zip(*done.curve.evaluated, strict=True)
    steps, loss, error = (list(column) for column in running)
    at, train_error, validation_error, test_error = (list(column) for column in evaluated)
    provenance = {
        **machine(resolve_device(device)),
        **({"ranks": ranks.count} if ranks.count > 1 else {}),
        "deterministic": done.exact,
        "started": done.started,
        "wall_seconds": round(done.seconds, 1),
        "resumed_at": done.resumed_at,
        **({"earlier": done.earlier} if done.earlier else {}),
        **({"compiled": True} if compiled else {}),
    }
    return {
        "schema": 1,
        "kind": "training",
        "study": None,
        **{key: value for key, value in outline(plan, data, model).items() if key != "kind"},
        "curve": {"iteration": steps, "loss": _rounded(loss, 6), "error": _rounded(error, 4)},
        "evaluations": {
            "iteration": at,
            "train_error": _rounded(train_error, 4),
            "validation_error": _rounded(validation_error, 4) if done.validation else None,
            "test_error": _rounded(test_error, 4),
        },
        "final": {
            "iteration": done.iterations,
            "train_error": round(done.train.top1_error, 4),
            "validation_error": round(done.validation.top1_error, 4) if done.validation else None,
            "test_error": round(done.test.top1_error, 4),
            "test_top5_error": round(done.test.top5_error, 4),
            "test_loss": round(done.test.loss, 6),
            "train_loss": round(done.train.loss, 6),
            "warmup_error": None if done.warmup_error is None else round(done.warmup_error, 4),
        },
        "protocol": "1-crop",
        "provenance": provenance,
        "command": command(plan, data, None, provenance),
    }


def command(plan: Plan, data: Data | PhotoData, study: str | None = None, where: dict | None = None, *, keep_weights: bool = False) -> str:
    """The command that repeats the run, with `$RESNET_NB_DATA` where a path would be.

    where: the run's provenance, of which it names the number of ranks, whether the step was compiled, and on a CPU the number of threads, as
    another number of them adds in another order, and training amplifies the difference.
    """
    where = where or {}
    ranks, threads = where.get("ranks", 1), cpu_threads(where) if where else None
    words = ["resnet-nb"] if ranks == 1 else ["torchrun", "--nproc-per-node", str(ranks), "-m", "resnet_nb"]
    words += ["train", plan.model]
    words += ["--width", str(plan.width)] if plan.width is not None else []
    words += ["--init", plan.init] if plan.init != "he-fan-in" else []
    words += ["--norm", plan.norm] if plan.norm != "batch" else []
    words += ["--data", data.name]
    words += ["--split", data.split] if data.split != "all" else []
    words += ["--recipe", plan.recipe.name, "--seed", str(plan.seed)]
    words += ["--iterations", str(plan.iterations)] if plan.iterations != plan.recipe.iterations else []
    words += ["--image-size", str(data.image_size[0])] if _resized(plan, data) else []
    words += ["--deterministic"] if plan.deterministic else []
    words += ["--trace"] if plan.trace else []
    words += ["--keep-weights"] if keep_weights else []
    words += ["--compiled"] if where.get("compiled") else []
    words += ["--threads", str(threads)] if threads else []
    words += ["--study", study] if study else []
    text = shlex.join(words)
    return text if data.name == "digits" else f'{text} --data-root "$RESNET_NB_DATA"'


def _resized(plan: Plan, data: Data) -> bool:
    return data.name == "folder" and not plan.recipe.crop and len(set(data.image_size)) == 1


def _rounded(values: list[float], digits: int) -> list[float]:
    return [round(value, digits) for value in values]
