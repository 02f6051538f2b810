"""Test protocols from names and options: the sizes that weights or images ask for, and what the user says instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from resnet_nb.errors import InputError
from resnet_nb.protocols import Preprocessing, Protocol
from resnet_nb.protocols.geometry import CIFAR_SIDE, NAMES

Defaults = Callable[[str], Protocol]


@dataclass(frozen=True)
class Choices:
    """What the user says of protocols; None, or nothing: the defaults. Fields as in `Protocol`.

    resize: the short side of the crops, and of `dense` where `scales` says nothing. scales: the short sides of `multi-scale`; `dense` is measured
    at each. pads: zeros around the picture for `10-crop`, which is measured with each. rule: "pooled" is the dense forms' alone, and the crops
    keep theirs. mirror: True averages the mirror image in 1-crop as well, False takes mirror images out of the dense forms; ten crops have them.
    """

    resize: int | None = None
    crop: int | None = None
    scales: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    mirror: bool | None = None
    rule: str | None = None
    interpolation: str | None = None
    resizer: str | None = None


def small_images(height: int, width: int) -> Defaults:
    """The defaults for small square images: `Protocol.cifar`'s, in proportion to their side."""

    def defaults(name: str) -> Protocol:
        found = Protocol.cifar(name)
        if name != "1-crop" and height != width:
            raise InputError(f"{name} takes crops out of a square, and the images have {width}x{height} pixels: take 1-crop.")
        side = min(height, width)
        share = side / CIFAR_SIDE
        return replace(found, crop=side, pad=round(share * found.pad), scales=tuple(round(share * scale) for scale in found.scales))

    return defaults


def photographs(preprocessing: Preprocessing | None) -> Defaults:
    """The defaults for photographs: the sizes that weights were made for where they say so, else the paper's."""

    def defaults(name: str) -> Protocol:
        return Protocol.paper(name) if preprocessing is None else Protocol.for_weights(name, preprocessing)

    return defaults


def choose(names: Sequence[str], defaults: Defaults, choices: Choices) -> tuple[Protocol, ...]:
    """The protocols called `names` in their order, each with its settings. Raises InputError as `check_choices` does, and for settings that make no
    protocol."""
    check_choices(names, choices)
    return tuple(protocol for name in names for protocol in _chosen(defaults(name), choices))


def pixels(option: str, text: str | None) -> tuple[int, ...]:
    """Whole numbers from text such as 224,256, which was given as `option`. Raises InputError for anything else."""
    words = text.split(",") if text else []
    if not all(word.strip().isdecimal() for word in words):
        raise InputError(f"{option} {text!r} is not a list of pixels, such as 224,256.")
    return tuple(map(int, words))


def title(protocol: Protocol) -> str:
    """The name, with what sets apart the forms of one protocol: the short side of `dense`, the mirror image of `1-crop`, padding."""
    if protocol.name == "dense":
        return f"dense at {protocol.scales[0]}"
    if protocol.name == "1-crop" and protocol.mirror:
        return "1-crop, mirrored"
    return f"{protocol.name}, padded {protocol.pad}" if protocol.pad else protocol.name


def check_choices(names: Sequence[str], choices: Choices) -> None:
    """Raise InputError for unknown names, one that is named twice, and options that none of the protocols has."""
    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None:
        raise InputError(f"Unknown protocol {unknown!r}: choose from {', '.join(NAMES)}.")
    if len(set(names)) < len(names):
        raise InputError(f"--protocol {','.join(names)} names a protocol twice: name each once.")
    dense, crops = [name for name in names if name in NAMES[2:]], [name for name in names if name in NAMES[:2]]
    if not dense and (choices.scales or choices.mirror is False or choices.rule == "pooled"):
        raise InputError("--scales, --no-mirror and --rule pooled are for dense and multi-scale: name one of them with --protocol.")
    if choices.mirror and "1-crop" not in crops:
        raise InputError("--mirror is for 1-crop, as the other protocols average mirror images anyway: leave it out, or name 1-crop with --protocol.")
    if choices.pads and "10-crop" not in crops:
        raise InputError("--pad is for 10-crop: name it with --protocol.")
    if choices.resize is not None and not crops and ("dense" not in dense or choices.scales):
        raise InputError("--resize is for the crops, and for dense without --scales: give --scales alone.")


def _chosen(protocol: Protocol, choices: Choices) -> list[Protocol]:
    kept = {"crop": choices.crop, "interpolation": choices.interpolation, "resizer": choices.resizer}
    if protocol.name != "10-crop":
        kept["mirror"] = choices.mirror
    if protocol.dense:
        kept["rule"] = choices.rule
    else:
        kept |= {"resize": choices.resize, "rule": None if choices.rule == "pooled" else choices.rule}
    given = {field: value for field, value in kept.items() if value is not None}
    return [replace(protocol, **given, **form) for form in _forms(protocol, choices)]


def _forms(protocol: Protocol, choices: Choices) -> list[dict]:
    """The fields in which the forms of one protocol differ."""
    if protocol.name == "dense":
        return [{"scales": (short,)} for short in choices.scales or (choices.resize or protocol.scales[0],)]
    if protocol.name == "10-crop" and choices.pads:
        return [{"pad": pad} for pad in choices.pads]
    return [{"scales": choices.scales}] if protocol.name == "multi-scale" and choices.scales else [{}]
