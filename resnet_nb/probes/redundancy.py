"""Redundancy: how much the channels of a net's states and updates, and successive states and updates, repeat each other.

The state h_l is the output of block l, after its ReLU; h_0 is the input of the first block. An update is what a block contributes, in two readings:

branch   the output of the block's last normalisation, before addition and ReLU: F_l in a residual net; in a plain net, which has no addition,
         the block's own output before its ReLU
change   h_l - h_(l-1), where both have one shape: what the block did to its input, in a plain net as in a residual one

Within a layer a sample is one position of one image. Successive layers are compared where they have one shape, in two ways that go by one name:
cka, as Kornblith et al. (2019) define it for convolutions, has images as samples and whole maps as features; position_cka has positions as samples
and channels as features, and asks for agreement in each place.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call

from resnet_nb.errors import InputError
from resnet_nb.findings.similarity import Moments, between, cka, hsic, within
from resnet_nb.probes.checks import check_batch, same_randomness

KINDS = ("state", "branch", "change")
COLUMNS = (
    "kind", "block", "stage", "channels", "dead", "effective_rank", "participation", "scaled_rank", "correlation", "cka",
    "position_cka", "unexplained", "size",
)  # fmt: skip
CHUNK = 100  # images at a time, of which no more than a few layers' activations are held at once
FEWEST = 3  # of a chunk's images: HSIC needs more


@dataclass
class _Sums:
    """Of one kind at one block, over the chunks: the samples' sums of x, x xᵀ and, with the layer before, of y xᵀ; sums of squares; HSIC."""

    count: int = 0
    first: np.ndarray | float = 0.0
    second: np.ndarray | float = 0.0
    cross: np.ndarray | None = None
    squares: np.ndarray = field(default_factory=lambda: np.zeros(2))
    alike: np.ndarray = field(default_factory=lambda: np.zeros(3))  # HSIC with the layer before, of that one, of this one

    def add(self, samples: Tensor, before: Tensor | None, reference: Tensor | None) -> None:
        flat = samples.flatten(0, 1)
        self.count += len(flat)
        self.first = self.first + flat.sum(0).numpy()
        self.second = self.second + (flat.T @ flat).numpy()
        if before is not None:
            self.cross = (0.0 if self.cross is None else self.cross) + (before.flatten(0, 1).T @ flat).numpy()
            if len(samples) > FEWEST:
                old, new = ((maps @ maps.T).numpy() for maps in (before.flatten(1), samples.flatten(1)))
                self.alike += hsic(old, new), hsic(old, old), hsic(new, new)
        if reference is not None:
            self.squares += float(samples.square().sum()), float(reference.square().sum())

    def moments(self, before: "_Sums | None") -> Moments:
        mean = self.first / self.count
        cross = None if self.cross is None else self.cross / self.count - np.outer(before.first / self.count, mean)
        return Moments(self.count, mean, self.second / self.count - np.outer(mean, mean), cross)


class _Collector:
    """Follows the blocks of a net as they run, one chunk after another, and keeps sums alone."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, int], _Sums] = {}
        self.last: dict[str, Tensor] = {}
        self.block = 0
        self.branch: Tensor | None = None

    def begin(self, state: Tensor) -> None:
        """A chunk arrives at the first block."""
        self.block, self.last = 0, {}
        self._add("state", _samples(state))

    def keep_branch(self, output: Tensor) -> None:
        self.branch = _samples(output)  # a copy: ReLUs in place come after it

    def end_block(self, output: Tensor) -> None:
        before, state = self.last["state"], _samples(output)
        self.block += 1
        same = before.shape == state.shape
        self._add("branch", self.branch, before if same else None)
        if same:
            self._add("change", state - before, before)
        self._add("state", state)

    def _add(self, kind: str, samples: Tensor, reference: Tensor | None = None) -> None:
        before = self.last.get(kind)
        fits = before is not None and before.shape == samples.shape
        self.sums.setdefault((kind, self.block), _Sums()).add(samples, before if fits else None, reference)
        self.last[kind] = samples


def _samples(output: Tensor) -> Tensor:
    """(N, C, H, W) to a copy (N, H W, C) in float64 on the CPU."""
    return output.detach().flatten(2).movedim(1, 2).to("cpu", torch.float64, copy=True).contiguous()


def blocks(net: nn.Module) -> dict[str, list[nn.Module]]:
    """The blocks of a CIFAR or ImageNet ResNet or plain net by stage. Raises InputError for a net that has none."""
    names = [name for name, _ in net.named_children() if name.startswith("layer") and name[5:].isdecimal()]
    found = {name: list(getattr(net, name)) for name in names}
    if not found or not all(hasattr(block, "bn2") for stage in found.values() for block in stage):
        raise InputError("Redundancy is measured block by block: give a plain or residual net of the paper, or torchvision's ResNet.")
    return found


@contextmanager
def _followed(stages: dict[str, list[nn.Module]], collector: _Collector) -> Iterator[None]:
    everything = [block for stage in stages.values() for block in stage]
    hooks = [everything[0].register_forward_pre_hook(lambda _, inputs: collector.begin(inputs[0]))]
    for block in everything:
        last = block.bn3 if hasattr(block, "bn3") else block.bn2
        hooks.append(last.register_forward_hook(lambda _, __, output: collector.keep_branch(output)))
        hooks.append(block.register_forward_hook(lambda _, __, output: collector.end_block(output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _mode(net: nn.Module, training: bool) -> Iterator[None]:
    """The net in one mode, and every module back in its own after it."""
    modes = {module: module.training for module in net.modules()}
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def moments(
    net: nn.Module, images: Tensor, *, chunk: int = CHUNK, batch_statistics: bool = False
) -> tuple[dict[tuple[str, int], Moments], dict[tuple[str, int], dict[str, float]]]:
    """The moments of every state, branch and change by (kind, block), and their cka and size, see `redundancy`.

    images: (N, C, H, W) float, normalised, on the net's device, `chunk` at a time. HSIC is averaged over the chunks (Nguyen et al. 2021, arXiv
    2010.15327), nothing else depends on them; a chunk of three images or fewer has none. In evaluation mode;
    batch_statistics: with the statistics of all images together instead, which a net that was never trained needs; they then go through the net
    at once. The net is left as it was, in whichever mode it is. Raises InputError for images that the net cannot take.
    """
    check_batch(net, images)
    stages, collector = blocks(net), _Collector()
    with torch.no_grad(), same_randomness(net), _mode(net, batch_statistics), _followed(stages, collector):
        chunks = 1 if batch_statistics else -(-len(images) // chunk)
        for part in (images[start::chunks] for start in range(chunks)):  # every so-manieth: data sets lie in order of their classes
            functional_call(net, {name: buffer.clone() for name, buffer in net.named_buffers()}, (part,))
    sums = collector.sums
    found = {(kind, block): one.moments(sums.get((kind, block - 1))) for (kind, block), one in sums.items()}
    others = {key: {"cka": cka(*one.alike), "size": float(np.sqrt(one.squares[0] / (one.squares[1] or np.nan)))} for key, one in sums.items()}
    return found, others


def redundancy(net: nn.Module, images: Tensor, *, chunk: int = CHUNK, batch_statistics: bool = False) -> pd.DataFrame:
    """One row for each state, branch and change, with COLUMNS; arguments as `moments` has them.

    block: 0 for the input of the first one; stage: from 1. effective_rank, participation, scaled_rank: shares of the channels; correlation: mean
    |correlation| of two channels. cka, position_cka, unexplained: with the same kind one block before, NaN where that has another shape. size: the
    norm of a branch or change over that of the block's input, NaN for states and where shapes differ. The measures: `findings.similarity`.
    """
    found, others = moments(net, images, chunk=chunk, batch_statistics=batch_statistics)
    stage_of = [number for number, stage in enumerate(blocks(net).values(), 1) for _ in stage]
    rows = []
    for (kind, block), one in found.items():
        row = {"kind": kind, "block": block, "stage": stage_of[max(block - 1, 0)], **within(one), **others[kind, block]}
        if one.cross is not None:
            row |= between(found[kind, block - 1], one)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["kind", "block"], key=lambda values: values.map(KINDS.index) if values.name == "kind" else values, ignore_index=True)


@torch.no_grad()
def regauge(net: nn.Module, block: int, factor: float, channels: int = 1) -> nn.Module:
    """A copy of a plain net in which the first `channels` channels of state `block` are `factor` times as large, and the next block's weights
    for them as much smaller: another representation of the same function.

    block: from 1, not the last; factor: positive. Raises InputError for a residual net, whose shortcuts carry a state's scale on.
    """
    everything = [one for stage in blocks(net).values() for one in stage]
    if any(getattr(one, "residual", True) for one in everything):
        raise InputError("Only a plain net's states can be rescaled block by block: a shortcut carries the scale on to all later states.")
    if not 1 <= block < len(everything) or factor <= 0:
        raise InputError(f"Rescale by a positive factor, and a block from 1 to {len(everything) - 1}, which has another behind it.")
    copied = copy.deepcopy(net)
    everything = [one for stage in blocks(copied).values() for one in stage]
    norm = everything[block - 1].bn2 if isinstance(everything[block - 1].bn2, nn.BatchNorm2d) else everything[block - 1].conv2
    for tensor in (norm.weight, norm.bias):
        tensor[:channels] *= factor
    everything[block].conv1.weight[:, :channels] /= factor
    return copied
