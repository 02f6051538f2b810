"""torch.compile, block by block: nets of all depths have the same few kinds of blocks, each of which is compiled once a process.

A whole net takes the compiler a minute and more, and what it makes serves nets of that depth alone.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from resnet_nb.models.nets import Block

KINDS = 64  # of blocks that a process compiles; torch alone goes on without after 8


@contextmanager
def compiled_blocks(net: nn.Module) -> Iterator[None]:
    """Inside the block, the net's blocks run as torch.compile makes them, each kind from the first time that it is used; outside, as they are."""
    torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit = KINDS, True  # each thread has settings of its own
    forward, blocks = _compiled_forward(), [module for module in net.modules() if isinstance(module, Block)]
    for block in blocks:
        block.forward = functools.partial(forward, block)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


@functools.cache
def _compiled_forward() -> Callable:
    return torch.compile(Block.forward, dynamic=False)  # a second shape would otherwise make all sizes variable, and the kernels slower
