"""Random draws that depend on three integers and on nothing else.

Every draw of a run is a raw 64-bit word of a Philox generator seeded with (seed, stream, index). NumPy guarantees the words of
its bit generators across versions and platforms (NEP 19), but not what its distributions make of them, so permutations, crops
and flips are made from the words here.
"""

import numpy as np

SPLIT, ORDER, CROP, SCALE, COLOUR = range(5)  # streams: what a draw is for


def words(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """(count,) uint64, uniform over all 64-bit words; the same for the same (seed, stream, index) everywhere."""
    return np.random.Philox(np.random.SeedSequence([seed, stream, index])).random_raw(count)


def permutation(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """(count,) int64: the numbers 0 to count - 1 in an order drawn from (seed, stream, index)."""
    return np.argsort(words(seed, stream, index, count), kind="stable")


def normal(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """(count,) float64, normal with mean 0 and standard deviation 1 (Box and Muller), drawn from (seed, stream, index)."""
    uniform = ((words(seed, stream, index, 2 * count) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53  # between 0 and 1, neither reached
    return np.sqrt(-2 * np.log(uniform[:count])) * np.cos(2 * np.pi * uniform[count:])


class Epochs:
    """The places 0 to count - 1 in the order in which a run draws them: without replacement, epoch after epoch, from (seed, epoch)."""

    def __init__(self, seed: int, count: int):
        self.seed, self.count = seed, count
        self.orders: dict[int, np.ndarray] = {}

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) int64: draws `start` to `stop` of all epochs, one after another; the last epochs' orders are kept."""
        epochs = range(start // self.count, -(-stop // self.count))
        self.orders = {e: self.orders[e] if e in self.orders else permutation(self.seed, ORDER, e, self.count) for e in epochs}
        return np.concatenate([self.orders[e][max(0, start - e * self.count) : stop - e * self.count] for e in epochs])
