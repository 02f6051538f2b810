"""Facts, claims and their sources, read from the YAML files beside this module, whose form is facts.schema.json."""

import copy
import difflib
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any

import yaml

from resnet_nb.errors import InputError

NOT_FACTS = {"meta", "sources", "claims", "article_errors_and_imprecision", "open_points"}
UNCHECKED = "not checked at its source"


@dataclass(frozen=True)
class Fact:
    """One published value, in `unit`.

    value: a number, a text, a list, or a dict of numbers by name. source: where it is printed. seen_in: the copies in
    which it was seen, as keys of `sources(file)`. verified: whether it was seen there, or recomputed. file, section:
    where the fact stands here. extra: its remaining keys, such as protocol, params_printed, mean_std, std, approximate.
    """

    id: str
    value: Any
    unit: str
    source: str
    seen_in: tuple[str, ...]
    verified: bool
    file: str
    section: str
    note: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One claim of the dispute: who made it, how it can be tested, the verdict, its evidence, and what qualifies it."""

    id: str
    claim: str
    who: str
    how_to_test: str
    verdict: str
    evidence: str
    seen_in: tuple[str, ...]
    verified: bool
    file: str
    nuance: str | None = None


def fact(id: str) -> Fact:
    """The fact called `id`, such as "c6.resnet110". Raises InputError, with the nearest ids, for an unknown one."""
    known = _facts_by_id()
    if id not in known:
        near = difflib.get_close_matches(id, known, n=3) or ["c6.resnet20", "t2.plain34", "tp.r50"]
        raise InputError(f"No published fact is called {id!r}: did you mean {', '.join(near)}?")
    return copy.deepcopy(known[id])  # a value may be a dict, which its reader may change


def facts(file: str) -> list[Fact]:
    """The facts of one file, such as "paper_cifar", in their order. Raises InputError for an unknown file."""
    document(file)
    return [copy.deepcopy(known) for known in _facts_by_id().values() if known.file == file]


def claims() -> list[Claim]:
    """The claims of the dispute, in their order."""
    return [_claim(entry, "dispute") for entry in document("dispute")["claims"]]


def sources(file: str) -> dict[str, str]:
    """What the keys in the `seen_in` of one file stand for. Raises InputError for an unknown file."""
    return dict(document(file)["sources"])


def citation(entry: Fact | Claim) -> str:
    """Where a number is printed and in which copies it was seen, and, if so, that it was not checked there."""
    described = sources(entry.file)
    seen = "; ".join(described[key] for key in entry.seen_in)
    text = f"{entry.source} (seen in: {seen})" if isinstance(entry, Fact) else seen
    return text if entry.verified else f"{text}; {UNCHECKED}"


def files() -> list[str]:
    """The names of the files, sorted, without their ending."""
    names = (entry.name for entry in resources.files(__package__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


@functools.cache
def document(file: str) -> dict[str, Any]:
    """One file as parsed: to be read, not changed. Raises InputError, listing the files, for an unknown one."""
    if file not in files():
        raise InputError(f"No file of published numbers is called {file!r}: choose one of {', '.join(files())}.")
    text = (resources.files(__package__) / f"{file}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # in C: a tenth of the time


@functools.cache
def _facts_by_id() -> dict[str, Fact]:
    return {known.id: known for file in files() for known in _facts_of(file)}


def _facts_of(file: str) -> Iterator[Fact]:
    for section, entries in document(file).items():
        if section == "variants":
            for variant in entries:
                for part in ("facts", "resnet_baseline_in_that_paper"):
                    yield from (_fact(entry, file, f"{variant['name']}: {part}") for entry in variant[part])
        elif section not in NOT_FACTS:
            yield from (_fact(entry, file, section) for entry in entries)


def _fact(entry: dict[str, Any], file: str, section: str) -> Fact:
    own = {f.name for f in fields(Fact)}
    extra = {key: value for key, value in entry.items() if key not in own}
    named = {key: value for key, value in entry.items() if key in own}
    return Fact(**{**named, "seen_in": tuple(entry["seen_in"])}, file=file, section=section, extra=extra)


def _claim(entry: dict[str, Any], file: str) -> Claim:
    return Claim(**{**entry, "seen_in": tuple(entry["seen_in"])}, file=file)

