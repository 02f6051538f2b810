"""Recorded tables: what was measured on nets, as `results/STUDY/NAME.table.csv`. The first line says in JSON how; reading needs no torch.

The checksum of the file is listed with those of the study's records, and `records.verify` reads it.
"""

import io
import json
from pathlib import Path

import pandas as pd

from resnet_nb.errors import InputError

TABLE = ".table.csv"
MARK = "# "
ABOUT = ("what", "command", "provenance")  # what every table says of itself


def table_text(table: pd.DataFrame, about: dict) -> str:
    """The file's text: `about` in one line, then the rows with five digits, missing numbers empty. Raises InputError where `about` lacks one of
    ABOUT (a sentence, the Python call that repeats it, what `provenance.machine` returns)."""
    missing = [name for name in ABOUT if name not in about]
    if missing:
        raise InputError(f"A recorded table says how it was made: add {' and '.join(missing)}.")
    return MARK + json.dumps(about, allow_nan=False) + "\n" + table.to_csv(index=False, float_format="%.5g", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """The table in a file; its `attrs["about"]` says how it was made. Raises InputError where it is absent or no such table."""
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        about, table = json.loads(first.removeprefix(MARK)), pd.read_csv(io.StringIO(rest))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a recorded table: restore it from the repository, or record it again.") from error
    if not first.startswith(MARK) or not isinstance(about, dict) or not about.keys() >= set(ABOUT) or table.empty:
        raise InputError(f"{path} is no recorded table: restore it from the repository, or record it again.")
    table.attrs["about"] = about
    return table
