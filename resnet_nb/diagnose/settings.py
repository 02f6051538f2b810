"""What can be set wrongly between a picture and a net's scores, and the other ways to set it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF  # not v2's, whose uint8 resize differs by a grey level: the weights' presets use this one

from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.protocols.sources import bounded_size

KINDS = ("channels", "scaling", "mean and std", "resize", "interpolation", "antialias", "epsilon", "mode", "class order")
NORMS = nn.modules.batchnorm._BatchNorm
EPSILONS = (1e-5, 1e-3)  # PyTorch's and Caffe's, Keras's
FRACTIONS = (0.875, 0.95, 0.965, 1.0)  # 256, 235, 232 and 224 for a crop of 224: timm's crop_pct
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CONSTANTS = {  # mean and standard deviation of pixels in [0, 1], by channel
    "ImageNet's mean and std": IMAGENET,
    "ImageNet's mean alone": (IMAGENET[0], None),
    "ImageNet's mean from 0..255": (IMAGENET[0], [1 / 255] * 3),  # Caffe's habit
    "CIFAR-10's mean and std": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "CIFAR-10's mean with std 0.2023": ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),  # kuangliu/pytorch-cifar's
    "CIFAR-100's mean and std": ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
}
MEASURED = {"channel-mean-std": "these pictures' mean and std", "channel-mean": "these pictures' mean alone", "pixel-mean": "each pixel's mean alone"}


@dataclass(frozen=True)
class Geometry:
    """From a photograph to a square of `crop` pixels: short side to `resize`, then the centre; or the whole squashed into it.

    interpolation: "bilinear" or "bicubic". antialias: as PIL does; False: a uint8 tensor resized by torch without it.
    """

    resize: int
    crop: int
    squash: bool = False
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        if not self.squash and self.resize < self.crop:
            raise InputError(f"A crop of {self.crop} pixels does not fit into a short side of {self.resize}: give a larger --resize.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise InputError(f"Unknown interpolation {self.interpolation!r}: choose bilinear or bicubic.")

    def __call__(self, picture: Image.Image) -> Tensor:
        """An RGB picture as (3, crop, crop) uint8."""
        size = [self.crop, self.crop] if self.squash else list(bounded_size(*picture.size[::-1], self.resize))
        source = picture if self.antialias else TF.pil_to_tensor(picture)
        resized = TF.resize(source, size, InterpolationMode(self.interpolation), antialias=self.antialias)
        cropped = TF.center_crop(resized, [self.crop, self.crop])
        return cropped if isinstance(cropped, Tensor) else TF.pil_to_tensor(cropped)


@dataclass(frozen=True, eq=False)
class Setting:
    """How pictures reach a net, and how the net is run: the user's own way, or one that differs from it.

    normalisation: of uint8 images. geometry: of photographs; None for images taken whole. swapped: red and blue exchanged before all else.
    epsilon: of every batch normalisation; None as the net has it. training: whether the net is in training mode; None as it comes.
    order: order[i] is the class that the net's output i stands for; None where it is class i.
    """

    normalisation: Normalisation
    geometry: Geometry | None = None
    swapped: bool = False
    epsilon: float | None = None
    training: bool | None = None
    order: tuple[int, ...] | None = None


def same(a: Setting, b: Setting) -> bool:
    """Whether two settings are one, constants that differ by a thousandth of themselves included."""
    return all(_same(getattr(a, field.name), getattr(b, field.name)) for field in fields(Setting))


def _same(a: object, b: object) -> bool:
    if isinstance(a, Normalisation):
        return all(x.shape == y.shape and torch.allclose(x, y, rtol=1e-3, atol=1e-6) for x, y in ((a.mean, b.mean), (a.std, b.std)))
    return a == b


def alternatives(setting: Setting, net: nn.Module, images: Images, kinds: Sequence[str] = KINDS) -> Iterator[tuple[str, str, Setting]]:
    """(kind, name, setting) of each way that differs from `setting` in one thing, of the kinds that apply. Class order is not among them.

    images: as `setting` hands them to its normalisation; means are measured on them.
    """
    found = [
        *(("channels", name, replace(setting, swapped=not setting.swapped)) for name in _swap_names(setting, images)),
        *(("scaling", name, replace(setting, normalisation=n)) for name, n in _scalings(setting.normalisation, images)),
        *(("mean and std", name, replace(setting, normalisation=n)) for name, n in _normalisations(images)),
        *((kind, name, replace(setting, geometry=g)) for kind, name, g in _geometries(setting.geometry)),
        *(("epsilon", f"epsilon {value:g}", replace(setting, epsilon=value)) for value in _epsilons(setting, net)),
        ("mode", *_other_mode(setting, net)),
    ]
    tried = [setting]
    for kind, name, other in found:
        if kind in kinds and not any(same(one, other) for one in tried):  # two names of one setting are tried once
            tried.append(other)
            yield kind, name, other


def _swap_names(setting: Setting, images: Images) -> list[str]:
    return ["red and blue as they come" if setting.swapped else "red and blue exchanged"] if images.images.shape[1] == 3 else []


def _scalings(own: Normalisation, images: Images) -> Iterator[tuple[str, Normalisation]]:
    channels = images.images.shape[1]
    yield "pixels in 0..1", Normalisation.of_channels([0.0] * channels)
    yield "pixels in 0..255", Normalisation.of_channels([0.0] * channels, [1 / 255] * channels)
    yield "pixels in -1..1", Normalisation.of_channels([0.5] * channels, [0.5] * channels)
    yield "your mean and std on pixels 255 times as large", Normalisation(own.mean / 255, own.std / 255)  # the division by 255 left out
    yield "your mean and std on pixels 255 times as small", Normalisation(own.mean * 255, own.std * 255)  # or done twice


def _normalisations(images: Images) -> Iterator[tuple[str, Normalisation]]:
    if images.images.shape[1] == 3:
        for name, (mean, std) in CONSTANTS.items():
            yield name, Normalisation.of_channels(mean, std)
    for kind, name in MEASURED.items():
        measured = Normalisation.measured(images, kind).to("cpu")
        yield name, Normalisation(measured.mean, measured.std.clamp(min=1e-6))  # a channel of one value has no deviation


def _geometries(own: Geometry | None) -> Iterator[tuple[str, str, Geometry]]:
    if own is None:
        return
    yield "resize", "squashed to a square", replace(own, squash=True)
    for fraction in FRACTIONS:
        resize = math.floor(own.crop / fraction)  # as timm rounds
        yield "resize", f"short side {resize} (crop fraction {fraction:g})", replace(own, squash=False, resize=resize)
    for name in ("bilinear", "bicubic"):
        yield "interpolation", name, replace(own, interpolation=name)
    yield "antialias", "without antialiasing" if own.antialias else "with antialiasing (PIL)", replace(own, antialias=not own.antialias)


def _epsilons(setting: Setting, net: nn.Module) -> list[float]:
    own = {module.eps for module in net.modules() if isinstance(module, NORMS)} if setting.epsilon is None else {setting.epsilon}
    return [value for value in EPSILONS if own and own != {value}]


def _other_mode(setting: Setting, net: nn.Module) -> tuple[str, Setting]:
    training = net.training if setting.training is None else setting.training
    return "evaluation mode" if training else "training mode (batch statistics)", replace(setting, training=not training)
