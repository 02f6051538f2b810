"""Shattered gradients (Balduzzi et al. 2017, arXiv 1702.08591): how fast the gradient of a random net forgets itself along a line of inputs.

    autocorrelation(24, norm="batch")

A scalar goes in and a scalar comes out, so that the gradient is a curve over the inputs. In a shallow net neighbours on it are alike; in a deep
plain net whose units are each on for half of the inputs the curve is white noise. Batch normalisation is what sees to that half: without it, at
the usual initialisation, most units of a deep layer are on for all inputs of the line or for none, and nothing shatters. Here alone in this
package NumPy does the whole net, forwards and backwards; nothing imports torch.
"""

import numpy as np
import pandas as pd

from resnet_nb.errors import InputError

WIDTH = 200
INPUTS = 256
SPAN = (-2.0, 2.0)
LAGS = 30
INITS = ("he", "textbook")
EPSILON = 1e-5


def gradient(
    layers: int, seed: int = 0, *, norm: str = "batch", shortcut: float | None = None, init: str = "he", width: int = WIDTH, inputs: int = INPUTS
) -> np.ndarray:
    """df/dx at `inputs` equidistant scalars x on SPAN: (inputs,) float64, of a net of `layers` hidden layers drawn from `seed`.

    Plain: h <- W relu(N(h)), with the output v . relu(N(h)). With `shortcut` = beta, residual: h <- h + beta W relu(N(h)), with the output v . h.
    The first layer is w x + b.
    N is batch normalisation over the inputs, without scale and offset, where norm is "batch" (its statistics count as constants in the derivative),
    and nothing where it is "none". init: "he" has w, b ~ N(0, 1), no other offsets, and weights of variance 2 / width; "textbook" draws all
    weights and an offset for every layer with variance 1 / width, as the notebook 11.1 of Prince's "Understanding Deep Learning" does.
    Raises InputError for another norm or init, and for fewer than one layer.
    """
    if layers < 1 or norm not in ("batch", "none") or init not in INITS:
        raise InputError(f"A net of {layers} layers, norm {norm!r}, init {init!r}: at least 1 layer, batch or none, {' or '.join(INITS)}.")
    (first, offset), *others = _weights(layers, seed, init, width)
    x = np.linspace(*SPAN, inputs)
    h, slope = first * x + offset, np.broadcast_to(first, (width, inputs))  # (width, inputs): the layer, and its derivative by x
    for weight, offset in others:
        if shortcut is not None and len(weight) == 1:
            return (weight @ slope)[0]
        shown, slope_shown = _normalised(h, slope) if norm == "batch" else (h, slope)
        on = shown > 0
        both = weight @ np.concatenate([shown * on, slope_shown * on], axis=1)  # one product is faster than two
        step, slope_step = both[:, :inputs] + offset, both[:, inputs:]
        h, slope = (step, slope_step) if shortcut is None else (h + shortcut * step, slope + shortcut * slope_step)
    return slope[0]


def _normalised(h: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = np.sqrt(h.var(1, keepdims=True) + EPSILON)
    return (h - h.mean(1, keepdims=True)) / spread, slope / spread


def _weights(layers: int, seed: int, init: str, width: int) -> list[tuple[np.ndarray, np.ndarray | float]]:
    """Weights (out, in) and offsets of the first layer, those between, and the output."""
    generator = np.random.default_rng([seed, layers])
    shapes = [(width, 1), *[(width, width)] * (layers - 1), (1, width)]
    if init == "textbook":
        return [(width**-0.5 * generator.standard_normal(shape), width**-0.5 * generator.standard_normal((shape[0], 1))) for shape in shapes]
    first = generator.standard_normal((width, 1)), generator.standard_normal((width, 1))
    return [first, *(((2 / width) ** 0.5 * generator.standard_normal(shape), 0.0) for shape in shapes[1:])]


def autocorrelation(layers: int, *, seeds: int = 20, lags: int = LAGS, **net: object) -> np.ndarray:
    """The gradient's autocorrelation at lags 0 to `lags`, in steps of the inputs' grid: (lags + 1,), the mean over nets with seeds 0 to seeds - 1.

    Each net's gradient is centred, and its autocorrelation is 1 at lag 0. net: arguments of `gradient`.
    """
    return np.mean([_autocorrelation(gradient(layers, seed, **net), lags) for seed in range(seeds)], axis=0)


def _autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    centred = values - values.mean()
    products = [float(centred[: len(centred) - lag] @ centred[lag:]) for lag in range(lags + 1)]
    return np.array(products) / products[0]


TELLING = {
    "1 layer": {"layers": 1, "norm": "none"},
    "10 layers": {"layers": 10, "norm": "none"},
    "24 layers": {"layers": 24, "norm": "none"},
    "50 layers": {"layers": 50, "norm": "none"},
    "24 layers, as the textbook": {"layers": 24, "norm": "none", "init": "textbook"},
    "10 layers, normalised": {"layers": 10, "norm": "batch"},
    "24 layers, normalised": {"layers": 24, "norm": "batch"},
    "50 layers, normalised": {"layers": 50, "norm": "batch"},
    "50 layers, residual": {"layers": 50, "norm": "none", "shortcut": 1.0},
    "50 layers, residual, branch times 0.1": {"layers": 50, "norm": "none", "shortcut": 0.1},
    "50 layers, residual, normalised": {"layers": 50, "norm": "batch", "shortcut": 1.0},
    "50 layers, residual, normalised, branch times 0.1": {"layers": 50, "norm": "batch", "shortcut": 0.1},
}


def table(seeds: int = 20, lags: int = LAGS) -> pd.DataFrame:
    """`autocorrelation` of each of TELLING, a column a lag, an index of their names."""
    found = {name: autocorrelation(seeds=seeds, lags=lags, **net) for name, net in TELLING.items()}
    return pd.DataFrame.from_dict(found, orient="index")
