"""What runs cost: recorded ones as their records say it, and the paper's ImageNet nets by arithmetic. Nothing here imports torch."""

from collections.abc import Iterable, Mapping

import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.published import fact
from resnet_nb.recipes import completed
from resnet_nb.records import of_kind

IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
FLOP_PER_MAC = 6  # two to a multiply-add; the backward pass takes twice the forward one's, for the gradients of inputs and weights
COLUMNS = ["study", "model", "width", "precision", "device", "threads", "runs", "iterations", "minutes", "images_per_second", "hours"]


def costs(records: Iterable[dict]) -> pd.DataFrame:
    """What the training runs of `records` cost: a row for each study, model, width, precision and device, in order of appearance.

    Columns: those; threads, of the CPU; runs; iterations, minutes and images_per_second: medians of the runs, evaluations included in the time;
    hours: of all runs together. Runs that went side by side slowed each other, and less time passed than their hours.
    """
    rows = [_row(record) for record in of_kind("training", records)]
    keys = COLUMNS[: COLUMNS.index("runs")]
    groups = pd.DataFrame(rows, columns=[*keys, "iterations", "seconds", "images"]).groupby(keys, sort=False, dropna=False)
    found = []
    for key, group in groups:
        rates = group["images"] / group["seconds"].where(group["seconds"] > 0)
        middle = group["iterations"].median(), group["seconds"].median() / 60, rates.median()
        found.append((*key, len(group), *middle, group["seconds"].sum() / 3600))
    return pd.DataFrame(found, columns=COLUMNS).astype({"width": "Int64"})


def _row(record: dict) -> tuple:
    recipe, where, steps = completed(record["recipe"]), record["provenance"], record["final"]["iteration"]
    what = record["study"], record["model"]["name"], record["model"]["width"], recipe["precision"]
    return *what, _devices(where), where["threads"], steps, where["wall_seconds"], steps * recipe["batch_size"]


def _devices(where: dict) -> str:
    """The device of a run, or those of its parts one after another."""
    names = [*(part["device"].partition(", ")[2] for part in where.get("earlier", [])), where["device_name"]]
    return ", then ".join(dict.fromkeys(names))


def imagenet_costs(rates: Mapping[str, float] | None = None) -> pd.DataFrame:
    """What the paper's ImageNet training would cost: a row for each of its five residual nets. Arithmetic; none of it was run here.

    rates: images per second in training, measured on your device, by the net's name, such as {"resnet50": 400}. Columns: model; gmacs, of one
    image of 224 x 224 as the paper's Table 1 counts them; images, which are iterations times batch (section 3.4), and epochs, of ImageNet's training
    set; exaflop: images x 3 passes x 2 a multiply-add; images_per_second and hours, missing without a rate; and flops_per_second, which the
    rate amounts to: more than the device's peak is a rate that was not measured in training. Evaluation and reading are not in it.
    Raises InputError for another net or a rate that is not positive.
    """
    rates = dict(rates or {})
    names = [f"resnet{depth}" for depth in IMAGENET_DEPTHS]
    for name, rate in rates.items():
        if name not in names or not 0 < rate < float("inf"):
            raise InputError(f"The rate {name!r}: {rate} is not of this table: give images per second for {', '.join(names)}.")
    images, epochs = fact("r.max_iter").value * fact("r.batch").value, fact("r.max_epochs").value
    rows = []
    for name in names:
        gmacs, rate = fact(f"t1.{name}.flops").value, rates.get(name)
        flop = gmacs * 1e9 * FLOP_PER_MAC  # of one image
        measured = (rate, images / rate / 3600, flop * rate) if rate else (None, None, None)
        rows.append((name, gmacs, images, epochs, flop * images / 1e18, *measured))
    columns = ["model", "gmacs", "images", "epochs", "exaflop", "images_per_second", "hours", "flops_per_second"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[5:], "float64"))
