"""A trained net for a reader's own pictures: nothing but the weights says how many classes there are, and what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from resnet_nb.data.cifar import CIFARS
from resnet_nb.data.folders import class_names
from resnet_nb.data.normalise import Normalisation
from resnet_nb.data.photographs.thousand import imagenet_classes
from resnet_nb.errors import InputError
from resnet_nb.protocols import Protocol
from resnet_nb.protocols.choices import Choices, Defaults, choose, photographs, small_images
from resnet_nb.protocols.geometry import CIFAR_SIDE
from resnet_nb.testing.members import Given, Weights, build, find_weights, of_library
from resnet_nb.testing.registry import find_checkpoint, is_checkpoint


@dataclass(frozen=True, eq=False)
class Ready:
    """A net with its weights. classes: one name for each score; protocols: those that pictures are scored under."""

    model: str
    weights: str
    net: nn.Module
    normalisation: Normalisation
    classes: tuple[str, ...]
    protocols: tuple[Protocol, ...]


def ready(
    model: str,
    weights: str,
    protocols: Sequence[str],
    *,
    given: Given,
    choices: Choices,
    classes: Path | None = None,
    width: int | None = None,
    norm: str | None = None,
    conv_bias: bool = False,
) -> Ready:
    """The net called `model` with `weights`, as in `members`, for pictures of any size.

    classes: a file with one name a line, or a folder of class folders; else the names that come with the weights, of ImageNet's thousand, of the
    data set that public CIFAR weights are of, or numbers. Raises InputError for a net that takes grey images, and as `members` does.
    """
    if given.normalise is not None:
        raise InputError("--normalise measures training images, and there are none here: give --mean and --std.")
    found = find_weights(model, weights, given)
    count = len(found.classes) if found.classes else outputs(found.state, weights)
    if len(found.normalisation.std) != 3:
        raise InputError(f"{weights} are of a net for {len(found.normalisation.std)} channel(s), and pictures are read in colour: take others.")
    names = _names(found, count, classes)
    net = build(found, count, 3, width=width, norm=norm, conv_bias=conv_bias)
    return Ready(model, found.name, net, found.normalisation, names, choose(protocols, _defaults(found), choices))


def outputs(state: dict[str, Tensor], name: str) -> int:
    """How many classes weights tell apart: the rows of their last matrix. Raises InputError where there is none."""
    matrices = [tensor for tensor in state.values() if tensor.ndim == 2]
    if not matrices:
        raise InputError(f"{name} end in no linear layer, so that their classes cannot be counted: take a net with one.")
    return len(matrices[-1])


def _defaults(found: Weights) -> Defaults:
    """Photographs have the weights' sizes or the paper's; the CIFAR nets see pictures as small as their training images."""
    if of_library(found.model) or found.model.startswith("imagenet:"):
        return photographs(found.preprocessing)
    mean = found.normalisation.mean
    side = mean.shape[1] if mean.shape[1] > 1 else CIFAR_SIDE  # a mean per pixel tells the size of the training images
    small = small_images(side, side)

    def defaults(name: str) -> Protocol:
        protocol = small(name)
        return protocol if protocol.dense else replace(protocol, resize=side)

    return defaults


def _names(found: Weights, count: int, classes: Path | None) -> tuple[str, ...]:
    if classes is not None:
        names = read_names(classes)
        if len(names) != count:
            raise InputError(f"{classes} has {len(names):,} names and the net {count:,} classes: give one name a class, in the order of the scores.")
        return names
    if found.classes:
        return found.classes
    if is_checkpoint(found.name):
        return CIFARS[find_checkpoint(found.name).data].classes
    return imagenet_classes() if count == len(imagenet_classes()) else tuple(f"class {place}" for place in range(count))


def read_names(place: Path) -> tuple[str, ...]:
    """Class names: the lines of a file, or the sorted class folders of a folder. Raises InputError where neither is there."""
    if place.is_dir():
        return class_names(place)
    try:
        return tuple(line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes {place} cannot be read: give a text file with one name a line, or a folder of class folders.") from error


def check_files(paths: Sequence[Path]) -> None:
    """Raise InputError for a picture that is not there, or is a folder."""
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is not None and absent.is_dir():
        raise InputError(f"{absent} is a folder: name its pictures, such as {absent}/*.jpg.")
    if absent is not None:
        raise InputError(f"There is no picture {absent}: check the path.")


