"""How redundant activations are, from their channels' covariances: within one layer, and between two. Nothing here imports torch.

A gauge: behind a ReLU each channel may be multiplied by a positive number and the next layer's weights divided by it, and a net without shortcuts
computes what it did before. What moves with such a scale says nothing of the function; the measures that do not move are called scale-free.
"""

from dataclasses import dataclass

import numpy as np

ALIVE = 1e-12  # a channel whose variance is less than this share of the greatest one is constant: rounding leaves that much


@dataclass(frozen=True, eq=False)
class Moments:
    """Of samples of C channels, with those of another layer beside them or not: means (C,), covariance (C, C), float64.

    count: samples. cross: (C', C), the covariance of the other layer's channels with these; None where there is no other layer.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray | None = None


def spectrum(covariance: np.ndarray) -> np.ndarray:
    """The covariance's eigenvalues as shares of their sum, negative rounding set to 0; empty where nothing varies."""
    values = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    return values / values.sum() if values.sum() > 0 else np.empty(0)


def effective_rank(covariance: np.ndarray) -> float:
    """exp of the entropy of the spectrum (Roy and Vetterli 2007): C where all directions vary alike, 1 where one does; NaN where nothing varies."""
    shares = spectrum(covariance)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else float("nan")


def participation_ratio(covariance: np.ndarray) -> float:
    """1 / sum of the squared shares of the spectrum; same extremes as the effective rank, with less weight on the small ones."""
    shares = spectrum(covariance)
    return float(1 / np.square(shares).sum()) if len(shares) else float("nan")


def alive(covariance: np.ndarray) -> np.ndarray:
    """(C,) bool: which channels vary at all."""
    variance = np.diag(covariance)
    return variance > ALIVE * variance.max(initial=0)


def scaled(covariance: np.ndarray) -> np.ndarray:
    """The correlations of the channels that vary, with ones on the diagonal."""
    kept = alive(covariance)
    deviation = np.sqrt(np.diag(covariance)[kept])
    correlation = covariance[np.ix_(kept, kept)] / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 1)
    return correlation


def mean_correlation(covariance: np.ndarray) -> float:
    """Mean |correlation| of two different channels, over those that vary; NaN for fewer than two. Scale-free."""
    correlation = scaled(covariance)
    count = len(correlation)
    return float((np.abs(correlation).sum() - count) / (count * (count - 1))) if count > 1 else float("nan")


def position_cka(one: np.ndarray, other: np.ndarray, cross: np.ndarray) -> float:
    """Linear centred kernel alignment of two layers whose samples are positions (Kornblith et al. 2019, arXiv 1905.00414), 0 to 1; NaN where
    one does not vary.

    one (C, C), other (C', C'): covariances over the same samples; cross (C, C'): between them. No rotation and no common scale of either
    layer changes it; the scale of single channels does.
    """
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.square(cross).sum() / norms) if norms > 0 else float("nan")


def cka(between: float, one: float, other: float) -> float:
    """Linear centred kernel alignment from the `hsic` of two layers and of each with itself; NaN where images are not told apart."""
    return between / (one * other) ** 0.5 if one > 0 and other > 0 else float("nan")


def hsic(one: np.ndarray, other: np.ndarray) -> float:
    """How much two layers agree on which images are alike: the unbiased estimate (Song et al. 2012, eq. 5) of HSIC from n > 3 images.

    one, other: (n, n) Gram matrices of the same images, whose diagonals do not count.
    """
    n = len(one)
    one, other = (gram - np.diag(np.diag(gram)) for gram in (one, other))
    sums = one.sum(0), other.sum(0)
    return float(((one * other).sum() + sums[0].sum() * sums[1].sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (sums[0] @ sums[1])) / (n * (n - 3)))


def unexplained(one: np.ndarray, other: np.ndarray, cross: np.ndarray) -> float:
    """The share of the other layer's variance that no linear map of the first one's channels gives: 1 - R², the mean over the other's channels
    that vary. 0: nothing new; 1: nothing carried over. Scale-free, and no invertible map of the first layer changes it.
    """
    rows, columns = alive(one), alive(other)
    if not rows.any() or not columns.any():
        return float("nan")
    deviation = np.sqrt(np.diag(one)[rows])
    between = cross[np.ix_(rows, columns)] / deviation[:, None] / np.sqrt(np.diag(other)[columns])
    explained = (between * np.linalg.lstsq(scaled(one), between, rcond=1e-10)[0]).sum(0)
    return float(np.clip(1 - explained, 0, 1).mean())


def within(moments: Moments) -> dict[str, float]:
    """The measures of one layer: channels, dead (those that do not vary), effective_rank, participation and scaled_rank as shares of the channels,
    and correlation. scaled_rank is the effective rank of the correlations, which is scale-free."""
    covariance, channels = moments.covariance, len(moments.covariance)
    kept = alive(covariance)
    return {
        "channels": channels,
        "dead": int((~kept).sum()),
        "effective_rank": effective_rank(covariance) / channels,
        "participation": participation_ratio(covariance) / channels,
        "scaled_rank": effective_rank(scaled(covariance)) / channels if kept.any() else float("nan"),
        "correlation": mean_correlation(covariance),
    }


def between(before: Moments, after: Moments) -> dict[str, float]:
    """The measures of two successive layers, of which `after` has the cross-covariance: position_cka and unexplained."""
    three = before.covariance, after.covariance, after.cross
    return {"position_cka": position_cka(*three), "unexplained": unexplained(*three)}
