"""Lesions (Veit, Wilber, Belongie 2016, arXiv 1605.06431): blocks deleted or exchanged in a trained net, without retraining.

A residual block is replaced by its shortcut, a plain one by nothing. Batch normalisation keeps its running statistics, as in the paper.
Images are normalised floats (N, C, H, W), labels int64 (N,); errors are in percent (top-1), losses mean cross-entropies in nats, both in
evaluation mode. Every function leaves the net as it was, and raises InputError for a batch that the net cannot take.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.probes.blocks import blocks, changes_shape, in_place_of, is_residual, stage_of, without_branch
from resnet_nb.probes.checks import check_batch, check_ran, check_seed
from resnet_nb.protocols.evaluate import evaluation_mode

BATCH = 250  # images at a time
INTACT = "none"


@torch.no_grad()
def error_and_loss(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Top-1 error in percent and mean cross-entropy in nats, in evaluation mode. Raises InputError for a batch that the net cannot take."""
    check_batch(net, images, labels)
    with evaluation_mode(net):
        return _rates(torch.cat([net(batch) for batch in images.split(BATCH)]), labels)


def _rates(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    return 100 * float((scores.argmax(1) != labels).double().mean()), float(F.cross_entropy(scores.double(), labels))


def deletable(net: nn.Module, *, downsampling: bool = True) -> list[str]:
    """The blocks that can be deleted: all of a residual net's, with `downsampling` off those alone that keep the shape; of a plain net, these."""
    return [name for name, block in blocks(net).items() if not changes_shape(block) or (downsampling and is_residual(block))]


def deleted(net: nn.Module, names: Iterable[str]) -> AbstractContextManager[None]:
    """A context in which the named blocks are deleted. Raises InputError for an unknown one and a plain one that halves the map."""
    known = blocks(net)
    names = list(names)
    if lost := [name for name in names if name in known and not is_residual(known[name]) and changes_shape(known[name])]:
        raise InputError(f"{', '.join(lost)}: a plain block that halves the map cannot be left out, nothing else has its shapes; choose another.")
    return in_place_of(net, {name: partial(without_branch, known.get(name)) for name in names})


@torch.no_grad()
def delete_each(net: nn.Module, images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Each block deleted alone, after the intact net, whose block is "none" and whose stage 0. Columns block, stage, downsampling, error, loss."""
    check_batch(net, images, labels)
    names, known = deletable(net), blocks(net)
    scores: dict[str, list[Tensor]] = {name: [] for name in (INTACT, *names)}
    with evaluation_mode(net):
        for batch in images.split(BATCH):
            inputs: dict[str, Tensor] = {}
            with in_place_of(net, {name: partial(_keeping, inputs, name, block.forward) for name, block in known.items()}):
                scores[INTACT].append(net(batch))
            check_ran(known, inputs)
            for name in names:
                with in_place_of(net, _resumed(known, name, inputs[name])):
                    scores[name].append(net(batch))
    shapes = {name: (stage_of(name), changes_shape(known[name])) for name in names}
    rows = [(name, *shapes.get(name, (0, False)), *_rates(torch.cat(found), labels)) for name, found in scores.items()]
    return pd.DataFrame(rows, columns=["block", "stage", "downsampling", "error", "loss"])


def _keeping(inputs: dict[str, Tensor], name: str, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    inputs[name] = x
    return forward(x)


def _resumed(known: dict[str, nn.Module], name: str, x: Tensor) -> dict:
    """Forward passes that go on from x, the deleted block's input: what comes before it is as in the intact net, and half of all the work."""
    before = list(known)[: list(known).index(name)]
    return {**dict.fromkeys(before, lambda y: y), name: lambda _: without_branch(known[name], x)}


def delete_random(
    net: nn.Module, images: Tensor, labels: Tensor, counts: Sequence[int], draws: int = 5, seed: int = 0
) -> pd.DataFrame:  # fmt: skip
    """So many blocks at random deleted together, of those that keep the shape. Columns deleted (how many), draw, blocks, error, loss.

    Raises InputError for more blocks than there are.
    """
    check_batch(net, images, labels)
    check_seed(seed)
    names = deletable(net, downsampling=False)
    if max(counts) > len(names):
        raise InputError(f"{max(counts)} blocks cannot be deleted: the net has {len(names)} that keep the shape.")
    rows = []
    for count in counts:
        for draw in range(draws):
            chosen = np.random.default_rng([seed, count, draw]).choice(len(names), count, replace=False)
            lost = [names[place] for place in sorted(chosen)]
            with deleted(net, lost):
                rows.append((count, draw, " ".join(lost), *error_and_loss(net, images, labels)))
    return pd.DataFrame(rows, columns=["deleted", "draw", "blocks", "error", "loss"])


def swap_random(net: nn.Module, images: Tensor, labels: Tensor, counts: Sequence[int], draws: int = 5, seed: int = 0) -> pd.DataFrame:
    """So many times two random blocks of one stage exchanged, of those that keep the shape, however far apart (neighbours alone hurt much less).

    Columns swaps, draw, tau (Kendall's, between the blocks' old and new order, 1 where nothing moved), error, loss. Raises InputError for a net
    without two such blocks in a stage.
    """
    check_batch(net, images, labels)
    check_seed(seed)
    order = list(blocks(net))
    movable = deletable(net, downsampling=False)
    pairs = [(one, other) for place, one in enumerate(movable) for other in movable[place + 1 :] if stage_of(one) == stage_of(other)]
    if not pairs:
        raise InputError("No stage of the net has two blocks of one shape, which could change places: take a deeper net.")
    rows = []
    for count in counts:
        for draw in range(draws):
            generator = np.random.default_rng([seed, count, draw])
            runs = dict(zip(order, order, strict=True))  # which block computes in which place
            for one, other in (pairs[place] for place in generator.integers(len(pairs), size=count)):
                runs[one], runs[other] = runs[other], runs[one]
            tau = float(kendalltau(range(len(order)), [order.index(name) for name in runs.values()]).statistic)
            with in_place_of(net, _forwards(net, runs)):
                rows.append((count, draw, tau, *error_and_loss(net, images, labels)))
    return pd.DataFrame(rows, columns=["swaps", "draw", "tau", "error", "loss"])


def _forwards(net: nn.Module, runs: dict[str, str]) -> dict:
    known = blocks(net)
    return {place: known[name].forward for place, name in runs.items() if name != place}
