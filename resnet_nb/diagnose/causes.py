"""The known causes why two error rates of one network differ, from causes.yaml, whose form is causes.schema.json. Nothing here imports torch."""

import functools
import json
import math
import re
from dataclasses import dataclass
from importlib import resources

import jsonschema
import pandas as pd
import yaml

from resnet_nb.errors import InputError

PROTOCOLS = ("1-crop", "10-crop", "dense", "multi-scale")
COLUMNS = ["number", "group", "cause", "fits", "effect", "seen_on", "test", "source", "evidence", "measured_on_cifar", "check_order"]
FACTOR = 1.5  # an effect was seen on one net or a few; another's is taken to lie between 1/1.5 and 1.5 times as much


@dataclass(frozen=True)
class Effect:
    """What a cause did to one kind of net: `low` to `high` points of top-1 error (None where nobody measured it).

    sign: of measured minus published: "+" where the measured error comes out higher, "-" where lower, else "either".
    under: (protocol, sign) pairs; where there are any, the effect is one of those protocols alone. seen_on: the net and data.
    data: "imagenet", "cifar" or "any". evidence: "measured" for this project, "reported", "recalled" or "computed".
    """

    low: float | None
    high: float | None
    sign: str
    data: str
    evidence: str
    seen_on: str
    under: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Such as "+1.1 to +10.7", "±0.1 to ±0.3" or "not known", in points of measured minus published."""
        if self.low is None:
            return "not known"
        mark = "±" if self.sign == "either" else self.sign
        bounds = [f"{mark if bound else ''}{bound:g}" for bound in dict.fromkeys((self.low, self.high))]
        return " to ".join(bounds)


@dataclass(frozen=True)
class Cause:
    """One known cause. number: its row in the survey; check_order: 1 is the check that finds most faults soonest.

    group: "comparison", "test pipeline" or "training". data: where it can occur. model: a pattern that the model's name has to contain.
    """

    number: int
    group: str
    cause: str
    test: str
    check_order: int
    data: str
    effects: tuple[Effect, ...]
    sources: tuple[str, ...]
    model: str | None = None

    @property
    def measured_on_cifar(self) -> bool:
        return any(effect.data == "cifar" and effect.evidence == "measured" for effect in self.effects)


@functools.cache
def load_causes() -> tuple[Cause, ...]:
    """The causes, by number. Raises ValueError where causes.yaml has not the form of its schema, or its numbers are not 1, 2, 3 ..."""
    folder = resources.files(__package__)
    content = yaml.safe_load((folder / "causes.yaml").read_text(encoding="utf-8"))
    schema = json.loads((folder / "causes.schema.json").read_text(encoding="utf-8"))
    return read_causes(content, schema)


def read_causes(content: list[dict], schema: dict) -> tuple[Cause, ...]:
    """`content`, as parsed from YAML, checked against `schema` and for what a schema cannot say. Raises ValueError naming the row."""
    faults = [f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(content)]
    if not faults:
        causes = tuple(map(_cause, content))
        faults = [f"row {row.number}: low and high are {e.low} and {e.high}" for row in causes for e in row.effects if not _ordered(e)]
        for key in ("number", "check_order"):
            if sorted(getattr(row, key) for row in causes) != list(range(1, len(causes) + 1)):
                faults.append(f"{key} does not count from 1 to {len(causes)}, each once")
    if faults:
        raise ValueError("causes.yaml: " + "; ".join(faults[:5]))
    return tuple(sorted(causes, key=lambda row: row.number))


def _cause(entry: dict) -> Cause:
    effects = tuple(Effect(**effect | {"under": tuple(effect.get("under", {}).items())}) for effect in entry["effects"])
    return Cause(**entry | {"effects": effects, "sources": tuple(entry["sources"])})


def _ordered(effect: Effect) -> bool:
    if effect.low is None or effect.high is None:
        return effect.low is effect.high
    return effect.low <= effect.high


def matching(
    measured: float, published: float, *, model: str | None = None, data: str | None = None, protocol: str | None = None, factor: float = FACTOR
) -> pd.DataFrame:
    """The known causes whose size and sign fit measured minus published, by order of checking; those of unknown size come last.

    measured, published: top-1 errors in percent. model, data: names, which leave out the causes that cannot
    be theirs, and choose sizes seen on such data where there are any. protocol: the one that was measured under, which gives protocol effects
    their sign. An effect fits where the gap lies between low / `factor` and `factor` x high: that of one cause alone. Faults can add up.
    Columns: number, group, cause, fits ("size and sign" or "size not known"), effect (points of measured minus published), seen_on,
    test, source, evidence, measured_on_cifar, check_order. Raises InputError for what are no errors in percent.
    """
    for name, value in (("measured", measured), ("published", published)):
        if not (math.isfinite(value) and 0 <= value <= 100):
            raise InputError(f"The {name} error {value} is no top-1 error in percent: give a number from 0 to 100.")
    if protocol is not None and protocol not in PROTOCOLS:
        raise InputError(f"Unknown protocol {protocol!r}: choose from {', '.join(PROTOCOLS)}.")
    family, gap = _family(data), measured - published
    rows = []
    for cause in load_causes():
        possible = _can_be(cause, model, family)
        effect = next((e for e in _effects_for(cause, family) if _fits(e, gap, protocol, factor)), None) if possible else None
        if effect is not None:
            rows.append(_row(cause, effect))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["fits", "check_order"], ignore_index=True)  # "size and sign" comes before "size not known"


def _family(data: str | None) -> str | None:
    """Whose sizes apply to a data set: "cifar" to small images taken whole, "imagenet" to photographs, None to what is not known."""
    if data is None:
        return None
    found = re.match(r"cifar|imagenet", data.lower())
    return found[0] if found else None


def _can_be(cause: Cause, model: str | None, family: str | None) -> bool:
    wrong_data = family is not None and cause.data not in ("any", family)
    wrong_model = model is not None and cause.model is not None and not re.search(cause.model, model)
    return not (wrong_data or wrong_model)


def _effects_for(cause: Cause, family: str | None) -> list[Effect]:
    """Sizes known before unknown ones; those seen on such data alone where there are any."""
    own = [effect for effect in cause.effects if family in (None, effect.data) or effect.data == "any"]
    return sorted(own or cause.effects, key=lambda effect: effect.low is None)


def _fits(effect: Effect, gap: float, protocol: str | None, factor: float) -> bool:
    sign = effect.sign
    if effect.under and protocol is not None:
        sign = dict(effect.under).get(protocol)
    if sign is None or (sign == "+" and gap < 0) or (sign == "-" and gap > 0):
        return False
    rounding = 1e-9  # 9.1 - 8.27 is not 0.83 in floating point
    return effect.low is None or effect.low / factor - rounding <= abs(gap) <= factor * effect.high + rounding


def _row(cause: Cause, effect: Effect) -> tuple:
    fits = "size not known" if effect.low is None else "size and sign"
    source = "; ".join(cause.sources)
    return (
        cause.number, cause.group, cause.cause, fits, str(effect), effect.seen_on, cause.test, source, effect.evidence,
        cause.measured_on_cifar, cause.check_order,
    )  # fmt: skip
