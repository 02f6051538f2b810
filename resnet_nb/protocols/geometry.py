"""Which views of a picture a test protocol scores: He et al. (2015), section 3.4, and Krizhevsky et al. (2012), section 4.1. No torch.

1-crop        the short side resized, the centre
10-crop       four corners, the centre, and the same five of the mirror image
dense         the fully-convolutional net on the whole picture at one short side
multi-scale   the same at several short sides, each counting once whatever its number of windows

Our reading where the paper names neither: the dense forms average the picture and its mirror image (mirror=False takes the picture alone), and
"fully-convolutional" is the released layers slid over the last map (`resnet_nb.protocols.heads`; `rule` names the alternatives).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

from resnet_nb.errors import InputError

NAMES = ("1-crop", "10-crop", "dense", "multi-scale")
RULES = ("softmax", "logits", "pooled")
INTERPOLATIONS = ("bilinear", "bicubic")
RESIZERS = ("pil", "tensor")
SHORT_SIDE, CROP, SCALES = 256, 224, (224, 256, 384, 480, 640)  # section 3.4
CIFAR_SIDE, CIFAR_PAD = 32, 4  # section 4.2
CIFAR_SCALES = (32, 40, 48)  # ours: the paper has no dense form on CIFAR-10
PLACES = ("top left", "top right", "bottom left", "bottom right", "centre")
WHOLE = "whole"


class View(NamedTuple):
    """One view: the short side that the picture is resized to (None: as it is), where in it, and whether it is mirrored."""

    short: int | None
    place: str
    mirrored: bool


class Box(NamedTuple):
    """A rectangle in pixels of the resized picture; with padding it may begin before 0 and end beyond the picture."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Protocol:
    """A test protocol with all that its number depends on.

    name: one of NAMES. resize: the crops' short side in pixels, None for pictures as they are. crop: side of the crops, and of the crops that
    the net was trained on, whose last map is the dense forms' window. scales: the dense forms' short sides. mirror: mirror images are averaged
    as well. rule: where the softmax stands. "softmax": at every crop and window, then the mean over windows, mirror images and scales;
    "logits": the mean of logits over all of them, then one softmax; "pooled" (dense forms): one global average a pass, softmax, then the mean
    over passes. interpolation, resizer: "pil" is Pillow's antialiased filter on uint8, "tensor" torchvision's on uint8 tensors, faster and not
    the same to the last level. pad: zeros around the normalised picture before it is cropped. Raises InputError for what makes no protocol.
    """

    name: str
    resize: int | None = None
    crop: int = CROP
    scales: tuple[int, ...] = ()
    mirror: bool = True
    rule: str = "softmax"
    interpolation: str = "bilinear"
    resizer: str = "pil"
    pad: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))  # lists come from JSON and from command lines
        _choice("protocol", self.name, NAMES)
        _choice("interpolation", self.interpolation, INTERPOLATIONS)
        _choice("resizer", self.resizer, RESIZERS)
        _choice("rule", self.rule, RULES if self.dense else RULES[:2])
        for what, number, least in (("crop", self.crop, 1), ("padding", self.pad, 0), *(("scale", scale, 1) for scale in self.scales)):
            if not isinstance(number, int) or number < least:
                raise InputError(f"{self.name}: a {what} of {number} pixels; give a whole number, {least} or more.")
        _check_dense(self) if self.dense else _check_crops(self)

    @classmethod
    def paper(cls, name: str) -> "Protocol":
        """The protocol `name` on ImageNet as section 3.4 has it; `dense` at short side 256."""
        return _sized(cls, name, SHORT_SIDE, CROP, SCALES)

    @classmethod
    def cifar(cls, name: str) -> "Protocol":
        """The protocol `name` on pictures of 32x32 pixels: the whole picture; ten crops of it padded with 4 zeros; enlarged to 40; to 32, 40, 48.

        The paper (section 4.2) tests the single view alone; the other forms carry section 3.4 over.
        """
        if name in ("1-crop", "10-crop"):
            return cls(name, crop=CIFAR_SIDE, mirror=name == "10-crop", pad=CIFAR_PAD if name == "10-crop" else 0)
        return _sized(cls, name, CIFAR_SIDE + 2 * CIFAR_PAD, CIFAR_SIDE, CIFAR_SCALES)

    @classmethod
    def for_weights(cls, name: str, weights: object) -> "Protocol":
        """The protocol `name` with the sizes and the filter that `weights` were made for, as `Preprocessing.of` reads them.

        The paper's scales keep their ratios to the crop: a net for crops of 288 is tried at 288, 329, 494, 617 and 823.
        """
        made_for = Preprocessing.of(weights)
        scales = tuple(round(scale * made_for.crop / CROP) for scale in SCALES)
        return _sized(cls, name, made_for.resize, made_for.crop, scales, made_for.interpolation)

    @classmethod
    def from_dict(cls, values: Mapping) -> "Protocol":
        """What `to_dict` wrote. Raises InputError for a field that no protocol has."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown or "name" not in values:
            raise InputError(f"No protocol: {f'unknown field {unknown[0]!r}' if unknown else 'it has no name'}.")
        return cls(**values)

    def to_dict(self) -> dict:
        """Every field as JSON has it."""
        return asdict(self) | {"scales": list(self.scales)}

    @property
    def dense(self) -> bool:
        """Whether it is a fully-convolutional form."""
        return self.name in ("dense", "multi-scale")

    @property
    def shorts(self) -> tuple[int | None, ...]:
        """Every short side that a picture is resized to."""
        return self.scales if self.dense else (self.resize,)

    def views(self) -> tuple[View, ...]:
        """The views in order. Crops: corners in reading order, the centre, then the same five mirrored. Dense forms: each scale, then its mirror."""
        mirrors = (False, True) if self.mirror else (False,)
        if self.dense:
            return tuple(View(short, WHOLE, mirrored) for short in self.scales for mirrored in mirrors)
        places = PLACES if self.name == "10-crop" else PLACES[4:]
        return tuple(View(self.resize, place, mirrored) for mirrored in mirrors for place in places)

    def pixels(self, height: int, width: int) -> int:
        """Pixels that the net reads in all views of a picture of height x width; its operations grow with them."""
        boxes = (box(view, *resized_size(height, width, view.short), self.crop, self.pad) for view in self.views())
        return sum(one.height * one.width for one in boxes)


def box(view: View, height: int, width: int, crop: int, pad: int = 0) -> Box:
    """Where a protocol's `view` lies in the resized picture of height x width pixels. A mirrored view is this box, then mirrored.

    Where the margin is odd the mirrored centre lies one pixel to the right: it is the centre crop of the mirror image, as torchvision's TenCrop
    takes it. Raises InputError where the picture is smaller than the crop.
    """
    if view.place == WHOLE:
        return Box(0, 0, height, width)
    down, right = height + 2 * pad - crop, width + 2 * pad - crop
    if min(down, right) < 0:
        raise InputError(f"has {width}x{height} pixels, less than the crop's {crop}x{crop}: give a short side to resize to.")
    middle = right - round(right / 2) if view.mirrored else round(right / 2)  # Python's round, half to even, as in torchvision
    tops, lefts = {"top": 0, "bottom": down, "centre": round(down / 2)}, {"left": 0, "right": right, "centre": middle}
    words = view.place.split()
    return Box(tops[words[0]] - pad, lefts[words[-1]] - pad, crop, crop)


class Preprocessing(NamedTuple):
    """What published weights were evaluated with: short side and crop in pixels, filter, mean and standard deviation in [0, 1]."""

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, weights: object) -> "Preprocessing":
        """Read torchvision's weights (such as ResNet50_Weights.IMAGENET1K_V1), or a timm net or its `pretrained_cfg`; one that was read is taken.

        Raises InputError where they say nothing of the kind, or ask for more than a short side, a centre crop and one of INTERPOLATIONS.
        """
        if isinstance(weights, cls):
            return weights
        if hasattr(weights, "transforms"):
            return _of_torchvision(weights.transforms())
        config = getattr(weights, "pretrained_cfg", weights)
        if not isinstance(config, Mapping) or "crop_pct" not in config:
            raise InputError(f"{type(weights).__name__} does not say which sizes it was made for: give --resize and --crop.")
        return _of_timm(config)


def resized_size(height: int, width: int, short: int | None) -> tuple[int, int]:
    """Height and width once the short side is `short` pixels; the long side is rounded down, as torchvision does."""
    if short is None:
        return height, width
    least = min(height, width)
    return tuple(short if n == least else int(short * n / least) for n in (height, width))


def _sized(cls: type[Protocol], name: str, resize: int, crop: int, scales: tuple[int, ...], interpolation: str = "bilinear") -> Protocol:
    """The crops take `resize`, `dense` the same short side, and `multi-scale` all the scales."""
    if name in ("dense", "multi-scale"):
        return cls(name, None, crop, scales if name == "multi-scale" else (resize,), interpolation=interpolation)
    return cls(name, resize, crop, mirror=name != "1-crop", interpolation=interpolation)


def _of_torchvision(preset: object) -> Preprocessing:
    try:
        (resize,), (crop,) = preset.resize_size, preset.crop_size
        return _checked(resize, crop, preset.interpolation.value, preset.mean, preset.std)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError("These weights are not of a classifier with a square crop: give --resize and --crop.") from error


def _of_timm(config: Mapping) -> Preprocessing:
    crop = config["input_size"][-1]
    if config.get("crop_mode", "center") != "center" or config["input_size"][-2] != crop:
        raise InputError("These weights take no square crop at the centre of a picture resized by its short side: give --resize and --crop.")
    return _checked(math.floor(crop / config["crop_pct"]), crop, config["interpolation"], config["mean"], config["std"])


def _checked(resize: int, crop: int, interpolation: str, mean: tuple, std: tuple) -> Preprocessing:
    _choice("interpolation", interpolation, INTERPOLATIONS)
    return Preprocessing(resize, crop, interpolation, tuple(mean), tuple(std))


def _choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"Unknown {what} {value!r}: choose one of {', '.join(choices)}.")


def _check_crops(protocol: Protocol) -> None:
    if protocol.scales:
        raise InputError(f"{protocol.name} has one short side, not scales: give --resize.")
    if protocol.resize is not None and protocol.resize + 2 * protocol.pad < protocol.crop:
        raise InputError(f"{protocol.name}: a short side of {protocol.resize} pixels is less than the crop's {protocol.crop}: raise --resize.")


def _check_dense(protocol: Protocol) -> None:
    if protocol.resize is not None or protocol.pad:
        raise InputError(f"{protocol.name} takes whole pictures at its scales: leave the short side and the padding of the crops out.")
    if not protocol.scales or (protocol.name == "dense" and len(protocol.scales) > 1):
        raise InputError(f"{protocol.name} has {len(protocol.scales)} scales: dense takes one, multi-scale one or more.")
    if len(set(protocol.scales)) < len(protocol.scales):
        raise InputError(f"{protocol.name} names a scale twice, and each counts once: {', '.join(map(str, protocol.scales))}.")
    if protocol.rule != "pooled" and min(protocol.scales) < protocol.crop:
        raise InputError(f"{protocol.name} at {min(protocol.scales)} pixels: no window of a {protocol.crop}-pixel crop fits; give larger --scales.")
