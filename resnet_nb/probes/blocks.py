"""A net's blocks by name: what a block adds, what its shortcut passes on, and another forward pass in its place for a while."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Block, runs_as

KINDS = (Block, BasicBlock, Bottleneck)


def blocks(net: nn.Module) -> dict[str, nn.Module]:
    """The blocks of one of our nets, or of a ResNet of torchvision's, by name, such as layer1.0, in the order in which they run.

    Raises InputError for a net without such blocks.
    """
    found = {name: module for name, module in net.named_modules() if isinstance(module, KINDS)}
    if not found:
        raise InputError(f"A {type(net).__name__} has no blocks that this probe knows: use a plain or residual net of the paper's, or torchvision's.")
    return found


def residual_blocks(net: nn.Module) -> dict[str, nn.Module]:
    """The blocks, each of which adds its `branch` to its `shortcut`.

    Raises InputError for a plain net, and for a block whose forward pass a user has changed, or a `lesions.deleted` around this: what it adds is
    not known. Hooks run before and after the addition and change nothing of that.
    """
    known = blocks(net)
    if not all(is_residual(block) for block in known.values()):
        raise InputError("A plain net's blocks add nothing to a shortcut: take a residual net.")
    if changed := [name for name, block in known.items() if not runs_as(block, *KINDS)]:
        raise InputError(f"The forward pass of {changed[0]} was changed, so what it adds to its shortcut is not known: undo that for this probe.")
    return known


def stage_of(block: str) -> int:
    """The number of a block's stage, counted from 1: that in layer2.0."""
    return int(block.split(".")[-2].removeprefix("layer"))


def is_residual(block: nn.Module) -> bool:
    """Whether a block has a shortcut."""
    return getattr(block, "residual", True)  # torchvision's always have one


def changes_shape(block: nn.Module) -> bool:
    """Whether a block's output has another shape than its input: the first block of a later stage."""
    first = block.conv1
    last = block.conv3 if hasattr(block, "conv3") else block.conv2
    strides = {block.conv1.stride, block.conv2.stride}
    return first.in_channels != last.out_channels or strides != {(1, 1)}


def activation(block: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a block has between its layers and after the addition: ReLU, but for our nets that are built with another."""
    return getattr(block, "activation", F.relu)


def branch(block: nn.Module, x: Tensor) -> Tensor:
    """F(x) of equation 1: a block's convolutions and normalisations with their activation between, before the addition and the last activation."""
    names = [number for number in "123" if hasattr(block, f"conv{number}")]
    for number in names:
        x = getattr(block, f"bn{number}")(getattr(block, f"conv{number}")(x if number == "1" else activation(block)(x)))
    return x


def shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """What a block's shortcut passes on; of a plain block, x itself where the shape stays. Raises InputError where nothing can take its place."""
    if not is_residual(block):
        if changes_shape(block):
            raise InputError("A plain block that halves the map has no shortcut that could take its place: choose another block.")
        return x
    return x if block.downsample is None else block.downsample(x)


def without_branch(block: nn.Module, x: Tensor) -> Tensor:
    """A deleted block: its shortcut and its last activation; a ReLU changes nothing after an identity, as x has been through one."""
    return activation(block)(shortcut(block, x))


@contextmanager
def in_place_of(net: nn.Module, forwards: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Inside the block, the named blocks of `net` compute something else; after it, also after an error, what they did before.

    Raises InputError for a name that no block has.
    """
    known = blocks(net)
    if unknown := [name for name in forwards if name not in known]:
        raise InputError(f"The net has no block {', '.join(unknown)}: its blocks are {', '.join(known)}.")
    own = {name: known[name].__dict__.get("forward") for name in forwards}  # a user's, or that of a context around this one
    try:
        for name, forward in forwards.items():
            known[name].forward = forward  # of the instance: the class stays as it is
        yield
    finally:
        for name, forward in own.items():
            if forward is None:
                known[name].__dict__.pop("forward", None)
            else:
                known[name].forward = forward
