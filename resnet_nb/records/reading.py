"""Records read from results/: one, a study's, all; and the tables, views and traces that lie beside them."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.records import places
from resnet_nb.records.kept import TRACE, read_trace
from resnet_nb.records.tables import TABLE, read_table
from resnet_nb.records.validation import digest, validate
from resnet_nb.records.views import Views, load


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
    folder = (results or places.results_dir()) / study
    paths = sorted(folder.glob("[!.]*.json"))
    if not paths:
        known = sorted(entry.name for entry in (results or places.results_dir()).glob("*") if entry.is_dir())
        raise InputError(f"There are no recorded runs of the study {study!r}; there are those of {', '.join(known) or 'none'}.")
    return [read_record(path) for path in paths]


def load_table(study: str, name: str, results: Path | None = None) -> pd.DataFrame:
    """The recorded table NAME of a study. Raises InputError where it is absent or damaged."""
    return read_table((results or places.results_dir()) / study / f"{name}{TABLE}")


def load_views(study: str, name: str, results: Path | None = None) -> Views:
    """The recorded views NAME.npz of a study. Raises InputError where they are absent or damaged."""
    return load((results or places.results_dir()) / study / f"{name}.npz")


def load_trace(study: str, name: str, results: Path | None = None) -> pd.DataFrame:
    """The trace beside the record NAME.json of a study: rows of `kept.TRACE_COLUMNS`. Raises InputError where it is absent or damaged."""
    return read_trace((results or places.results_dir()) / study / f"{name}{TRACE}")


def all_records(results: Path | None = None) -> list[dict]:
    """The records of every study."""
    root = results or places.results_dir()
    return [read_record(path) for path in sorted(root.glob("[!.]*/[!.]*.json"))]


def of_kind(kind: str, records: Iterable[dict]) -> list[dict]:
    """Those of the records that are of one kind, one of KINDS."""
    return [record for record in records if record["kind"] == kind]
