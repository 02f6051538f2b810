"""How gradients grow backwards: what theory says of a layer, and what a table of measurements gives. Without torch.

Growth is always backwards: by what factor the gradient's norm grows from a layer to the one before it. Less than 1 vanishes, more explodes.
"""

import math

import numpy as np
import pandas as pd

FIRST_STAGE = "layer1"  # of constant width, so that no change of width is taken for one of depth
NODES = 64  # of the quadrature: enough for nine digits of a sigmoid's moments
VARIANCE = {"he-fan-in": 2.0, "he-fan-out": 2.0, "glorot": 1.0, "pytorch": 1 / 3}  # of a weight times its fan in, at equal widths
ORTHOGONAL = ("orthogonal", "delta-orthogonal")  # 2 for a ReLU, 1 for another activation


def growth(table: pd.DataFrame, stage: str = FIRST_STAGE, *, layers_apart: int = 1) -> float:
    """The mean factor a layer by which the gradient's norm grows backwards through a stage: the root of first over last.

    table: an atlas (columns layer, output_gradient), whose convolutions of that stage are taken, or a stream, of whose rows each is
    `layers_apart` = 2 layers from the next. nan where the last gradient is zero.
    """
    own = table[table["layer"].str.startswith(f"{stage}.")]["output_gradient"].to_numpy()
    if len(own) < 2:
        raise ValueError(f"A growth needs two rows of {stage!r}; there are {len(own)}.")
    return float((own[0] / own[-1]) ** (1 / ((len(own) - 1) * layers_apart))) if own[-1] > 0 else math.nan


def ratio(table: pd.DataFrame) -> float:
    """The gradient's norm at the first row over that at the last: of a stream's blocks, or of an atlas's convolutions. nan where the last is zero.

    Before normalisation a convolution's output has a scale that is a gauge, and its gradient the inverse: between convolutions whose weights or
    inputs have other norms (the first one's are images), the stream is the fair place.
    """
    convolutions = table["layer"].str.contains("conv")
    own = (table[convolutions] if convolutions.any() else table)["output_gradient"].to_numpy()
    return float(own[0] / own[-1]) if own[-1] > 0 else math.nan


def theory(family: str, norm: str, init: str, activation: str = "relu") -> float | None:
    """The growth a layer that mean-field theory gives for wide nets, or None where none is known to this module.

    Plain with batch normalisation and ReLU: sqrt(pi / (pi - 1)) = 1.21 (Yang et al. 2019, arXiv 1902.08129). Plain without, ReLU: the square
    root of half the variance of a weight times its fan in: 1 for He, 0.71 Glorot, 0.41 for PyTorch's default. Residual without, He: the square
    root of 2 a block, so 1.19 a layer. With a last scale of zero: 1. Other activations: `mean_field`. Zeros around the map are not counted: they
    take up to 2 % a layer from maps of 32 pixels and 4 % from those of 16; and a narrow net's geometric mean over seeds lies lower than a wide
    one's.
    """
    if init == "zero-last-scale":
        return 1.0
    if family == "plain" and norm == "batch" and activation == "relu":
        return math.sqrt(math.pi / (math.pi - 1))
    if family == "plain" and norm == "none" and init in (*VARIANCE, *ORTHOGONAL):
        return mean_field(VARIANCE.get(init, 2.0 if activation == "relu" else 1.0), activation)
    if family == "residual" and (norm, init, activation) == ("none", "he-fan-in", "relu"):
        return 2**0.25
    return None


FUNCTIONS = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 0.25 / np.cosh(z / 2) ** 2),
}  # each with its derivative


def mean_field(variance: float, activation: str, *, start: float = 1.0, layers: int = 50) -> float:
    """The growth a layer of a wide plain net without normalisation (Schoenholz et al. 2017, arXiv 1611.01232).

    variance: of a weight times its fan in; activation: relu, none, tanh or sigmoid. A unit's input z is normal with variance q, which goes from
    layer to layer as q <- variance E[f(z)^2], from `start`; backwards the squared norm is multiplied by variance E[f'(z)^2]. The factor is taken
    at q after `layers` layers, where it has settled but for a tanh at variance 1, whose q falls as slowly as 1/layers.
    """
    if activation == "relu":
        return math.sqrt(variance / 2)  # f' is 1 for half of any such z: no quadrature, which a step would spoil
    if activation == "none":
        return math.sqrt(variance)
    function, slope = FUNCTIONS[activation]
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    q = start
    for _ in range(layers):
        q = variance * float(weights @ function(math.sqrt(q) * nodes) ** 2)
    return math.sqrt(variance * float(weights @ slope(math.sqrt(q) * nodes) ** 2))


INIT_NAMES = {"he-fan-in": "He", "glorot": "Glorot", "pytorch": "PyTorch's default", "small": "N(0, 0.01²)", "zero-last-scale": "zero last scale"}
ACTIVATION_NAMES = {"relu": "ReLU", "none": "linear"}
KIND = ["family", "norm", "init", "activation"]


def net_name(family: str, norm: str, init: str, activation: str = "relu") -> str:
    """A kind of net in words: "plain, no BN, Glorot, sigmoid"."""
    normalised = "BN" if norm == "batch" else "no BN"
    return ", ".join([family, normalised, INIT_NAMES.get(init, init), ACTIVATION_NAMES.get(activation, activation)])


def kinds(births: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of net and depth of a table of births: net (its name), family, norm, init, activation, depth, growth and ratio of its blocks,
    conv_growth of its first stage's convolutions, theory (missing where there is none)."""
    rows = []
    for (*kind, depth), own in births.groupby([*KIND, "depth"], sort=False):
        blocks, layers = own[own["rows"] == "blocks"], own[own["rows"] == "layers"]
        found = growth(blocks, layers_apart=2), ratio(blocks), growth(layers), theory(*kind)
        rows.append((net_name(*kind), *kind, depth, *found))
    return pd.DataFrame(rows, columns=["net", *KIND, "depth", "growth", "ratio", "conv_growth", "theory"]).astype({"theory": float})


def of_kind(
    births: pd.DataFrame, depth: int, family: str, norm: str = "batch", init: str = "he-fan-in", activation: str = "relu", rows: str = "layers"
) -> pd.DataFrame:
    """The rows of one kind of net in a table of births. Raises ValueError where there are none."""
    wanted = {"depth": depth, "family": family, "norm": norm, "init": init, "activation": activation, "rows": rows}
    found = births[(births[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if found.empty:
        raise ValueError(f"The table has no rows of {net_name(family, norm, init, activation)} with {depth} layers.")
    return found
