"""Studies: many runs that answer one question, listed in a YAML file and filed under the study's name, run by run.

    name: digits-grown                  # results/digits-grown/
    planned: true                       # only while some of the runs have yet to be recorded
    options: --data digits --width 8    # of every run
    grid:                               # each entry is a product of its lists
      - models: [plain56, resnet56]
        recipes: ["quick-digits,rate=0.05,drops=none", "quick-digits,rate=0.01,drops=none"]
        seeds: [0, 1, 2]
        options: --init grown:plain20   # of this entry's runs

A study is its commands: each is a `resnet-nb train ... --study NAME`, and a single run can be repeated alone. `runs.sweep` does them side
by side: what is recorded is skipped, what was stopped goes on.
"""

import contextlib
import difflib
import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jsonschema
import pandas as pd
import yaml

from resnet_nb import records
from resnet_nb.errors import InputError
from resnet_nb.recipes import get_recipe
from resnet_nb.records import places
from resnet_nb.runs.asked import data_of
from resnet_nb.runs.train_command import parsed

DECIDING = ("model", "data", "split", "seed", "width", "init", "norm", "deterministic")  # beside the recipe and its length
IMAGES = ("data_root", "image_size")  # which images `folder` stands for, where a record has their fingerprint

TEXTS = {"type": "array", "minItems": 1, "items": {"type": "string"}}
ENTRY = {"models": TEXTS, "recipes": TEXTS, "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer"}}, "options": {"type": "string"}}
GRID = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "properties": ENTRY, "required": ["models", "recipes", "seeds"], "additionalProperties": False},
}
SCHEMA = {
    "type": "object",
    "properties": {**{name: {"type": "string"} for name in ("name", "question", "options")}, "planned": {"type": "boolean"}, "grid": GRID},
    "required": ["name", "grid"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Study:
    """A study's name and the words of each of its commands, after `resnet-nb`. planned: whether some of its runs have yet to be recorded."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    planned: bool = False
    question: str = ""


def find_study(study: str) -> Path:
    """The file that `study` is, or the one of that name in the checkout's studies/. Raises InputError with the nearest names."""
    if Path(study).is_file():
        return Path(study)
    known = {path.stem: path for path in sorted(places.lists_dir().glob("*.yaml"))}
    if study not in known:
        near = difflib.get_close_matches(Path(study).stem, known, 2) or list(known)
        raise InputError(f"There is no study {study!r}: give a file, or the name of one in studies/, such as {' or '.join(near) or 'digits-grown'}.")
    return known[study]


def read_study(path: Path) -> Study:
    """Read a study file. Raises InputError, naming the file and the field, where it is not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a study ({type(error).__name__}): give a file of studies/.") from error
    fault = next(jsonschema.Draft202012Validator(SCHEMA).iter_errors(content), None)
    if fault is not None:
        raise InputError(f"{path}: {'.'.join(map(str, fault.path)) or 'the study'} is wrong: {fault.message}.")
    records.check_study(content["name"])
    common = _words(path, content)
    commands: list[tuple[str, ...]] = []
    for entry in content["grid"]:
        own = [*common, *_words(path, entry)]
        # seeds outermost: a study that is stopped has whole seeds, not whole models
        for seed, model, recipe in itertools.product(entry["seeds"], entry["models"], entry["recipes"]):
            commands.append(("train", model, *own, "--recipe", recipe, "--seed", str(seed), "--study", content["name"]))
    # a run that two entries list is one run
    return Study(content["name"], tuple(dict.fromkeys(commands)), content.get("planned", False), content.get("question", ""))


def _words(path: Path, part: dict) -> list[str]:
    try:
        return shlex.split(part.get("options", ""))
    except ValueError as error:
        raise InputError(f"{path}: the options {part['options']!r} cannot be read ({error}): close every quotation mark.") from error


def asked_for(words: Sequence[str]) -> dict:
    """What decides the numbers of a command: two with equal ones ask for one run. Raises InputError for words that are no command."""
    return deciding(parsed(words))


def deciding(asked: dict) -> dict:
    """The part of `train_command.parsed` that decides a run's numbers."""
    recipe = get_recipe(asked["recipe"], asked["data"])
    names = (*DECIDING, *(IMAGES if asked["data"] == "folder" else ()))
    return {**{name: asked[name] for name in names}, "recipe": recipe.name, "iterations": asked["iterations"] or recipe.iterations}


@dataclass(frozen=True)
class Filed:
    """A study's sound record of a training run. asked: as `asked_for` has it, read from the command that repeats it; beside: what is kept with it;
    fingerprint: of the data that it was trained on."""

    asked: dict
    beside: frozenset[str]
    fingerprint: str


def kept(asked: dict) -> frozenset[str]:
    """What a command leaves beside its record. asked: of `train_command.parsed`."""
    options = {"--trace": asked["trace"], "--keep-weights": asked["keep_weights"]}
    return frozenset(ending for option, ending in records.KEPT.items() if options[option])


def is_recorded(asked: dict, filed: Sequence[Filed]) -> bool:
    """Whether one of the records is of the run that is asked for, with all that is to be kept of it. asked: of `train_command.parsed`.

    The name of `folder` does not say which images it holds: where a record agrees otherwise they are read, and their fingerprints compared. Raises
    InputError where they cannot be read.
    """
    own = _but_images(deciding(asked))
    found = [one for one in filed if _but_images(one.asked) == own and kept(asked) <= one.beside]
    if found and asked["data"] == "folder":
        now = _fingerprint(asked["recipe"], asked["data_root"], asked["image_size"])
        return any(one.fingerprint == now for one in found)
    return bool(found)


def _but_images(decided: dict) -> dict:
    return {name: value for name, value in decided.items() if name not in IMAGES}


@cache
def _fingerprint(recipe: str | None, root: Path | None, image_size: int | None) -> str:
    """Of a folder's images, as the recipe reads them; nothing else here imports torch."""
    asked = {"data": "folder", "data_root": root, "image_size": image_size, "split": "all", "download": False}
    return data_of(get_recipe(recipe, "folder"), asked).fingerprint


def recorded(study: str) -> list[Filed]:
    """The study's records of training runs."""
    _fingerprint.cache_clear()  # images may have changed since they were last compared with records
    found = []
    for path in sorted((places.results_dir() / study).glob("[!.]*.json")):
        with contextlib.suppress(InputError):  # damaged, or of an older command line: to be done again
            record = records.read_record(path)
            if record["kind"] == "training" and path.stem == records.run_name(record):
                words = shlex.split(record["command"])  # of `resnet-nb train`, or of torchrun
                found.append(Filed(asked_for(words[words.index("train") :]), records.beside(path), record["data"]["fingerprint"]))
    return found


def overview() -> pd.DataFrame:
    """Every study: columns study, question, listed (its runs), recorded (the records in its folder), planned (whether it says that some are missing).

    Records are counted, not compared with the list: `sweep` does that, and so does a test of the committed ones.
    """
    rows = []
    for path in sorted(places.lists_dir().glob("*.yaml")):
        study = read_study(path)
        filed = list((places.results_dir() / study.name).glob("[!.]*.json"))
        rows.append((study.name, study.question, len(study.commands), len(filed), study.planned))
    return pd.DataFrame(rows, columns=["study", "question", "listed", "recorded", "planned"])
