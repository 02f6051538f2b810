"""Random draws that depend on three integers and on nothing else.

Every draw of a run is a raw 64-bit word of a Philox generator seeded with (seed, stream, index). NumPy guarantees the words of
its bit generators across versions and platforms (NEP 19), but not what its distributions make of them, so permutations, crops
and flips are made from the words here.
"""

import numpy as np

SPLIT, ORDER, CROP, SCALE = range(4)  # streams: what a draw is for


def words(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """(count,) uint64, uniform over all 64-bit words; the same for the same (seed, stream, index) everywhere."""
    return np.random.Philox(np.random.SeedSequence([seed, stream, index])).random_raw(count)


def permutation(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """(count,) int64: the numbers 0 to count - 1 in an order drawn from (seed, stream, index)."""
    return np.argsort(words(seed, stream, index, count), kind="stable")
