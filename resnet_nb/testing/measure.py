"""What `resnet-nb evaluate` does: weights and data by name, and error rates under protocols, as one JSON-ready answer."""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from resnet_nb import records
from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.files import checksum, write_atomically
from resnet_nb.findings.paired import bootstrap_difference, mcnemar
from resnet_nb.models import check_usable, count_parameters
from resnet_nb.protocols import Preprocessing, Protocol
from resnet_nb.protocols.choices import Choices, check_choices, choose, photographs, small_images, title
from resnet_nb.protocols.evaluate import error_rates
from resnet_nb.protocols.recorded import views_of
from resnet_nb.protocols.scoring import PRECISIONS
from resnet_nb.protocols.scoring_runs import Outcome, forget, score
from resnet_nb.provenance import machine
from resnet_nb.records import views
from resnet_nb.stats import wilson_interval
from resnet_nb.testing.commands import evaluate_command, option_words
from resnet_nb.testing.material import Material, Tested, normalisation_for, read_material, takes_photographs
from resnet_nb.testing.members import Given, Weights, build, digest, find_weights, of_library

RESULT, CHUNKS = "evaluation.json", "chunks"  # in the folder of --out: the answer, and what is finished until it is there


@dataclass(frozen=True)
class Running:
    """How a run is done. precision, batch, workers: as in `protocols.run`.

    out: a folder for the answer, and for finished chunks until it is there. save_scores: a file for the scores of every view.
    """

    device: str = "auto"
    precision: str = "float32"
    batch: int | None = None
    workers: int | None = None
    out: Path | None = None
    save_scores: Path | None = None

    def chunks(self, part: str) -> Path | None:
        """Where finished chunks are kept: beside the file that they become."""
        if self.out:
            return self.out / CHUNKS / part
        return self.save_scores and self.save_scores.with_name(f"{self.save_scores.name}.{CHUNKS}")


AS_PUBLISHED, DEFAULTS, HERE = Given(), Choices(), Running()  # where nothing is said


@dataclass(frozen=True, eq=False)
class _Bench:
    """All that is the same for every part of the data."""

    found: list[Weights]
    nets: list[nn.Module]
    normalisations: list[Normalisation]
    protocols: tuple[Protocol, ...]
    material: Material
    running: Running
    place: torch.device
    about: dict


def measure(
    model: str,
    weights: str,
    data: str,
    root: Path | str | None = None,
    *,
    protocols: Sequence[str],
    parts: Sequence[str] = ("test",),
    given: Given = AS_PUBLISHED,
    choices: Choices = DEFAULTS,
    running: Running = HERE,
    others: Sequence[tuple[str, str]] = (),
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
    image_size: int | None = None,
    split: str = "all",
    download: bool = False,
) -> dict:
    """Error rates in percent of `model` with `weights` (as in `members`) on parts of a data set: "train", "validation", "test".

    others: models and weights of an ensemble's further members, whose scores are averaged. width, norm, conv_bias: of `model`, as in `nets.Net`;
    width and norm come from the file beside the weights where they are None. The one view of small images, alone, is measured as in training.
    Returns {"model", "weights", "data", "normalisation", "ensemble": the other members, "results": [{"part", "protocol", "settings":
    `Protocol.to_dict`, "images", "wrong", "top1_error", "top1_interval", "top5_error", "loss"}, ...], "comparisons": each protocol with the one
    before it, "unreadable": [{"part", "name", "reason"}, ...], "notes"}.
    Raises InputError for unknown names, absent files, weights that do not fit, and a run of another command in the folder for finished chunks.
    """
    _check_usage(protocols, parts, choices, running, len(others), width)
    place = resolve_device(running.device)
    found = [find_weights(*member, given) for member in ((model, weights), *others)]
    large = takes_photographs(data, found[0], image_size)
    material = read_material(data, root, parts, as_photographs=large, split=split, image_size=image_size, download=download)
    nets = _nets(found, material, width=width, norm=norm, conv_bias=conv_bias)
    normalisations = [normalisation_for(one, material) for one in found]
    chosen = choose(protocols, photographs(_sizes(found, choices)) if large else small_images(*material.size[1:]), choices)
    kinds = [{"norm": norm or found[0].described.get("norm", "batch"), "conv_bias": conv_bias}, *(one.described for one in found[1:])]
    about = _about(found, nets, normalisations, material, kinds)
    words = option_words(
        parts=parts, protocols=protocols, given=given, choices=choices, precision=running.precision, width=width, norm=norm, conv_bias=conv_bias,
        image_size=image_size, split=split,
    )  # fmt: skip
    named = f'"$WEIGHTS/{found[0].file.name}"' if found[0].file and ":" not in weights else weights
    recorded = {**about, "classes": list(material.classes), "command": evaluate_command(model, data, words, named)}
    bench = _Bench(found, nets, normalisations, chosen, material, running, place, recorded)
    answer = {**about, "results": [], "comparisons": [], "unreadable": [], "notes": list(material.notes)}
    for part, tested in material.parts.items():
        for name, rows in _measured(bench, part, tested).items():
            answer[name] += rows
    if running.out:
        write_atomically(running.out / RESULT, json.dumps(answer, indent=1, allow_nan=False) + "\n")
    forget(running.out / CHUNKS if running.out else running.chunks(""))
    return answer


def _check_usage(
    protocols: Sequence[str], parts: Sequence[str], choices: Choices, running: Running, others: int, width: int | None
) -> None:
    """Raise InputError for what cannot be, before anything is read."""
    check_choices(protocols, choices)
    if len(set(parts)) < len(parts):
        raise InputError(f"--on {','.join(parts)} names a part twice: name each once.")
    if width is not None and width < 1:
        raise InputError(f"--width {width}: a net has at least 1 channel.")
    if running.precision not in PRECISIONS:
        raise InputError(f"--precision {running.precision}: choose one of {', '.join(PRECISIONS)}.")
    if running.save_scores and (others or len(parts) > 1):
        raise InputError("--save-scores keeps the views of one net on one part: record each by itself (resnet_nb.records.views.together joins nets).")
    if running.save_scores and running.save_scores.suffix != ".npz":
        raise InputError(f"--save-scores {running.save_scores}: the file is NumPy's, so let its name end in .npz.")


def _nets(found: Sequence[Weights], material: Material, **options: object) -> list[nn.Module]:
    """The members' nets; `options` are those of the first."""
    channels = material.size[0] if material.size else 3
    nets = [build(one, len(material.classes), channels, **(options if one is found[0] else {})) for one in found]
    for one, net in zip(found, nets, strict=True):
        if of_library(one.model) and material.size:
            check_usable(net, one.model, material.size, len(material.classes))
    return nets


def _sizes(found: Sequence[Weights], choices: Choices) -> Preprocessing | None:
    """The sizes that the members' weights were made for. Raises InputError where they differ and the options do not say which to take."""
    sizes = list(dict.fromkeys(one.preprocessing and one.preprocessing[:3] for one in found))
    if len(sizes) > 1 and None in (choices.resize, choices.crop, choices.interpolation):
        raise InputError("The members' weights were made for different sizes or filters: give --resize, --crop and --interpolation.")
    return found[0].preprocessing


def _about(
    found: Sequence[Weights], nets: Sequence[nn.Module], normalisations: Sequence[Normalisation], material: Material, kinds: Sequence[dict]
) -> dict:
    """What an answer says of nets and data: of the first member by itself, as there is mostly one. kinds: norm and conv_bias of each."""
    members = [
        {"model": model_of(one, net, material, kind), "weights": one.name, "normalisation": constants_of(one, used, material)}
        for one, net, used, kind in zip(found, nets, normalisations, kinds, strict=True)
    ]
    data = {"name": material.name, "fingerprint": material.fingerprint, "split": material.split}
    about = {"model": members[0]["model"], "weights": members[0]["weights"], "data": data, "normalisation": members[0]["normalisation"]}
    return about | ({"ensemble": members[1:]} if members[1:] else {})


def model_of(weights: Weights, net: nn.Module, material: Material, kind: dict) -> dict:
    """What a record says of a net. kind: its norm and conv_bias, where they are not the paper's."""
    said = {name: kind.get(name) for name in ("norm", "conv_bias")}
    return {
        "name": weights.model,
        "width": getattr(getattr(net, "conv1", None), "out_channels", None),
        "in_channels": material.size[0] if material.size else 3,
        "classes": len(material.classes),
        "parameters": count_parameters(net),
        **{name: value for name, value in said.items() if value not in (None, "batch", False)},  # said where it is not the paper's
    }


def constants_of(weights: Weights, normalisation: Normalisation, material: Material) -> dict:
    """What a record says of how images are normalised."""
    return {
        "kind": weights.kind,
        "images": len(material.training) if weights.normalisation is None else None,
        "mean": [round(value, 6) for value in normalisation.mean.double().mean((1, 2)).tolist()],
        "std": [round(value, 6) for value in normalisation.std.view(-1).tolist()],
    }


def _measured(bench: _Bench, part: str, tested: Tested) -> dict[str, list[dict]]:
    """Results, comparisons and unreadable pictures of one part."""
    if _as_in_training(bench):
        return {"results": [_whole_view(bench, part, tested)]}
    outcome = _scored(bench, part, tested)
    if bench.running.save_scores:
        _record(bench, part, tested, outcome)
    labels = tested.labels[outcome.places]
    right = [judged.predictions == labels for judged in outcome.judged]
    unreadable = [{"part": part, "name": failure.name, "reason": failure.reason} for failure in outcome.failures]
    return {"results": _rows(bench, part, right, outcome), "comparisons": _comparisons(bench, part, right), "unreadable": unreadable}


def _as_in_training(bench: _Bench) -> bool:
    """Whether all that is asked for is one net's error on small images as they are: the number that training printed, to the last bit."""
    plain = bench.running == Running(device=bench.running.device) and len(bench.nets) == 1
    return plain and bench.material.size is not None and [_whole(one, bench.material) for one in bench.protocols] == [True]


def _whole(protocol: Protocol, material: Material) -> bool:
    """Whether it is one view, not resized and not mirrored."""
    return protocol.name == "1-crop" and protocol.resize is None and protocol.crop == min(material.size[1:]) and not protocol.mirror


def _whole_view(bench: _Bench, part: str, tested: Tested) -> dict:
    place, (weights,), (normalisation,) = bench.place, bench.found, bench.normalisations
    net = bench.nets[0].to(place, memory_format=torch.channels_last)  # as the images come
    images = Images(tested.pictures, torch.from_numpy(tested.labels)).to(place)
    found = error_rates(net, images, normalisation.to(place))
    if not math.isfinite(found.loss):
        raise InputError(f"{weights.name} give scores that are not numbers: the weights hold nan or infinity, or the normalisation is far off.")
    return _row(part, bench.protocols[0], found.images, found.wrong, found.wrong_top5, found.loss)


def _scored(bench: _Bench, part: str, tested: Tested) -> Outcome:
    running = bench.running
    pictures = tested.pictures.to(bench.place) if isinstance(tested.pictures, torch.Tensor) else tested.pictures
    folder = running.chunks(part)
    identity = {
        "members": [[one.model, digest(net)] for one, net in zip(bench.found, bench.nets, strict=True)] if folder else [],
        "normalisations": [[one.mean.tolist(), one.std.tolist()] for one in bench.normalisations],
        "data": bench.material.fingerprint, "part": part, "protocols": [protocol.to_dict() for protocol in bench.protocols],
        "precision": running.precision, "scores of views": bool(running.save_scores),
    }  # fmt: skip
    return score(
        bench.nets, pictures, tested.labels, bench.protocols, bench.normalisations, folder=folder, identity=identity,
        keep_logits=bool(running.save_scores), device=bench.place, precision=running.precision, batch=running.batch, workers=running.workers,
    )  # fmt: skip


def _record(bench: _Bench, part: str, tested: Tested, outcome: Outcome) -> None:
    protocols = [protocol.to_dict() for protocol in bench.protocols]
    found, path = bench.found[0], bench.running.save_scores
    about = {
        **bench.about, "weights": Path(found.name).name, "weights_sha256": found.file and checksum(found.file), "part": part,
        "protocols": protocols, "provenance": machine(bench.place), "command": f"{bench.about['command']} --save-scores {shlex.quote(path.name)}",
    }  # fmt: skip
    views.save(path, views_of(outcome, bench.protocols, tested.labels, tested.names, about))
    records.list_views(path)


def _rows(bench: _Bench, part: str, right: Sequence, outcome: Outcome) -> list[dict]:
    rows = []
    for protocol, own, judged, (compared, flipped) in zip(bench.protocols, right, outcome.judged, outcome.compared.tolist(), strict=True):
        row = _row(part, protocol, len(own), int((~own).sum()), int((~judged.top5).sum()), float(judged.losses.mean()))
        lower = {"precision": bench.running.precision, "compared_in_float32": compared, "flipped": flipped}
        rows.append(row | (lower if bench.running.precision != "float32" else {}))
    return rows


def _row(part: str, protocol: Protocol, images: int, wrong: int, wrong_top5: int, loss: float) -> dict:
    return {
        "part": part,
        "protocol": protocol.name,
        "settings": protocol.to_dict(),
        "images": images,
        "wrong": wrong,
        "top1_error": round(100 * wrong / images, 4),
        "top1_interval": [round(bound, 4) for bound in wilson_interval(wrong, images)],
        "top5_error": round(100 * wrong_top5 / images, 4),
        "loss": round(loss, 6),
    }


def _comparisons(bench: _Bench, part: str, right: Sequence) -> list[dict]:
    """Each protocol with the one before it, on the same images: McNemar's exact p, and the bootstrap interval of the difference."""
    rows = []
    for place in range(1, len(right)):
        a, b = right[place - 1], right[place]
        test, interval = mcnemar(a, b), bootstrap_difference(a, b)
        rows.append(
            {
                "part": part, "a": title(bench.protocols[place - 1]), "b": title(bench.protocols[place]), "images": test.images,
                "only_a": test.only_a, "only_b": test.only_b, "difference": round(test.difference, 4),
                "interval": [round(bound, 4) for bound in interval], "p": test.p,
            }
        )  # fmt: skip
    return rows
