"""What may lie beside a record, of the same run: its trace (a table of layers and iterations) and its final weights. Without torch."""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.files import DAMAGED

TRACE, WEIGHTS = ".trace.csv", ".weights.npz"
TRACE_COLUMNS = ("iteration", "layer", "weight_norm", "gradient_norm", "relative_step", "angle", "response")
STAGES = {"conv1": "first layer", "layer1": "stage 1", "layer2": "stage 2", "layer3": "stage 3", "fc": "classifier"}
ABOUT = "about"  # the weights' member that says how to build the net and normalise its images
MEAN = "mean"


def trace_text(rows: Iterable[Sequence]) -> str:
    """Rows of TRACE_COLUMNS as the file holds them: five digits."""
    return pd.DataFrame(rows, columns=TRACE_COLUMNS).to_csv(index=False, float_format="%.5g", lineterminator="\n")


def read_trace(path: Path) -> pd.DataFrame:
    """The table in a trace's file, with TRACE_COLUMNS. Raises InputError where it is absent or no such table."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a trace: restore it from the repository, or run its record's command again.") from error
    if tuple(table.columns) != TRACE_COLUMNS or table.empty or not all(table[name].dtype.kind in "if" for name in TRACE_COLUMNS if name != "layer"):
        raise InputError(f"{path} has other columns than a trace: restore it from the repository, or run its record's command again.")
    return table


def stage_of(layer: str) -> str:
    """The stage of a CIFAR net's layer, by its name. Raises InputError for another net's."""
    place = layer.split(".")[0]
    if place not in STAGES:
        raise InputError(f"{layer!r} is no layer of a CIFAR net of ours: draw the trace of one.")
    return STAGES[place]


def weights_file(weights: Mapping[str, np.ndarray], mean: np.ndarray, about: dict) -> bytes:
    """The bytes of a weights file.

    weights: of a state dict. What has more than one dimension is rounded to half precision; scales, offsets and statistics, which are few, are not,
    and batch counters are left out. mean: (C, H, W) or (C, 1, 1) float32, which the images' normalisation subtracts. about: what JSON holds.
    """
    kept = {name: array.astype(np.float16 if array.ndim > 1 else np.float32) for name, array in weights.items() if array.ndim}
    content = {f"net.{name}": array for name, array in kept.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content, **{MEAN: mean.astype(np.float32), ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)})
    return buffer.getvalue()


def read_weights_file(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, dict]:
    """A state dict's arrays in float32, the mean and the description in a weights file, as `weights_file` takes them.

    Raises InputError where it is absent, damaged or another kind of file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        with np.load(path, allow_pickle=False) as stored:
            content = {name: stored[name] for name in stored.files}
        about = json.loads(content.pop(ABOUT).tobytes())
        mean = content.pop(MEAN)
    except DAMAGED as error:
        raise InputError(_no_weights(path)) from error
    names = [name.removeprefix("net.") for name in content if name.startswith("net.")]
    if damaged or not names or len(names) != len(content) or not isinstance(about, dict):
        raise InputError(_no_weights(path))
    return {name: content[f"net.{name}"].astype(np.float32) for name in names}, mean, about


def _no_weights(path: Path) -> str:
    return f"{path} cannot be read as recorded weights: restore it from the repository, or run its record's command again."
