"""Models by name: the paper's nets, and those of torchvision and timm.

plainD, resnetD          the CIFAR nets of section 4.2, D = 6n + 2 layers; option A shortcuts unless the name ends in -B or -C
imagenet:plain18|34      the plain nets of Table 2; imagenet:resnet18|34 with option A, -B or -C (Table 3 compares them)
imagenet:resnet50|101|152  torchvision's, with the stride of a stage in its first 1x1 convolution, as the authors' released nets have it
torchvision:NAME         torchvision's model of that name, without weights
timm:NAME                timm's model of that name, without weights (needs the extra `timm`)
"""

import copy
import difflib
import re
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_nb.errors import InputError
from resnet_nb.models.deepen import GLOBAL_GENERATOR, deepen
from resnet_nb.models.nets import ACTIVATIONS, INITS, NORMS, Net, initialise
from resnet_nb.models.weights import load_weights, read_weights

__all__ = ["BOTTLENECKS", "Spec", "build_model", "check_usable", "count_macs", "count_parameters", "deepen", "load_weights", "parse", "read_weights"]

IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # Table 1
BOTTLENECKS = {f"imagenet:resnet{depth}": f"resnet{depth}" for depth in (50, 101, 152)}
NAME = re.compile(r"(?P<place>cifar:|imagenet:)?(?P<family>plain|resnet)(?P<depth>[1-9][0-9]{0,4})(?:-(?P<option>[ABC]))?")


@dataclass(frozen=True)
class Spec:
    """What a name says: family "plain" or "residual", depth in weighted layers, shortcut option (None for plain), stem."""

    family: str
    depth: int
    option: str | None
    stem: str
    blocks: tuple[int, ...]


def parse(name: str) -> Spec:
    """Read the name of one of the paper's nets. Raises InputError that says what the name could have meant."""
    match = NAME.fullmatch(name)
    if match is None:
        raise InputError(f"Unknown model {name!r}: {_hint(name)}")
    depth, plain = int(match["depth"]), match["family"] == "plain"
    if plain and match["option"]:
        raise InputError(f"{name!r} names a shortcut, and a plain net has none: write {name[:-2]!r}.")
    option = None if plain else match["option"] or "A"
    family = "plain" if plain else "residual"
    if match["place"] == "imagenet:":
        if depth not in IMAGENET_BLOCKS:
            raise InputError(f"{name!r}: the paper's ImageNet nets have 18 or 34 layers, residual ones also 50, 101 and 152.")
        return Spec(family, depth, option, "imagenet", IMAGENET_BLOCKS[depth])
    if match["place"] is None and not plain and depth in (50, 152):
        raise InputError(
            f"{name!r} has two readings: torchvision:resnet{depth}, the ImageNet net, or cifar:resnet{depth}, "
            f"the CIFAR net with 6n + 2 layers; write the one you mean."
        )
    if depth < 8 or (depth - 2) % 6:
        near = max(8, 6 * round((depth - 2) / 6) + 2)
        also = f", or imagenet:{match['family']}{depth}" if depth in IMAGENET_BLOCKS else ""
        raise InputError(f"{name!r}: a CIFAR net has 6n + 2 layers, so write {match['family']}{near}{also}.")
    return Spec(family, depth, option, "cifar", ((depth - 2) // 6,) * 3)


def _hint(name: str) -> str:
    known = ["plain20", "plain56", "resnet20", "resnet56", "resnet110", "resnet20-B", "imagenet:plain34", "imagenet:resnet34"]
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else "names look like plain20, resnet56-B, imagenet:resnet34 or torchvision:resnet50."


def is_foreign(name: str) -> bool:
    """Whether `name` is a model of a library, with blocks of its own."""
    return name.partition(":")[0] in LIBRARIES or name in BOTTLENECKS


def build_model(
    name: str,
    *,
    classes: int = 10,
    in_channels: int = 3,
    width: int | None = None,
    seed: int = 0,
    init: str = "he-fan-in",
    norm: str = "batch",
    conv_bias: bool = False,
    activation: str = "relu",
) -> nn.Module:
    """Build the model called `name`, initialised from `seed` alone.

    width: channels of the first stage (the paper's 16 for CIFAR nets, 64 for ImageNet nets when None); the next stages
    double it. init: one of `nets.INITS`; norm, conv_bias, activation: as in `nets.Net`. Libraries' models keep their own layers and
    initialisation, under `seed`. Raises InputError for a name that says nothing or two things, and for a width below 1.
    """
    spec = None if is_foreign(name) else parse(name)
    for what, value, choices in (("initialisation", init, INITS), ("normalisation", norm, NORMS), ("activation", activation, ACTIVATIONS)):
        if value not in choices:
            raise InputError(f"Unknown {what} {value!r}: choose one of {', '.join(choices)}.")
    if spec is None and (norm, conv_bias, activation) != ("batch", False, "relu"):
        raise InputError(f"{name} has layers of its own: leave another activation, --norm and --conv-bias out.")
    # layers draw from the global generator when they are made, which all threads share; leave it as it was
    with GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec is None:
            return _library_model(name, classes, in_channels, width)
        first = (64 if spec.stem == "imagenet" else 16) if width is None else width
        if first < 1:
            raise InputError(f"--width {width}: a net has at least 1 channel.")
        widths = [first * 2**stage for stage in range(len(spec.blocks))]
        net = Net(
            spec.blocks, widths, spec.option, stem=spec.stem, in_channels=in_channels, classes=classes, norm=norm, conv_bias=conv_bias,
            activation=activation,
        )  # fmt: skip
    initialise(net, seed, init)
    return net


def _torchvision(name: str, classes: int, in_channels: int) -> nn.Module:
    import torchvision

    classifiers = torchvision.models.list_models(module=torchvision.models)  # detectors and the like fetch weights when they are built
    if name not in classifiers:
        near = difflib.get_close_matches(name, classifiers, 3)
        raise InputError(f"torchvision has no model {name!r}; near it: {', '.join(near) or 'none'}.")
    if in_channels != 3:
        raise InputError(f"torchvision's models take 3 channels, these images have {in_channels}: use one of the paper's nets.")
    return torchvision.models.get_model(name, weights=None, num_classes=classes)


def _timm(name: str, classes: int, in_channels: int) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise InputError("timm is not installed: pip install 'resnet-nb[timm]'.") from error
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        raise InputError(f"timm has no model {name!r}; near it: {', '.join(near) or 'none'}.")
    return timm.create_model(name, pretrained=False, num_classes=classes, in_chans=in_channels)


LIBRARIES = {"torchvision": _torchvision, "timm": _timm}


def _library_model(name: str, classes: int, in_channels: int, width: int | None) -> nn.Module:
    if width is not None:
        raise InputError(f"{name} has a width of its own: leave --width out.")
    if name in BOTTLENECKS:
        return _stride_first(_torchvision(BOTTLENECKS[name], classes, in_channels))
    library, _, rest = name.partition(":")
    return LIBRARIES[library](rest, classes, in_channels)


def _stride_first(net: nn.Module) -> nn.Module:
    """Move each stage's stride from the 3x3 convolution to the 1x1 before it (the authors' prototxt; the paper's Table 1 does not say)."""
    for stage in (net.layer2, net.layer3, net.layer4):
        block = stage[0]
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return net


def check_usable(net: nn.Module, name: str, image: tuple[int, int, int], classes: int) -> None:
    """Raise InputError unless a library's model turns two images (C, H, W) into scores (2, classes) in training mode."""
    try:
        with torch.no_grad():
            scores = copy.deepcopy(net).cpu().train()(torch.zeros(2, *image))
    except Exception as error:  # each model has its own way to refuse a size
        size = f"{image[2]}x{image[1]}"
        raise InputError(f"{name} cannot take images of {size} pixels: use another model, or a folder with --image-size.") from error
    if not isinstance(scores, torch.Tensor) or scores.shape != (2, classes):
        raise InputError(f"{name} does not return one score a class in training mode: use another model.")


def count_parameters(net: nn.Module) -> int:
    """Trainable parameters, batch normalisation's scale and offset included (Table 6 counts them)."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_macs(net: nn.Module, image: tuple[int, int, int] = (3, 32, 32)) -> int:
    """Multiply-adds of one image (C, H, W) in convolutions and matrix products: half of torch's counted FLOPs."""
    was_training = net.training
    device = next(net.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, *image, device=device))
    net.train(was_training)
    return counter.get_total_flops() // 2
