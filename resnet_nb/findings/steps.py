"""What a change of the steps does to a run's layers and to its speed: traces and times of a study, by change. Without torch."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from resnet_nb import records
from resnet_nb.findings.speed import times_to_loss
from resnet_nb.records import places
from resnet_nb.records.kept import TRACE, stage_of

AS_IT_IS = "as it is"
WORDS = {
    "warmup_iterations": "warm-up", "keep_norms": "norms kept", "step_limit": "steps limited to {:.0%}", "clip_norm": "gradient clipped to {:g}",
    "rate": "rate {:g}",
}  # fmt: skip


def change_of(record: dict, rate: float | None = None) -> str:
    """What sets a training run's steps apart from a plain SGD's, in words; "as it is" where nothing does. rate: the one that is not mentioned."""
    recipe, found = record["recipe"], []
    for field, words in WORDS.items():
        value = recipe.get(field, 0)
        if value and not (field == "rate" and value == (rate or value)):
            found.append(words.format(value).replace("%", " %"))
    return ", ".join(found) or AS_IT_IS


def study_or_nothing(study: str, results: Path | None = None) -> list[dict]:
    """The records of a study, and none where it has not been recorded."""
    folder = (results or places.results_dir()) / study
    return records.load_study(study, results) if any(folder.glob("[!.]*.json")) else []


def traces(runs: Iterable[dict], results: Path | None = None, *, rate: float | None = None) -> pd.DataFrame:
    """The traces that lie beside records, joined: columns change, model, family, depth, seed, stage, and those of `kept.TRACE_COLUMNS`.

    Runs without a trace are left out; where none has one the table is empty. rate: as for `change_of`.
    """
    tables = []
    for run in runs:
        name, (family, depth) = records.run_name(run), records.family_and_depth(run["model"]["name"])
        if ((results or places.results_dir()) / run["study"] / f"{name}{TRACE}").is_file():
            what = {"change": change_of(run, rate), "model": run["model"]["name"], "family": family, "depth": depth, "seed": run["seed"]}
            trace = records.load_trace(run["study"], name, results)
            tables.append(trace.assign(stage=trace["layer"].map(stage_of), **what))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def times(runs: Iterable[dict], loss: float, *, rate: float | None = None) -> pd.DataFrame:
    """Iterations until the running loss is under `loss`, infinite where it was not reached, and what the run ends with: one row a run.

    Columns change (of a residual net with those words before it), model, family, seed, iterations, and train_error in percent, of the last iteration.
    """
    rows = []
    for run in runs:
        (found,) = times_to_loss([run], (loss,)).itertuples()
        change = ("residual net, " if found.family == "residual" else "") + change_of(run, rate)
        rows.append((change, found.model, found.family, found.seed, found.until, run["final"]["train_error"]))
    return pd.DataFrame(rows, columns=["change", "model", "family", "seed", "iterations", "train_error"])
