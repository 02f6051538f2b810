"""What `resnet-nb probe` does: one probe on trained weights and on images of a named data set, as one JSON-ready answer, and its record."""

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from resnet_nb import records
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError, RunError
from resnet_nb.files import checksum
from resnet_nb.probes import landscape, lesions, paths, responses
from resnet_nb.provenance import cpu_threads, machine
from resnet_nb.testing.commands import WHOLE
from resnet_nb.testing.evaluations import parse_source
from resnet_nb.testing.material import normalisation_for, read_material
from resnet_nb.testing.measure import constants_of, model_of
from resnet_nb.testing.members import Given, build, find_weights

DIGITS = 6  # significant, of the numbers in a table: more than rounding leaves
BATCH = 250  # images that statistics are averaged over at a time
MOST = 2**63 - 1  # of seeds: those after it that further directions take are still below torch's limit, 2^64


@dataclass(frozen=True, eq=False)
class Probed:
    """A net in evaluation mode, normalised images (N, C, H, W), labels (N,); training: batches of normalised training images, `statistics` in all."""

    net: nn.Module
    images: Tensor
    labels: Tensor
    training: list[Tensor]


Probe = Callable[[Probed, dict], pd.DataFrame]


def _line(on: Probed, settings: dict) -> pd.DataFrame:
    """Each direction with the net's own statistics, and again with new ones where images are given for them."""
    tables = []
    for name, batches in _statistics(on):
        for direction in range(settings["seed"], settings["seed"] + settings["directions"]):
            table = landscape.line(on.net, on.images, on.labels, _steps(settings), direction, batches)
            tables.append(table.assign(direction=direction, statistics=name))
    return pd.concat(tables, ignore_index=True)


def _surface(on: Probed, settings: dict) -> pd.DataFrame:
    tables = [
        landscape.surface(on.net, on.images, on.labels, _steps(settings), settings["seed"], batches).assign(statistics=name)
        for name, batches in _statistics(on)
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _statistics(on: Probed) -> list[tuple[str, list[Tensor] | None]]:
    return [("kept", None)] + ([("anew", on.training)] if on.training else [])


def _steps(settings: dict) -> list[float]:
    return [round(step, 9) for step in torch.linspace(-settings["span"], settings["span"], settings["points"], dtype=torch.float64).tolist()]


def _randomly(probe: Callable, on: Probed, settings: dict) -> pd.DataFrame:
    return probe(on.net, on.images, on.labels, settings["counts"], settings["draws"], settings["seed"])


SEED, DRAWS = {"seed": 0}, {"draws": 5, "seed": 0}
COUNTED = {"counts": [1, 2, 4, 8]} | DRAWS
SLICED = {"points": 21, "span": 1.0, "statistics": 0} | SEED
PROBES: dict[str, tuple[Probe, dict]] = {  # each with its settings, as they are by default
    "responses": (lambda on, settings: responses.layer_responses(on.net, on.images), {}),
    "shares": (lambda on, settings: responses.branch_shares(on.net, on.images), {}),
    "lesions": (lambda on, settings: lesions.delete_each(on.net, on.images, on.labels), {}),
    "deletions": (lambda on, settings: _randomly(lesions.delete_random, on, settings), COUNTED),
    "swaps": (lambda on, settings: _randomly(lesions.swap_random, on, settings), COUNTED),
    "paths": (lambda on, settings: paths.path_lengths(on.net, on.images, on.labels, None, settings["draws"], settings["seed"]), DRAWS),
    "line": (_line, SLICED | {"directions": 1}),
    "surface": (_surface, SLICED),
}


def probed(
    probe: str,
    model: str,
    weights: str,
    data: str,
    root: Path | None = None,
    *,
    given: Given,
    images: int = 1_000,
    part: str = "test",
    asked: Mapping[str, object] | None = None,
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
    image_size: int | None = None,
    device: str = "auto",
    download: bool = False,
    study: str | None = None,
    source: str | None = None,
    said: Mapping[str, str | None] | None = None,
) -> dict:
    """One probe's table, {"probe", "settings", "model", "weights", "data", "normalisation", "table": {column: values}}.

    images: how many of the part, evenly over it, so that every class has its share. asked: the probe's settings by name (PROBES), None where they
    are as by default; counts as text with commas. study, source: file a record of public weights, as `evaluations.evaluate` does; said: its
    trained_on and note. Raises InputError for unknown names, settings of another probe, and as `measure.measure` does;
    RunError where the net computes numbers that are not finite.
    """
    asked = {name: value for name, value in (asked or {}).items() if value is not None}
    said = {name: text for name, text in (said or {}).items() if text is not None}
    settings = _settings(probe, asked)
    if (study is None) != (source is None):
        raise InputError("--study and --source go together: a record of weights says where they are public.")
    if said and study is None:
        raise InputError(f"--{next(iter(said)).replace('_', '-')} is for a record: give --study and --source too, or leave it out.")
    if part == "validation":
        raise InputError("--on validation: a probe splits no training images off, so there are none; choose test or train.")
    if study is not None:
        records.check_study(study)  # before minutes of work, not after them
        records.check_writable()
        place = parse_source(source)
        if not Path(weights).is_file():
            raise InputError("--study records weights that lie in a local file: fetch them, and name the file.")
    started, clock = datetime.now(UTC), time.monotonic()
    found, on_device = find_weights(model, weights, given), resolve_device(device)
    parts = list(dict.fromkeys([part, *(["train"] if settings.get("statistics") else [])]))
    material = read_material(data, root, parts, as_photographs=False, split=WHOLE, image_size=image_size, download=download)
    net = build(found, len(material.classes), material.size[0], width=width, norm=norm, conv_bias=conv_bias).eval()
    net = net.to(on_device, memory_format=torch.channels_last)  # as the images come
    normalisation = normalisation_for(found, material)

    def chosen(name: str, count: int, option: str) -> tuple[Tensor, Tensor]:
        tested = material.parts[name]
        places = _evenly(len(tested.labels), count, name, option)
        return normalisation(tested.pictures[places]).to(on_device), torch.from_numpy(tested.labels)[places].to(on_device)

    training = _mixed(chosen("train", settings["statistics"], "statistics")[0]) if settings.get("statistics") else []
    table = PROBES[probe][0](Probed(net, *chosen(part, images, "images"), training), settings)
    _check_finite(table, probe)
    answer = {
        "probe": probe,
        "settings": {"images": images, **settings},
        "model": model_of(found, net, material, {"norm": norm or found.described.get("norm", "batch"), "conv_bias": conv_bias}),
        "weights": found.name,
        "data": {"name": material.name, "fingerprint": material.fingerprint, "split": material.split, "part": part},
        "normalisation": constants_of(found, normalisation, material),
        "table": {name: [_plain(value) for value in column] for name, column in table.items()},
    }
    if study is None:
        return answer
    provenance = {**machine(on_device), "started": started.isoformat(timespec="seconds"), "wall_seconds": round(time.monotonic() - clock, 1)}
    words = _words(given, images, part, asked, width, norm, conv_bias)
    record = {
        "schema": 1,
        "kind": "probe",
        "study": study,
        **answer,
        "weights": {**place, "sha256": checksum(Path(weights))},
        **said,
        "provenance": provenance,
        "command": _command(answer, [*words, "--threads", str(cpu_threads(provenance) or 1)], study, source, said),
    }
    records.file_record(record, study)
    return records.signed(record)


def _settings(probe: str, asked: Mapping[str, object]) -> dict:
    """A probe's settings, those that are asked for in the place of its own. Raises InputError for an unknown probe and for another's setting."""
    if probe not in PROBES:
        raise InputError(f"Unknown probe {probe!r}: choose one of {', '.join(PROBES)}.")
    own = PROBES[probe][1]
    wanted = dict(asked)
    if foreign := [name for name in wanted if name not in own]:
        raise InputError(f"--{foreign[0]} says nothing to the probe {probe}: it takes {', '.join(f'--{name}' for name in own) or 'no settings'}.")
    if "counts" in wanted:
        words = str(wanted["counts"]).split(",")
        if not all(word.isdecimal() for word in words):
            raise InputError(f"--counts {wanted['counts']}: write whole numbers such as 1,2,4.")
        wanted["counts"] = [int(word) for word in words]
    if not 0 < wanted.get("span", 1) < float("inf") or wanted.get("statistics", 0) < 0:
        raise InputError("--span is a positive number, and --statistics a number of images, or 0.")
    if not 0 <= wanted.get("seed", 0) <= MOST:
        raise InputError(f"--seed {wanted['seed']}: take a whole number from 0 to {MOST}.")
    return own | wanted


def _check_finite(table: pd.DataFrame, probe: str) -> None:
    """Raise RunError where a number of a probe's table is not finite: the error that stands beside such a loss is one of scores without an order."""
    for name in table.select_dtypes("float"):
        if lost := int((~np.isfinite(table[name])).sum()):
            remedy = "a smaller --span, and look at the weights for" if "span" in PROBES[probe][1] else "weights without"
            raise RunError(
                f"The {name} is not finite in {lost} of the {len(table)} rows of the probe {probe}: take {remedy} NaN, infinite values and negative "
                "variances (running_var)."
            )


def _evenly(total: int, count: int, part: str, option: str) -> Tensor:
    """The places of `count` of `total` images at equal distances; data sets lie in order of their classes. option: which one asks for them."""
    if count > total:
        raise InputError(f"There are {total:,} {part} images: --{option} {count} is more than that.")
    return torch.arange(count) * total // count


def _mixed(images: Tensor) -> list[Tensor]:
    """Batches in which every class has its share: each takes every so-manieth image."""
    batches = max(1, len(images) // BATCH)
    return [images[start::batches] for start in range(batches)]


def _plain(value: object) -> object:
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _words(given: Given, images: int, part: str, asked: Mapping, width: int | None, norm: str | None, conv_bias: bool) -> list[str]:
    options = {"images": images, "on": part, **asked, "mean": given.mean, "std": given.std, "normalise": given.normalise}
    options |= {"width": width, "norm": norm}
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return [*words, *(["--conv-bias"] if conv_bias else [])]


def _command(answer: dict, words: list[str], study: str, source: str, said: Mapping[str, str]) -> str:
    """The command that repeats a probe, with `$WEIGHTS` for a checkout of the source and `$RESNET_NB_DATA` for the data."""
    data = answer["data"]["name"]
    words = [*words, "--study", study, "--source", source]
    for name, text in said.items():
        words += [f"--{name.replace('_', '-')}", text]
    start = ["resnet-nb", "probe", answer["probe"], answer["model"]["name"], "--data", data]
    root = "" if data == "digits" else ' --data-root "$RESNET_NB_DATA"'
    return f'{shlex.join([*start, *words])} --weights "$WEIGHTS/{parse_source(source)["path"]}"{root}'


def text(answer: dict) -> str:
    """The answer as lines: what was probed, and the table."""
    data, images = answer["data"], answer["settings"]["images"]
    title = f"{answer['probe']} of {answer['model']['name']} on {images:,} {data['part']} images of {data['name']}"
    return f"{title}\n{pd.DataFrame(answer['table']).to_string(index=False)}"
