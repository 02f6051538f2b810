"""A run's folder: the checkpoint while it goes on, weights and record when it is done, and nothing half-written in between."""

import io
import json
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from filelock import FileLock, Timeout

from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.files import write_atomically
from resnet_nb.models.weights import read_tensors
from resnet_nb.records import read_record
from resnet_nb.records.kept import WEIGHTS as KEPT_WEIGHTS
from resnet_nb.records.kept import read_weights_file, trace_text, weights_file

RUN, CHECKPOINT, WEIGHTS, MODEL, MEAN, TRACE, RECORD = (
    "run.json", "checkpoint.pt", "weights.pt", "model.json", "mean.npy", "trace.csv", "record.json",
)  # fmt: skip
LEFT = (RECORD, CHECKPOINT, WEIGHTS, MODEL, MEAN, TRACE)  # what a run leaves beside run.json; the record first, without which nothing is complete


class FolderInUse(InputError):
    """Another process, or another thread, is writing in the folder."""


class RunFolder:
    """The folder of one run, held by one process at a time (a context manager).

    run.json        what the run is; another command in the same folder is refused
    checkpoint.pt   the state while it goes on, replaced atomically
    weights.pt      a plain state dict; model.json and mean.npy say how to build the net and normalise its images
    trace.csv       every layer along the way, where that was asked for
    record.json     the record, written last: where it is, the run is complete

    Raises InputError when the folder belongs to another run, or another process is writing in it.
    """

    def __init__(self, path: Path | str, identity: dict, *, fresh: bool = False):
        self.path, self.identity, self.fresh = Path(path), json.loads(json.dumps(identity)), fresh
        self.lock = FileLock(self.path / ".lock", timeout=0)

    def __enter__(self) -> "RunFolder":
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: give --out a folder.")
        self._make()
        try:
            self.lock.acquire()
        except Timeout as error:
            raise FolderInUse(f"Another process is training in {self.path}: wait for it, or choose another --out.") from error
        except (OSError, NotImplementedError) as error:
            raise InputError(f"Cannot write in {self.path} ({error}): choose another --out.") from error
        try:
            self._claim()
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lock.release()

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"Cannot make the folder {self.path} ({error.strerror}): choose another --out.") from error

    def _claim(self) -> None:
        foreign = [name for name in LEFT if (self.path / name).exists()]
        if foreign and not (self.path / RUN).exists():
            raise InputError(f"{self.path} holds a {foreign[0]} that is of no run here ({RUN} is missing): choose another --out.")
        for name in (RUN, *LEFT):
            for rest in self.path.glob(f".{name}.*.part"):  # of a process that was killed while it wrote
                rest.unlink(missing_ok=True)
        if self.fresh:
            for name in (*LEFT, RUN):
                (self.path / name).unlink(missing_ok=True)
        existing = self._read(RUN)
        if existing is None:
            write_atomically(self.path / RUN, json.dumps(self.identity, indent=1) + "\n")
        elif existing != self.identity:
            keys = [key for key in {**existing, **self.identity} if existing.get(key) != self.identity.get(key)]
            differ = f"its {', '.join(keys)} differ{'s' if len(keys) == 1 else ''}"
            raise InputError(f"{self.path} holds another run ({differ}): choose another --out, or start again with --fresh.")

    def _read(self, name: str) -> dict | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is damaged: start the run again with --fresh.") from error
        if not isinstance(content, dict):
            raise InputError(f"{path} is damaged: start the run again with --fresh.")
        return content

    def record(self) -> dict | None:
        """The record of a run that is complete, else None. Raises InputError for one that was edited, or whose weights are gone."""
        if not (self.path / RECORD).exists():
            return None
        traced = [TRACE] if self.identity.get("trace") else []
        missing = [name for name in (WEIGHTS, MODEL, MEAN, *traced) if not (self.path / name).exists()]
        if missing:
            raise InputError(f"{self.path} has a record and no {missing[0]}: start the run again with --fresh.")
        (self.path / CHECKPOINT).unlink(missing_ok=True)  # of a process that was killed after it wrote the record
        return read_record(self.path / RECORD)

    def load_checkpoint(self) -> dict | None:
        """The last checkpoint's state, or None. Raises InputError where it cannot be read, or is another run's."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            stored = read_tensors(path)
            identity, state = stored["identity"], stored["state"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{path} is damaged: start the run again with --fresh.") from error
        if json.loads(identity) != self.identity:
            raise InputError(f"{path} is of another run: choose another --out, or start again with --fresh.")
        return state

    def save_checkpoint(self, state: dict) -> None:
        """Replace the checkpoint by `state` (tensors, numbers, strings, lists and dicts of them)."""
        write_atomically(self.path / CHECKPOINT, serialised({"identity": json.dumps(self.identity), "state": state}))

    def finish(self, weights: dict, model: dict, normalisation: Normalisation, record: dict, trace: list[list] | None = None) -> None:
        """Write what the run leaves, the record last, and remove the checkpoint. trace: rows of `kept.TRACE_COLUMNS`."""
        write_atomically(self.path / WEIGHTS, serialised(weights))
        mean = io.BytesIO()
        np.save(mean, normalisation.mean.cpu().numpy())
        write_atomically(self.path / MEAN, mean.getvalue())
        described = {**model, "std": normalisation.std.cpu().view(-1).tolist()}
        write_atomically(self.path / MODEL, json.dumps(described, indent=1) + "\n")
        if trace is not None:
            write_atomically(self.path / TRACE, trace_text(trace))
        write_atomically(self.path / RECORD, json.dumps(record, indent=1) + "\n")
        (self.path / CHECKPOINT).unlink(missing_ok=True)


def kept_weights(folder: Path) -> bytes:
    """The final weights of a complete run, as they may lie beside its record (`kept.weights_file`)."""
    weights = {name: tensor.numpy() for name, tensor in read_tensors(folder / WEIGHTS).items()}
    return weights_file(weights, np.load(folder / MEAN, allow_pickle=False), json.loads((folder / MODEL).read_text()))


def serialised(state: dict) -> bytes:
    """What torch.save writes of `state`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read_model(weights: Path | str) -> tuple[dict, Normalisation] | None:
    """The model's description and its normalisation, as model.json and mean.npy beside a weights file say, or a recorded one itself; else None."""
    folder, kept = Path(weights).parent, Path(weights).name.endswith(KEPT_WEIGHTS)
    if not kept and not (folder / MODEL).exists():
        return None
    try:
        if kept:
            _, mean, described = read_weights_file(Path(weights))
        else:
            described = json.loads((folder / MODEL).read_text())
            mean = np.load(folder / MEAN, allow_pickle=False)
        std = np.array(described.pop("std"), dtype=np.float32).reshape(-1, 1, 1)
        width = described.get("width")
        sound = isinstance(described["name"], str) and (width is None or (isinstance(width, int) and width > 0))
        sound = sound and mean.dtype == np.float32 and mean.ndim == 3 and len(std) == len(mean)
        sound = sound and bool(np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all())
    except (ValueError, OSError, KeyError, EOFError, TypeError, AttributeError) as error:
        raise InputError(_damaged(folder)) from error
    if not sound:
        raise InputError(_damaged(folder))
    return described, Normalisation(torch.from_numpy(mean), torch.from_numpy(std))


def _damaged(folder: Path) -> str:
    return f"{folder / MODEL} or {MEAN} beside the weights is damaged: give --mean and --std with weights elsewhere, or train again."
