"""torch.compile, block by block: nets of all depths have the same few kinds of blocks, each of which is compiled once a process.

A whole net takes the compiler a minute and more, and what it makes serves nets of that depth alone.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Block, runs_as

KINDS = 64  # of blocks that a process compiles; torch alone goes on without after 8


@contextmanager
def compiled_blocks(net: nn.Module) -> Iterator[None]:
    """Inside the block, the net's blocks run as torch.compile makes them, each kind from the first time that it is used; outside, as they are.

    Raises InputError where a block's forward pass was changed: what is compiled would be another one.
    """
    torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit = KINDS, True  # each thread has settings of its own
    forward, blocks = _compiled_forward(), {name: module for name, module in net.named_modules() if isinstance(module, Block)}
    if changed := [name for name, block in blocks.items() if not runs_as(block, Block)]:
        raise InputError(f"The forward pass of {changed[0]} was changed, and only that of the package's own blocks is compiled: leave compiled out.")
    own = {block: vars(block).get("forward") for block in blocks.values()}  # the class's, which some blocks may hold themselves
    for block in own:
        block.forward = functools.partial(forward, block)
    try:
        yield
    finally:
        for block, before in own.items():
            del block.forward
            if before is not None:
                block.forward = before


@functools.cache
def _compiled_forward() -> Callable:
    return torch.compile(Block.forward, dynamic=False)  # a second shape would otherwise make all sizes variable, and the kernels slower
