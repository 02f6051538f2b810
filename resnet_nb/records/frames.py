"""Records as data frames: a row a training run or an evaluation, a probe's own table, curves in long form."""

from collections.abc import Iterable

import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.records.names import family_and_depth, run_name
from resnet_nb.records.reading import of_kind

EVALUATION_COLUMNS = [
    "study", "repository", "model", "family", "depth", "data", "protocol", "train_error", "test_error", "train_images", "test_images",
    "trained_on", "note",
]  # fmt: skip


def to_table(records: Iterable[dict]) -> pd.DataFrame:
    """One row a training run: what it is, its final errors (percent), and where it ran. Evaluations are left to `evaluations_table`."""
    rows = []
    for record in of_kind("training", records):
        family, depth = family_and_depth(record["model"]["name"])
        rows.append(
            {
                "study": record["study"],
                "run": run_name(record),
                "model": record["model"]["name"],
                "family": family,
                "depth": depth,
                "width": record["model"]["width"],
                "data": record["data"]["name"],
                "recipe": record["recipe"]["name"],
                "split": record["data"]["split"],
                "seed": record["seed"],
                "iterations": record["iterations"],
                "stopped_at": record["final"]["iteration"],
                "init": record["model"]["init"],
                "norm": record["model"].get("norm", "batch"),
                "full_length": record["iterations"] == record["recipe"]["iterations"],
                "protocol": record["protocol"],
                **{name: record["final"][name] for name in ("train_error", "validation_error", "test_error", "test_top5_error")},
                "test_images": record["data"]["test_images"],
                "device_name": record["provenance"]["device_name"],
                "wall_seconds": record["provenance"]["wall_seconds"],
            }
        )
    return pd.DataFrame(rows)


def evaluations_table(records: Iterable[dict]) -> pd.DataFrame:
    """One row for each evaluation and protocol: whose weights, and their errors (percent) on the parts that were measured.

    trained_on says which images the weights had seen: a training error over others too is a mix. Training runs are left to `to_table`.
    """
    rows = []
    for record in of_kind("evaluation", records):
        family, depth = family_and_depth(record["model"]["name"])
        for protocol in dict.fromkeys(row["protocol"] for row in record["results"]):
            found = {row["part"]: row for row in record["results"] if row["protocol"] == protocol}
            row = {
                "study": record["study"],
                "repository": record["weights"]["repository"],
                "model": record["model"]["name"],
                "family": family,
                "depth": depth,
                "data": record["data"]["name"],
                "protocol": protocol,
                **{f"{part}_error": found[part]["top1_error"] if part in found else None for part in ("train", "test")},
                **{f"{part}_images": found[part]["images"] if part in found else None for part in ("train", "test")},
                "trained_on": record.get("trained_on"),
                "note": record.get("note"),
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=EVALUATION_COLUMNS)


def probe_table(records: Iterable[dict], probe: str) -> pd.DataFrame:
    """The tables of one probe joined, with the columns owner (of the weights), model, family and depth before those that `resnet-nb probe` gives.

    Raises InputError where none of the records is of that probe.
    """
    found = [record for record in of_kind("probe", records) if record["probe"] == probe]
    if not found:
        raise InputError(f"There is no recorded probe {probe!r} among these: record one with `resnet-nb probe {probe} ... --study NAME`.")
    frames = []
    for record in found:
        family, depth = family_and_depth(record["model"]["name"])
        what = {"owner": record["weights"]["repository"].split("/")[0], "model": record["model"]["name"], "family": family, "depth": depth}
        frames.append(pd.DataFrame({**what, **record["table"]}))
    return pd.concat(frames, ignore_index=True)


def curves(records: Iterable[dict], which: str = "curve") -> pd.DataFrame:
    """Points of training runs in long form, with model, family, depth, rate and seed: the running curve, or the "evaluations"."""
    frames = []
    for record in of_kind("training", records):
        family, depth = family_and_depth(record["model"]["name"])
        frame = pd.DataFrame({name: column for name, column in record[which].items() if column is not None})
        what = {"model": record["model"]["name"], "family": family, "depth": depth, "rate": record["recipe"]["rate"]}
        frames.append(frame.assign(**what, seed=record["seed"]))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
