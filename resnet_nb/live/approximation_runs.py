"""Fits a sawtooth and a smooth curve by training nets of equal parameters: one wide hidden layer, several narrow ones, the same with shortcuts.

    python -c "from resnet_nb.live import approximation_runs as r; r.record()"
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_nb import records
from resnet_nb.findings.approximation import sawtooth, smooth
from resnet_nb.live.redundancy_runs import STUDY
from resnet_nb.provenance import machine

FORMS = {"wide": (1, 128), "deep": (6, 8), "deep with shortcuts": (6, 8)}  # hidden layers and their width: 385 parameters each
POINTS = 256  # of the training grid; the error is taken between them as well
BETAS, TINY = (0.9, 0.999), 1e-8  # Adam's (Kingma and Ba 2015)
STEPS = 2_000
RATES = (0.003, 0.01, 0.03)


def count_parameters(form: str) -> int:
    depth, width = FORMS[form]
    return 2 * width + (depth - 1) * (width * width + width) + width + 1


def start(form: str, seeds: Sequence[int]) -> list[Tensor]:
    """Weights (nets, in, out) and biases (nets, 1, out) in turn, a net a seed: N(0, 2 / in), the last layer N(0, 1 / in); the first layer bends
    the line at random points of [0, 1], since with biases of 0 one hidden layer would bend it at 0 alone."""
    depth, width = FORMS[form]
    sizes = [1, *[width] * depth, 1]
    nets = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        net = []
        for number, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            gain = 1 if number == depth else 2
            weights = torch.randn(fan_in, fan_out, generator=generator) * (gain / fan_in) ** 0.5
            biases = -weights * torch.rand(1, fan_out, generator=generator) if number == 0 else torch.zeros(1, fan_out)
            net += [weights, biases]
        nets.append(net)
    return [torch.stack(tensors).requires_grad_() for tensors in zip(*nets, strict=True)]


def answers(parameters: Sequence[Tensor], form: str, x: Tensor) -> Tensor:
    """(nets, points) of inputs (points,)."""
    values, last = x.view(1, -1, 1), len(parameters) // 2 - 1
    for number in range(last + 1):
        linear = values @ parameters[2 * number] + parameters[2 * number + 1]
        active = torch.relu(linear) if number < last else linear
        values = values + active if form == "deep with shortcuts" and 0 < number < last else active
    return values[..., 0]


def fit_curves(
    forms: Sequence[str] = tuple(FORMS), folds: Sequence[int] = (1, 2, 3, 4, 5), seeds: Sequence[int] = (0, 1, 2, 3, 4), *,
    rates: Sequence[float] = RATES, steps: int = STEPS,
) -> pd.DataFrame:  # fmt: skip
    """Train every form on every sawtooth and on the smooth curve, by full-batch Adam on the squared error, the rate falling to 0 as a cosine.

    All nets of a form go side by side. Returns one row a net: form, parameters, target ("sawtooth" or "smooth"), pieces (0 for the smooth one),
    seed, rate, loss (mean squared error on the training points) and error (mean absolute error on a grid four times as fine).
    """  # fmt: skip
    targets = [("sawtooth", count) for count in folds] + [("smooth", 0)]
    settings = [(target, count, seed, rate) for target, count in targets for seed in seeds for rate in rates]
    x, fine = (np.linspace(0, 1, points) for points in (POINTS, 4 * POINTS))
    truth, fine_truth = (
        torch.tensor(np.array([smooth(grid) if not count else sawtooth(grid, count) for _, count, *_ in settings]), dtype=torch.float32)
        for grid in (x, fine)
    )
    tables = []
    for form in forms:
        net = start(form, [seed for *_, seed, _ in settings])
        losses = _train(net, form, torch.tensor(x, dtype=torch.float32), truth, torch.tensor([rate for *_, rate in settings]), steps)
        with torch.no_grad():
            errors = (answers(net, form, torch.tensor(fine, dtype=torch.float32)) - fine_truth).abs().mean(1)
        rows = [(form, count_parameters(form), target, 2**count if count else 0, seed, rate) for target, count, seed, rate in settings]
        table = pd.DataFrame(rows, columns=["form", "parameters", "target", "pieces", "seed", "rate"])
        tables.append(table.assign(loss=losses.tolist(), error=errors.tolist()))
    return pd.concat(tables, ignore_index=True)


def _train(net: list[Tensor], form: str, x: Tensor, truth: Tensor, rates: Tensor, steps: int) -> Tensor:
    """Adam with a rate for each net, which torch's own does not have. Returns the nets' last losses (nets,)."""
    first, second = ([torch.zeros_like(tensor) for tensor in net] for _ in range(2))
    for step in range(1, steps + 1):
        losses = (answers(net, form, x) - truth).square().mean(1)
        gradients = torch.autograd.grad(losses.sum(), net)  # nets share nothing, so each has its own gradient
        rate = (rates * (1 + np.cos(np.pi * (step - 1) / steps)) / 2).view(-1, 1, 1)
        with torch.no_grad():
            for tensor, gradient, mean, square in zip(net, gradients, first, second, strict=True):
                mean.lerp_(gradient, 1 - BETAS[0])
                square.lerp_(gradient.square(), 1 - BETAS[1])
                tensor -= rate * (mean / (1 - BETAS[0] ** step)) / ((square / (1 - BETAS[1] ** step)).sqrt() + TINY)
    with torch.no_grad():
        return (answers(net, form, x) - truth).square().mean(1)


def record() -> Path:
    """Fit all of them and file the table redundancy/approximation."""
    about = {"what": "Sawtooths and a smooth curve fitted by nets of equal parameters", "points": POINTS, "steps": STEPS}
    command = 'python -c "from resnet_nb.live import approximation_runs as r; r.record()"'
    about |= {"command": command, "provenance": machine(torch.device("cpu"))}
    return records.file_table(fit_curves(), about, STUDY, "approximation")
