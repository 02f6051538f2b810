"""The loss around trained weights, along random directions with filter normalisation (Li et al. 2018, arXiv 1712.09913, section 4).

A direction has, filter by filter, the norm of the weights' own filter, so that a net whose scales were moved from one layer into the next has the
same picture. Scales, offsets and biases stay as they are, as in the authors' code (`--xignore biasbn`). One slice shows a line or a plane of a
space with as many dimensions as there are weights, and proves nothing about the rest.
"""

import copy
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from resnet_nb.probes.checks import check_batch, check_seed, same_randomness
from resnet_nb.probes.lesions import error_and_loss
from resnet_nb.protocols.evaluate import average_statistics

LEAST = 1e-10  # added to a filter's norm before it divides, as the authors do


def direction(net: nn.Module, seed: int) -> dict[str, Tensor]:
    """A random direction in the space of the weights, by the parameters' names, float64.

    Each filter (the first dimension of a convolution, or a row of a matrix) is drawn from N(0, 1) and given the norm of the net's own; what has one
    dimension is zero. Drawn from `seed` in the order of the parameters. Raises InputError for a seed below 0 or above 2^64 - 1.
    """
    check_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, parameter in net.named_parameters():
        weight = parameter.detach().cpu().double()
        if weight.ndim < 2:
            found[name] = torch.zeros_like(weight)
            continue
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        norms = [tensor.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1)) for tensor in (weight, drawn)]
        found[name] = drawn * norms[0] / (norms[1] + LEAST)
    return found


def line(
    net: nn.Module, images: Tensor, labels: Tensor, steps: Sequence[float], seed: int = 0, statistics: Iterable[Tensor] | None = None
) -> pd.DataFrame:
    """Loss and error along one direction, at the weights plus each of `steps` times it: 1 changes every filter by its own norm.

    images: (N, C, H, W) normalised, labels: (N,) int64; evaluation mode. statistics: batches of normalised training images, on which batch
    normalisation's statistics are averaged anew at every point; None keeps those of the trained net, which belong to its weights alone.
    Columns step, loss (nats), error (percent). Raises InputError for a batch that the net cannot take, and as `direction` does.
    """
    points = [(step,) for step in steps]
    return _explore(net, images, labels, points, (direction(net, seed),), statistics, ["step"])


def surface(
    net: nn.Module, images: Tensor, labels: Tensor, steps: Sequence[float], seed: int = 0, statistics: Iterable[Tensor] | None = None
) -> pd.DataFrame:
    """The same over the plane of two directions, of `seed` and of the seed after it. Columns step_a, step_b, loss, error; step_b runs fastest."""
    points = [(a, b) for a in steps for b in steps]
    return _explore(net, images, labels, points, (direction(net, seed), direction(net, seed + 1)), statistics, ["step_a", "step_b"])


@torch.no_grad()
def _explore(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    points: Sequence[tuple[float, ...]],
    directions: tuple[dict[str, Tensor], ...],
    statistics: Iterable[Tensor] | None,
    columns: list[str],
) -> pd.DataFrame:
    moved = copy.deepcopy(net)  # the net itself is not touched
    batches = None if statistics is None else list(statistics)
    check_batch(net, images, labels)
    for batch in batches or ():
        check_batch(net, batch)
    centre = {name: parameter.detach().double() for name, parameter in net.named_parameters()}
    rows = []
    for point in points:
        for name, parameter in moved.named_parameters():
            parameter.copy_(centre[name] + sum(step * one[name].to(parameter.device) for step, one in zip(point, directions, strict=True)))
        if batches is not None:
            with same_randomness(moved):
                average_statistics(moved, batches)
        error, loss = error_and_loss(moved, images, labels)
        rows.append((*point, loss, error))
    return pd.DataFrame(rows, columns=[*columns, "loss", "error"])
