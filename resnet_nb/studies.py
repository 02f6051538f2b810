"""Studies: many runs that answer one question, listed in a YAML file and filed under the study's name, run by run.

    name: digits-grown                  # results/digits-grown/
    options: --data digits --width 8    # of every run
    grid:                               # each entry is a product of its lists
      - models: [plain56, resnet56]
        recipes: ["quick-digits,rate=0.05,drops=none", "quick-digits,rate=0.01,drops=none"]
        seeds: [0, 1, 2]
        options: --init grown:plain20   # of this entry's runs

A study is its commands: each is a `resnet-nb train ... --study NAME`, so that what is finished is skipped, what was stopped goes on, and a
single run can be repeated alone.
"""

import io
import itertools
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Event

import jsonschema
import typer
import yaml

from resnet_nb.errors import InputError
from resnet_nb.records import check_study

TEXTS = {"type": "array", "minItems": 1, "items": {"type": "string"}}
ENTRY = {"models": TEXTS, "recipes": TEXTS, "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer"}}, "options": {"type": "string"}}
GRID = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "properties": ENTRY, "required": ["models", "recipes", "seeds"], "additionalProperties": False},
}
SCHEMA = {
    "type": "object",
    "properties": {**{name: {"type": "string"} for name in ("name", "question", "options")}, "grid": GRID},
    "required": ["name", "grid"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Study:
    """A study's name and the words of each of its commands, after `resnet-nb`."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def read_study(path: Path) -> Study:
    """Read a study file. Raises InputError, naming the file and the field, where it is not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a study ({type(error).__name__}): give a file of studies/.") from error
    fault = next(jsonschema.Draft202012Validator(SCHEMA).iter_errors(content), None)
    if fault is not None:
        raise InputError(f"{path}: {'.'.join(map(str, fault.path)) or 'the study'} is wrong: {fault.message}.")
    check_study(content["name"])
    common = _words(path, content)
    commands: list[tuple[str, ...]] = []
    for entry in content["grid"]:
        own = [*common, *_words(path, entry)]
        # seeds outermost: a study that is stopped has whole seeds, not whole models
        for seed, model, recipe in itertools.product(entry["seeds"], entry["models"], entry["recipes"]):
            commands.append(("train", model, *own, "--recipe", recipe, "--seed", str(seed), "--study", content["name"]))
    return Study(content["name"], tuple(dict.fromkeys(commands)))  # a run that two entries list is one run


def _words(path: Path, part: dict) -> list[str]:
    try:
        return shlex.split(part.get("options", ""))
    except ValueError as error:
        raise InputError(f"{path}: the options {part['options']!r} cannot be read ({error}): close every quotation mark.") from error


def run_study(study: Study, jobs: int = 1, more: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Run every command of a study, `jobs` at a time, each with `more` words, and say on standard error what was done.

    Several jobs get one CPU thread each. Returns the commands that failed, each with what was wrong. Ctrl-C stops what is under way, which
    leaves its checkpoints, and begins nothing more.
    """
    threads = ("--threads", "1") if jobs > 1 else ()
    numbered, stopped = iter(list(enumerate(study.commands, 1))), Event()
    failed = []

    def work() -> None:
        process = None
        for number, words in numbered:  # one iterator, from which each job takes its next
            if stopped.is_set():
                break
            process = process or _process()
            own = () if "--threads" in words else threads
            try:
                ok, said = process.submit(_run, (*words, *own, *more)).result()
            except BrokenProcessPool:
                process, ok, said = None, False, "its process was killed; the same command goes on"
            print(f"{study.name} {number} of {len(study.commands)}: {said}", file=sys.stderr, flush=True)
            if not ok:
                failed.append((words, said))
        if process is not None:
            process.shutdown()

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for job in [pool.submit(work) for _ in range(jobs)]:
                job.result()
        finally:
            stopped.set()
    return failed


def _process() -> ProcessPoolExecutor:
    """A process that does one run after another: to import torch takes as long as many of them. It shares nothing with this one."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _run(words: tuple[str, ...]) -> tuple[bool, str]:
    """Run one command in this process: whether it was done, and the last line that it printed, or what was wrong."""
    import torch

    from resnet_nb.cli import app

    before, printed = torch.get_num_threads(), io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()):
            typer.main.get_command(app)(list(words), standalone_mode=False)
    except Exception as error:  # of this run alone: the others go on
        return False, getattr(error, "message", None) or str(error) or type(error).__name__
    finally:
        torch.set_num_threads(before)
    return True, (printed.getvalue().strip().splitlines() or ["no output"])[-1]
