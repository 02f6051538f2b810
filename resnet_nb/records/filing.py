"""Records put into a study, each with its checksum and with what is kept beside it; several processes may file at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from resnet_nb.errors import InputError, RunError
from resnet_nb.files import write_atomically
from resnet_nb.records import places
from resnet_nb.records.kept import TRACE, WEIGHTS
from resnet_nb.records.names import identity, run_name
from resnet_nb.records.reading import read_record
from resnet_nb.records.sums import list_file, take_out
from resnet_nb.records.tables import TABLE, table_text
from resnet_nb.records.validation import as_text, signed, validate

LOCK = ".lock"
KEPT = {"--trace": TRACE, "--keep-weights": WEIGHTS}  # options of a run, and what they leave beside its record
LOCK_SECONDS = 60  # filing takes milliseconds


def file_record(record: dict, study: str, results: Path | None = None, *, beside: Mapping[str, bytes | str] | None = None) -> Path:
    """Put a record into results/STUDY/, in place of an earlier one of the same run, and list its checksum there.

    beside: what else is kept of the run, by `kept.TRACE` or `kept.WEIGHTS`. It is written first, so that a record that is there has what it names;
    what lay beside an earlier record, of another time that the run was made, is taken away. Several processes may file at a time. Returns the
    record's path. Raises InputError for a bad name or record, and where another run has the same name (other data or recipe fields under one name);
    RunError where nothing can be written.
    """
    places.check_study(study)
    record = signed({**record, "study": study})
    validate(record)
    folder = (results or places.results_dir()) / study
    path = folder / f"{run_name(record)}.json"
    with _locked(folder):
        _check_same_run(record, path)
        if not _same_time(record, path):
            for ending in (TRACE, WEIGHTS):
                take_out(path.with_name(path.stem + ending))
        for ending, content in (beside or {}).items():
            _put(path.with_name(path.stem + ending), content)
        _put(path, as_text(record))
    return path


def file_table(table: pd.DataFrame, about: dict, study: str, name: str, results: Path | None = None) -> Path:
    """Put a table into results/STUDY/NAME.table.csv, see `tables.table_text`, and list its checksum there. Returns the file's path."""
    places.check_study(study)
    path = (results or places.results_dir()) / study / f"{name}{TABLE}"
    content = table_text(table, about)
    with _locked(path.parent):
        _put(path, content)
    return path


def list_views(path: Path, results: Path | None = None) -> None:
    """List the checksum of a file of recorded views, where it lies in a study; elsewhere nothing is done. Raises RunError as `file_record` does."""
    path = Path(path).resolve()
    if path.parent.parent == (results or places.results_dir()).resolve():
        with _locked(path.parent):
            list_file(path)


def beside(path: Path) -> frozenset[str]:
    """What is kept of a run beside its record at `path`: some of `kept.TRACE` and `kept.WEIGHTS`."""
    return frozenset(ending for ending in (TRACE, WEIGHTS) if path.with_name(path.stem + ending).is_file())


def _put(path: Path, content: bytes | str) -> None:
    write_atomically(path, content)
    list_file(path)


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


def _same_time(record: dict, path: Path) -> bool:
    """Whether `path` holds a sound record of the very run that this one is of, and not of another time that it was made."""
    try:
        return read_record(path)["provenance"] == record["provenance"]
    except InputError:
        return False


def check_name(run: dict, study: str, results: Path | None = None) -> None:
    """Raise InputError where `study` holds a sound record of another run under this one's name. run: a record, or what is known before it is made."""
    _check_same_run(run, (results or places.results_dir()) / study / f"{run_name(run)}.json")


def _check_same_run(record: dict, path: Path) -> None:
    """Raise InputError when `path` holds a sound record of a run that differs in what a name leaves out."""
    try:
        filed = read_record(path)
    except InputError:
        return  # absent or damaged: to be replaced
    before, now = identity(filed), identity(record)
    differ = [key for key in now if before.get(key) != now[key]]
    if differ:
        what = f"{path} holds another run of this name (its {' and '.join(differ)} differ)"
        raise InputError(f"{what}: file this one in another study.")
