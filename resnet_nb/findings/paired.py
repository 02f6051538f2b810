"""Two classifiers, or one under two protocols, on the same images: only the images on which one is right and the other wrong can tell.

Nothing here imports torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from resnet_nb.stats import sign_test

RESAMPLES = 10_000  # the interval's ends then move by a few hundredths of its width from seed to seed


@dataclass(frozen=True)
class McNemar:
    """Images that only a or only b gets right, of `images`; p: two-sided and exact."""

    images: int
    only_a: int
    only_b: int
    p: float

    @property
    def difference(self) -> float:
        """Error of b minus error of a in percentage points: negative where b is better."""
        return 100 * (self.only_a - self.only_b) / self.images


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> McNemar:
    """McNemar's exact test (1947): were both equally good, an image that only one gets right would be either's with chance 1/2.

    right_a, right_b: (N,) bool, whether each classified image i rightly, in the same order. Raises ValueError for other shapes.
    """
    a, b = _paired(right_a, right_b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return McNemar(len(a), only_a, only_b, sign_test(only_a, only_a + only_b))


def bootstrap_difference(
    right_a: ArrayLike, right_b: ArrayLike, seed: int = 0, *, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval (Efron 1979) of the error of b minus that of a, in percentage points, over images drawn anew in pairs.

    right_a, right_b: as in `mcnemar`. One seed, one interval.
    """
    found = mcnemar(right_a, right_b)
    # drawing N images with replacement and counting three kinds of them is one draw from a multinomial distribution
    ties = found.images - found.only_a - found.only_b
    chances = np.array([found.only_a, found.only_b, ties]) / found.images
    drawn = np.random.default_rng(seed).multinomial(found.images, chances, size=resamples)
    differences = 100 * (drawn[:, 0] - drawn[:, 1]) / found.images
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _paired(right_a: ArrayLike, right_b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.dtype != bool or b.dtype != bool:  # predictions or scores in their place would give a number too
        raise ValueError("Pairs are compared by whether each image was classified rightly: give two arrays of bool.")
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"Arrays of shape {a.shape} and {b.shape} are not pairs: give one entry for each of the same images.")
    return a, b
