"""What `resnet-nb verify` looks for in results/: files and studies that are missing, files that were edited, moved or cannot be read."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.records import places
from resnet_nb.records.filing import KEPT, beside
from resnet_nb.records.kept import TRACE, WEIGHTS, read_trace, read_weights_file
from resnet_nb.records.names import run_name
from resnet_nb.records.sums import SUMS, read_sums
from resnet_nb.records.tables import TABLE, read_table
from resnet_nb.records.validation import as_text, digest, validate
from resnet_nb.records.views import load


@dataclass(frozen=True)
class Problem:
    """Something wrong in results/; sentence says what, and what to do.

    kind: "edited" (not what was written), "missing" (listed, absent), "orphaned" (not listed, or not where its content belongs), or
    "unreadable" (no record, or no list of a study, at all).
    """

    path: Path
    kind: str
    sentence: str


def verify(results: Path | None = None) -> list[Problem]:
    """Compare every file of every study with its listed checksum, its own digest, its schema and its place.

    In a checkout the lists of studies lie beside results/: a study that has one, and is not said to be planned, has to be there.

    Hidden files do not count: the lock, and what a process that was killed left half-written. `.gitattributes` keeps git from changing
    line endings in results/.
    """
    root = results or places.results_dir()
    problems: list[Problem] = []
    for folder in sorted(entry for entry in root.glob("[!.]*") if entry.is_dir()):
        listed, unread = read_sums(folder)
        problems += [
            Problem(folder / SUMS, "unreadable", f"{folder / SUMS} has a line that lists nothing, {line[:60]!r}: restore the file.")
            for line in unread
        ]
        present = {path.name: path for path in folder.glob("[!.]*") if path.name != SUMS}
        for name in sorted(listed.keys() - present.keys()):
            problems.append(Problem(folder / name, "missing", f"{folder / name} is listed in {SUMS} but absent: restore it."))
        for name, path in sorted(present.items()):
            problems += [Problem(path, *fault) for fault in [_fault(path, folder.name, listed.get(name))] if fault]
    for path in sorted(path for ending in ("json", "csv", "npz") for path in root.glob(f"[!.]*.{ending}")):
        problems.append(Problem(path, "orphaned", f"{path} is in no study: move it into one with `resnet-nb train ... --study`, or remove it."))
    return problems + _absent_studies(root)


def _absent_studies(root: Path) -> list[Problem]:
    """The studies whose list says that they are recorded, and of which there is nothing in `root`."""
    problems = []
    for path in sorted((root.parent / "studies").glob("[!.]*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            name, planned = content["name"], content.get("planned", False)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError):
            problems.append(Problem(path, "unreadable", f"{path} cannot be read as the list of a study: restore it."))
            continue
        folder = root / str(name)
        if not planned and not any(folder.glob("[!.]*")):
            remedy = f"restore it, do the runs with `resnet-nb sweep {name}`, or write `planned: true` into the list"
            problems.append(Problem(folder, "missing", f"{folder} is absent, though {path} lists the runs of this study: {remedy}."))
    return problems


def _fault(path: Path, study: str, listed: str | None) -> tuple[str, str] | None:
    """The kind and the sentence of what is wrong with one file of a study, or None."""
    if listed is None:
        return "orphaned", f"{path} is not listed in {SUMS}: remove it, or file it again by running its command."
    for ending, read in ((TRACE, read_trace), (WEIGHTS, read_weights_file), (TABLE, read_table), (".npz", load)):
        if path.name.endswith(ending):
            return _fault_beside(path, listed, read) or (_fault_of_place(path, ending) if ending in (TRACE, WEIGHTS) else None)
    try:
        content = path.read_bytes()
        record = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return "unreadable", f"{path} cannot be read as a record: restore it from the repository, or run its command again."
    restore = "restore it, or run its command again"
    if not isinstance(record, dict) or record.get("digest") != digest(record):
        return "edited", f"{path} was edited: its content does not have the digest that it names; {restore}."
    if hashlib.sha256(content).hexdigest() != listed:
        written = hashlib.sha256(as_text(record).encode()).hexdigest() == listed
        what = "has other spacing or line endings than were written" if written else "is not the file that was recorded (its checksum differs)"
        return "edited", f"{path} {what}: {restore}."
    try:
        validate(record)
    except InputError as error:
        return "unreadable", f"{path} is not a valid record: {error}"
    if record["study"] != study or path.name != f"{run_name(record)}.json":
        return "orphaned", f"{path} holds the run {run_name(record)} of the study {record['study']}: it was renamed or moved; put it back."
    words = record["command"].split()
    lost = [option for option, ending in KEPT.items() if option in words and ending not in beside(path)]
    return ("missing", f"{path} was recorded with {' and '.join(lost)}, and what that leaves beside it is not there: {restore}.") if lost else None


def _fault_of_place(path: Path, ending: str) -> tuple[str, str] | None:
    """What is kept of a run has the run's record beside it."""
    record = path.with_name(path.name.removesuffix(ending) + ".json")
    return None if record.is_file() else ("orphaned", f"{path} is kept of a run whose record {record.name} is not there: restore it, or remove this.")


def _fault_beside(path: Path, listed: str, read: Callable[[Path], object]) -> tuple[str, str] | None:
    """The same of a file that is no record: recorded views, a trace, weights."""
    try:
        if checksum(path) != listed:
            return "edited", f"{path} is not the file that was recorded (its checksum differs): restore it, or run its command again."
        read(path)
    except (OSError, InputError) as error:
        return "unreadable", f"{path} cannot be read as what its name says: {error}"
    return None
