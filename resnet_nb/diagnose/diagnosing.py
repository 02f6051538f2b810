"""What `resnet-nb diagnose` does: the known causes that fit two numbers, and the probes on one's own net, as one JSON-ready answer."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from resnet_nb.data import Images
from resnet_nb.devices import resolve_device
from resnet_nb.diagnose import load_causes, matching
from resnet_nb.diagnose.probes import KINDS, Diagnosis, confirm, giving, probe, verdict
from resnet_nb.diagnose.settings import Geometry, Setting
from resnet_nb.errors import InputError
from resnet_nb.protocols.choices import Choices, choose, photographs
from resnet_nb.testing.material import normalisation_for, read_material, takes_photographs
from resnet_nb.testing.members import Given, build, find_weights

WIDTH = 110  # characters of a line on standard output


def fitting(
    measured: float, published: float, *, model: str | None, data: str | None, protocol: str | None, group: str | None = None
) -> list[dict]:
    """The causes as `diagnose.matching` has them, of one group where it is named."""
    groups = list(dict.fromkeys(cause.group for cause in load_causes()))
    if group is not None and group not in groups:
        raise InputError(f"Unknown group {group!r}: choose one of {', '.join(groups)}.")
    table = matching(measured, published, model=model, data=data, protocol=protocol)
    return table[table["group"] == group if group else slice(None)].to_dict("records")


def probed(
    model: str,
    weights: str,
    data: str,
    root: Path | None,
    *,
    given: Given,
    choices: Choices,
    part: str = "test",
    subset: int = 1_000,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    device: str = "auto",
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
    image_size: int | None = None,
    download: bool = False,
    measured: float | None = None,
) -> dict:
    """The probes on `subset` pictures, and the user's setting against the best on all others.

    Returns {"verdict": a sentence, "images", "error": the user's on them in percent, "changes", "alike", "settings": the table's rows, "unreadable",
    "giving": the settings that would give the error `measured`, where one is named, "confirmed": {"images", "only_own", "only_best", "difference",
    "p"} or None}. Raises InputError as `measure.measure` does.
    """
    place = resolve_device(device)
    found = find_weights(model, weights, given)
    large = takes_photographs(data, found, image_size)
    material = read_material(data, root, [part], as_photographs=large, split="all", image_size=image_size, download=download)
    channels = material.size[0] if material.size else 3
    net = build(found, len(material.classes), channels, width=width, norm=norm, conv_bias=conv_bias).to(place).eval()
    normalisation = normalisation_for(found, material)
    tested, geometry, labels = material.parts[part], None, None
    pictures = Images(tested.pictures, torch.from_numpy(tested.labels)) if material.size else tested.pictures
    if large:
        (protocol,) = choose(["1-crop"], photographs(found.preprocessing), choices)
        geometry, labels = Geometry(protocol.resize, protocol.crop, interpolation=protocol.interpolation), tested.labels
    done = probe(net, pictures, Setting(normalisation, geometry), labels, subset=subset, kinds=kinds, seed=seed)
    test = confirm(done, net, pictures, labels) if done.changes and len(pictures) > subset else None
    return _answer(done, test, measured)


def _answer(done: Diagnosis, test: object, measured: float | None) -> dict:
    return {
        "verdict": verdict(done),
        "images": int(done.table.iloc[0]["images"]),
        "error": float(done.table.iloc[0]["error"]),
        "changes": list(done.changes),
        "alike": list(done.alike),
        "settings": done.table.to_dict("records"),
        "giving": [] if measured is None else giving(done, measured)["setting"].tolist(),
        "unreadable": [{"reason": reason} for reason in done.unreadable],
        "confirmed": test
        and {"images": test.images, "only_own": test.only_a, "only_best": test.only_b, "difference": test.difference, "p": test.p},
    }


def lines(answer: dict) -> Iterator[str]:
    """The answer in words: the probes' verdict, then the causes in the order of checking."""
    if "probes" in answer:
        yield from _probe_lines(answer["probes"], answer["measured"])
    if "causes" not in answer:
        return
    gap, causes = answer["gap"], answer["causes"]
    fits = sum(cause["fits"] == "size and sign" for cause in causes)
    yield (
        f"measured {answer['measured']:g} %, published {answer['published']:g} %, a gap of {gap:+.2f} points: {fits} known causes fit "
        f"in size and sign, {len(causes) - fits} more have no known size; check them in this order"
    )
    for cause in causes:
        yield ""
        yield f"{cause['number']:2}  {cause['cause']} ({cause['group']})"
        yield f"    effect {cause['effect']}; {cause['seen_on']} ({cause['evidence']})"
        yield from textwrap.wrap(f"test: {cause['test']}", WIDTH, initial_indent="    ", subsequent_indent="    ")
        yield from textwrap.wrap(f"source: {cause['source']}", WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False)


def _probe_lines(probes: dict, measured: float | None) -> Iterator[str]:
    yield probes["verdict"]
    if probes["confirmed"]:
        found = probes["confirmed"]
        yield f"On the other {found['images']:,} images the difference is {found['difference']:+.2f} points (McNemar's exact p = {found['p']:.2g})."
    if probes["giving"]:
        yield f"Settings that would give the measured {measured:g} %: {', '.join(probes['giving'])}."
    yield ""

