"""What a record has to be: as its schema says, holding together, and signed with the digest of its content."""

import hashlib
import json
import re
from functools import cache
from importlib import resources

import jsonschema

from resnet_nb.errors import InputError

KINDS = ("training", "evaluation", "probe")


def digest(record: dict) -> str:
    """ "sha256:" and the digest of the record without its own digest, as JSON with sorted keys and no spaces."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    return "sha256:" + hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def signed(record: dict) -> dict:
    """The record with the digest of its content."""
    return {**{key: value for key, value in record.items() if key != "digest"}, "digest": digest(record)}


def as_text(record: dict) -> str:
    """A record as its file holds it."""
    return json.dumps(record, indent=1) + "\n"


@cache
def _schema(kind: str) -> jsonschema.Draft202012Validator:
    text = resources.files("resnet_nb.records").joinpath(f"schemas/{kind}.schema.json").read_text()
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
