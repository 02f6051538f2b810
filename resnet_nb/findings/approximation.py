"""What one wide hidden layer and what depth can represent: sawtooths, of which both have an exact net by hand (Telgarsky 2016, arXiv 1602.04485).

A net here maps x in [0, 1] to a number: layers of ReLUs, then a linear one, as a list of (weights (out, in), biases (out,)). Nothing imports torch.
"""

import numpy as np
import pandas as pd

Layers = list[tuple[np.ndarray, np.ndarray]]


def triangle(x: np.ndarray) -> np.ndarray:
    """2x up to 1/2, then 2 - 2x."""
    return 1 - np.abs(2 * x - 1)


def sawtooth(x: np.ndarray, folds: int) -> np.ndarray:
    """The triangle applied `folds` times: 2^folds straight pieces between 0 and 1, each 2^-folds wide."""
    for _ in range(folds):
        x = triangle(x)
    return x


def smooth(x: np.ndarray) -> np.ndarray:
    """One period of a sine between 0 and 1."""
    return (1 + np.sin(2 * np.pi * x)) / 2


def apply(layers: Layers, x: np.ndarray) -> np.ndarray:
    """The net's answers (N,) to inputs (N,)."""
    values = x[:, None]
    for number, (weights, biases) in enumerate(layers, 1):
        values = values @ weights.T + biases
        values = np.maximum(values, 0) if number < len(layers) else values
    return values[:, 0]


def parameters(layers: Layers) -> int:
    return sum(weights.size + biases.size for weights, biases in layers)


def deep_by_hand(folds: int) -> Layers:
    """The sawtooth as `folds` layers of two ReLUs, since the triangle is 2 relu(t) - 4 relu(t - 1/2): 6 folds + 1 parameters."""
    fold, biases = np.array([[2.0, -4.0], [2.0, -4.0]]), np.array([0.0, -0.5])
    return [(np.ones((2, 1)), biases), *[(fold, biases)] * (folds - 1), (fold[:1], np.zeros(1))]


def wide_by_hand(folds: int) -> Layers:
    """The sawtooth as one layer with a ReLU for each of its 2^folds pieces, which bends the line where the piece begins: 3 2^folds + 1 parameters."""
    pieces = 2**folds
    bends = np.where(np.arange(pieces) % 2 == 0, 2.0, -2.0) * pieces
    bends[0] = pieces
    return [(np.ones((pieces, 1)), -np.arange(pieces) / pieces), (bends[None], np.zeros(1))]


def least_error(folds: int, units: int) -> float:
    """A mean absolute error below which no single layer of `units` ReLUs comes on the sawtooth, whatever its weights.

    Such a net has at most p = units + 1 straight pieces, so it crosses 1/2 at most p times. The sawtooth has 2^folds - 1 whole teeth above or below
    1/2, of area 2^-folds / 4 each; of those that no crossing cuts, every second one between two crossings lies on the wrong side.
    """
    missed = 2 ** (folds - 1) - 1 - (units + 1)
    return max(0.0, missed * 2.0**-folds / 4)


def by_hand(folds: range = range(1, 11)) -> pd.DataFrame:
    """One row for each number of folds: pieces, the parameters of the exact deep and of the exact wide net and their largest errors on a grid, the
    units that one layer has with the deep net's parameters, and the error that these cannot come below."""
    rows = []
    for count in folds:
        grid = np.linspace(0, 1, 2 ** (count + 2) + 1)  # on every bend and between
        truth, deep, wide = sawtooth(grid, count), deep_by_hand(count), wide_by_hand(count)
        units = (parameters(deep) - 1) // 3
        errors = [float(np.abs(apply(net, grid) - truth).max()) for net in (deep, wide)]
        rows.append((count, 2**count, parameters(deep), parameters(wide), *errors, units, least_error(count, units)))
    columns = ["folds", "pieces", "deep_parameters", "wide_parameters", "deep_error", "wide_error", "equal_units", "equal_least_error"]
    return pd.DataFrame(rows, columns=columns)
