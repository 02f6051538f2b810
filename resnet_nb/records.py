"""Recorded runs and evaluations: `results/STUDY/NAME.json`, one file each, with a digest inside and a checksum beside; reading needs no torch."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import jsonschema
import pandas as pd
from filelock import FileLock, Timeout

from resnet_nb.errors import InputError, RunError
from resnet_nb.files import checksum, write_atomically
from resnet_nb.kept import TRACE, WEIGHTS, read_trace, read_weights_file
from resnet_nb.tables import TABLE, read_table, table_text
from resnet_nb.views import Views, load

SUMS, LOCK = "SHA256SUMS", ".lock"
KEPT = {"--trace": TRACE, "--keep-weights": WEIGHTS}  # options of a run, and what they leave beside its record
LOCK_SECONDS = 60  # filing takes milliseconds
SUMS_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>[^/\\]+)")
STUDY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
KINDS = ("training", "evaluation", "probe")
EVALUATION_COLUMNS = [
    "study", "repository", "model", "family", "depth", "data", "protocol", "train_error", "test_error", "train_images", "test_images",
    "trained_on", "note",
]  # fmt: skip


def results_dir() -> Path:
    """Where recorded runs lie: `results/` of the checkout, else the copy that was installed with the package."""
    package = Path(__file__).resolve().parent
    in_checkout = (package.parent / "pyproject.toml").exists()
    return package.parent / "results" if in_checkout else package / "results"


def run_name(record: dict) -> str:
    """The file name of a record, from what decides its numbers: `plain20-digits-quick-digits-w8-s0`.

    Of an evaluation: the weights' owner and the first digits of their checksum, `resnet20-cifar10-akamaster-12fca82f`; of a probe, its name as well.
    """
    model, data = record["model"], record["data"]
    words = [model["name"].replace(":", "-"), data["name"]]
    split = [data["split"].replace("/", "+")] if data["split"] != "all" else []
    if record["kind"] != "training":
        weights = record["weights"]
        probe = [record["probe"]] if record["kind"] == "probe" else []
        return "-".join([*words, weights["repository"].split("/")[0], weights["sha256"][:8], *split, *probe])
    recipe = record["recipe"]
    words += [recipe["name"].replace(",", "-").replace("=", "")]
    words += [f"w{model['width']}"] if model["width"] is not None else []
    words += [re.sub("[:@]", "-", model["init"])] if model["init"] != "he-fan-in" else []
    words += [f"norm-{model['norm']}"] if "norm" in model else []
    words += [f"i{record['iterations']}"] if record["iterations"] != recipe["iterations"] else []
    return "-".join([*words, *split, f"s{record['seed']}"])


def digest(record: dict) -> str:
    """ "sha256:" and the digest of the record without its own digest, as JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    return "sha256:" + hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def signed(record: dict) -> dict:
    """The record with the digest of its content."""
    return {**{key: value for key, value in record.items() if key != "digest"}, "digest": digest(record)}


@cache
def _schema(kind: str) -> jsonschema.Draft202012Validator:
    text = resources.files("resnet_nb").joinpath(f"schemas/{kind}.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


def validate(record: dict) -> None:
    """Raise InputError, naming the field, where a signed record is not what its schema says or does not hold together."""
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind not in KINDS:
        raise InputError(f"A record's kind is one of {', '.join(KINDS)}, not {kind!r}.")
    fault = next(_schema(kind).iter_errors(record), None)
    if fault is not None:
        raise InputError(f"The record's {'.'.join(map(str, fault.path)) or 'top level'} is wrong: {fault.message}.")
    try:
        json.dumps(record, allow_nan=False)
    except ValueError as error:
        raise InputError("The record holds a number that is not finite, which JSON cannot keep.") from error
    CHECKS[kind](record)
    if re.search(r"(^|[\s=\"'])([A-Za-z]:\\|/|~)", record["command"]):
        raise InputError("The record's command holds a path of one machine: write $RESNET_NB_DATA for the data and $WEIGHTS for weights.")


def _check_training(record: dict) -> None:
    if record["iterations"] > record["recipe"]["iterations"]:
        raise InputError(f"The record's {record['iterations']} iterations are more than those of its recipe.")
    for name in ("curve", "evaluations"):
        columns = [column for column in record[name].values() if column is not None]
        if len({len(column) for column in columns}) > 1:
            raise InputError(f"The record's {name} has columns of different lengths.")
        steps = [0, *record[name]["iteration"], record["iterations"] + 1]
        if any(later <= earlier for earlier, later in zip(steps, steps[1:], strict=False)):
            raise InputError(f"The record's {name} does not go forward from the first iteration to the last.")
    least, losses = record["recipe"].get("stop_at_loss", 0), record["curve"]["loss"]
    early = bool(losses) and losses[-1] < least <= min(losses[:-1], default=least)
    early = early and record["final"]["iteration"] == record["curve"]["iteration"][-1]
    if record["final"]["iteration"] != record["evaluations"]["iteration"][-1] or not (early or record["final"]["iteration"] == record["iterations"]):
        raise InputError("The record's final figures are not those of its last iteration.")


def _check_evaluation(record: dict) -> None:
    from resnet_nb.stats import wilson_interval  # scipy.stats takes as long to import as all the rest here

    rows = record["results"]
    if len({(row["part"], row["protocol"], json.dumps(row.get("settings"))) for row in rows}) < len(rows):
        raise InputError("The record's results hold one part under one protocol twice.")
    for row in rows:
        interval = [round(bound, 4) for bound in wilson_interval(row["wrong"], row["images"])]
        error, given = round(100 * row["wrong"] / row["images"], 4), row["top1_interval"]
        near = all(abs(ours - theirs) < 2e-4 for ours, theirs in zip(interval, given, strict=True))  # the last digit may be another scipy's
        if row["top1_error"] != error or not near or row["top5_error"] > error:
            raise InputError(f"The record's results on {row['part']} do not hold together: {row['wrong']} wrong of {row['images']} images.")
    if (record["normalisation"]["images"] is None) != (record["normalisation"]["kind"] == "given"):
        raise InputError("The record's normalisation is either given or measured on a number of images.")


def _check_probe(record: dict) -> None:
    if len({len(column) for column in record["table"].values()}) > 1:
        raise InputError("The record's table has columns of different lengths.")


CHECKS = {"training": _check_training, "evaluation": _check_evaluation, "probe": _check_probe}


def as_text(record: dict) -> str:
    """A record as its file holds it."""
    return json.dumps(record, indent=1) + "\n"


def file_record(record: dict, study: str, results: Path | None = None, *, beside: Mapping[str, bytes | str] | None = None) -> Path:
    """Put a record into results/STUDY/, in place of an earlier one of the same run, and list its checksum there.

    beside: what else is kept of the run, by `kept.TRACE` or `kept.WEIGHTS`. It is written first, so that a record that is there has what it names;
    what lay beside an earlier record, of another time that the run was made, is taken away. Several processes may file at a time. Returns the
    record's path. Raises InputError for a bad name or record, and where another run has the same name (other data or recipe fields under one name);
    RunError where nothing can be written.
    """
    check_study(study)
    record = signed({**record, "study": study})
    validate(record)
    folder = (results or results_dir()) / study
    path = folder / f"{run_name(record)}.json"
    with _locked(folder):
        _check_same_run(record, path)
        if not _same_time(record, path):
            for ending in (TRACE, WEIGHTS):
                _unlist(path.with_name(path.stem + ending))
        for ending, content in (beside or {}).items():
            _put(path.with_name(path.stem + ending), content)
        _put(path, as_text(record))
    return path


def beside(path: Path) -> frozenset[str]:
    """What is kept of a run beside its record at `path`: some of `kept.TRACE` and `kept.WEIGHTS`."""
    return frozenset(ending for ending in (TRACE, WEIGHTS) if path.with_name(path.stem + ending).is_file())


def _put(path: Path, content: bytes | str) -> None:
    write_atomically(path, content)
    _list(path)


def _unlist(path: Path) -> None:
    """Take a file out of a study, if it is there."""
    path.unlink(missing_ok=True)
    sums = _read_sums(path.parent)[0]
    if sums.pop(path.name, None):
        _write_sums(path.parent, sums)


def _same_time(record: dict, path: Path) -> bool:
    """Whether `path` holds a sound record of the very run that this one is of, and not of another time that it was made."""
    try:
        return read_record(path)["provenance"] == record["provenance"]
    except InputError:
        return False


def file_table(table: pd.DataFrame, about: dict, study: str, name: str, results: Path | None = None) -> Path:
    """Put a table into results/STUDY/NAME.table.csv, see `tables.table_text`, and list its checksum there. Returns the file's path."""
    check_study(study)
    path = (results or results_dir()) / study / f"{name}{TABLE}"
    content = table_text(table, about)
    with _locked(path.parent):
        _put(path, content)
    return path


def load_table(study: str, name: str, results: Path | None = None) -> pd.DataFrame:
    """The recorded table NAME of a study. Raises InputError where it is absent or damaged."""
    return read_table((results or results_dir()) / study / f"{name}{TABLE}")


def list_views(path: Path, results: Path | None = None) -> None:
    """List the checksum of a file of recorded views, where it lies in a study; elsewhere nothing is done. Raises RunError as `file_record` does."""
    path = Path(path).resolve()
    if path.parent.parent == (results or results_dir()).resolve():
        with _locked(path.parent):
            _list(path)


def _list(path: Path) -> None:
    _write_sums(path.parent, {**_read_sums(path.parent)[0], path.name: checksum(path)})


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    write_atomically(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a study; its empty file stays behind, hidden and ignored by git."""
    lock = FileLock(folder / LOCK, timeout=LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"Another process has kept {folder} locked for {LOCK_SECONDS} s: stop it, then file again.") from error
    except OSError as error:
        raise RunError(f"Cannot file in {folder}: {error.strerror or error}; make it a folder that can be written to.") from error
    try:
        yield
    finally:
        lock.release()


def _check_same_run(record: dict, path: Path) -> None:
    """Raise InputError when `path` holds a sound record of a run that differs in what a name leaves out."""
    try:
        filed = read_record(path)
    except InputError:
        return  # absent or damaged: to be replaced
    before, now = _identity(filed), _identity(record)
    differ = [key for key in now if before.get(key) != now[key]]
    if differ:
        what = f"{path} holds another run of this name (its {' and '.join(differ)} differ)"
        raise InputError(f"{what}: file this one in another study.")


def _identity(record: dict) -> dict:
    """What two records have in common that are of the same run, of the same evaluation, or of the same probe."""
    if record["kind"] == "training":
        return {key: record[key] for key in ("kind", "model", "data", "recipe", "seed", "iterations")}
    if record["kind"] == "probe":
        return {key: record[key] for key in ("kind", "probe", "settings", "model", "weights", "data", "normalisation")}
    asked = [(row["part"], row["protocol"]) for row in record["results"]]  # not the settings: the first records do not name them
    return {**{key: record[key] for key in ("kind", "model", "weights", "data", "normalisation")}, "parts and protocols": asked}


def check_writable() -> None:
    """Raise InputError where the package is installed without its checkout: its recorded runs are not there to be added to."""
    if results_dir().parent == Path(__file__).resolve().parent:
        raise InputError("--study files records in a checkout of the repository, and this is an installed package: clone it first.")


def check_name(run: dict, study: str, results: Path | None = None) -> None:
    """Raise InputError where `study` holds a sound record of another run under this one's name. run: a record, or what is known before it is made."""
    _check_same_run(run, (results or results_dir()) / study / f"{run_name(run)}.json")


def check_study(study: str) -> None:
    """Raise InputError unless `study` is a name for a folder of results."""
    if not STUDY.fullmatch(study):
        raise InputError(f"--study {study!r}: a study's name is lower-case letters, digits and hyphens, such as digits-degradation.")


def _read_sums(folder: Path) -> tuple[dict[str, str], list[str]]:
    """What SHA256SUMS lists, {file name: checksum}, and the lines of it that say nothing."""
    path = folder / SUMS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    matches = [(line, SUMS_LINE.fullmatch(line)) for line in text.splitlines()]
    return {match["name"]: match["sum"] for _, match in matches if match}, [line for line, match in matches if not match]


def read_record(path: Path) -> dict:
    """One record. Raises InputError where it is unreadable, edited, or not what its schema says."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a record: restore it from the repository, or run its command again.") from error
    if isinstance(record, dict) and "digest" in record and record["digest"] != digest(record):
        raise InputError(f"{path} was edited: its content does not have the digest that it names; restore it, or run its command again.")
    validate(record)
    return record


def load_study(study: str, results: Path | None = None) -> list[dict]:
    """The records of a study, by file name. Raises InputError where there is none, or one is not sound."""
    folder = (results or results_dir()) / study
    paths = sorted(folder.glob("[!.]*.json"))
    if not paths:
        known = sorted(entry.name for entry in (results or results_dir()).glob("*") if entry.is_dir())
        raise InputError(f"There are no recorded runs of the study {study!r}; there are those of {', '.join(known) or 'none'}.")
    return [read_record(path) for path in paths]


def load_views(study: str, name: str, results: Path | None = None) -> Views:
    """The recorded views NAME.npz of a study. Raises InputError where they are absent or damaged."""
    return load((results or results_dir()) / study / f"{name}.npz")


def load_trace(study: str, name: str, results: Path | None = None) -> pd.DataFrame:
    """The trace beside the record NAME.json of a study: rows of `kept.TRACE_COLUMNS`. Raises InputError where it is absent or damaged."""
    return read_trace((results or results_dir()) / study / f"{name}{TRACE}")


def all_records(results: Path | None = None) -> list[dict]:
    """The records of every study."""
    root = results or results_dir()
    return [read_record(path) for path in sorted(root.glob("[!.]*/[!.]*.json"))]


def family_and_depth(model: str) -> tuple[str | None, int | None]:
    """ "plain" or "residual" and the depth, for the names of the paper's nets; (None, None) for others."""
    match = re.fullmatch(r"(?:cifar:|imagenet:)?(plain|resnet)([1-9][0-9]*)(?:-[ABC])?", model)
    return ("plain" if match[1] == "plain" else "residual", int(match[2])) if match else (None, None)


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


def of_kind(kind: str, records: Iterable[dict]) -> list[dict]:
    """Those of the records that are of one kind, one of KINDS."""
    return [record for record in records if record["kind"] == kind]


def curves(records: Iterable[dict], which: str = "curve") -> pd.DataFrame:
    """Points of training runs in long form, with model, family, depth, rate and seed: the running curve, or the "evaluations"."""
    frames = []
    for record in of_kind("training", records):
        family, depth = family_and_depth(record["model"]["name"])
        frame = pd.DataFrame({name: column for name, column in record[which].items() if column is not None})
        what = {"model": record["model"]["name"], "family": family, "depth": depth, "rate": record["recipe"]["rate"]}
        frames.append(frame.assign(**what, seed=record["seed"]))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


@dataclass(frozen=True)
class Problem:
    """Something wrong in results/; sentence says what, and what to do.

    kind: "edited" (not what was written), "missing" (listed, absent), "orphaned" (not listed, or not where its content belongs), or
    "unreadable" (no record at all).
    """

    path: Path
    kind: str
    sentence: str


def verify(results: Path | None = None) -> list[Problem]:
    """Compare every file of every study with its listed checksum, its own digest, its schema and its place.

    Hidden files do not count: the lock, and what a process that was killed left half-written. `.gitattributes` keeps git from changing
    line endings in results/.
    """
    root = results or results_dir()
    problems: list[Problem] = []
    for folder in sorted(entry for entry in root.glob("[!.]*") if entry.is_dir()):
        listed, unread = _read_sums(folder)
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
