"""Verdicts on sentences about nets, each computed from a table of measurements; "not supported" is a possible one. Nothing here imports torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MISSING = "A value is missing or not finite."


@dataclass(frozen=True)
class Verdict:
    """What a table says of a sentence. supported: None where the table cannot tell; why: with the numbers that it hangs on."""

    text: str
    supported: bool | None
    why: str

    def __str__(self) -> str:
        word = {True: "supported", False: "not supported", None: "cannot be told from these measurements"}[self.supported]
        return f"{self.text}: {word}. {self.why}"


def complete(values: ArrayLike) -> bool:
    """Whether there are values, and each of them is finite."""
    values = np.asarray(values, dtype=float)
    return bool(values.size and np.isfinite(values).all())


def below(low: ArrayLike, high: ArrayLike) -> tuple[bool | None, str]:
    """Is low < high in each place? And what leaves that undecided, in words after a space: "" where it is decided.

    None where there is nothing to compare, where any value is missing or not finite, and where two are equal and no low one is the higher.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if not (complete(low) and complete(high)):
        return None, f" {MISSING}"
    if (low > high).any():
        return False, ""
    return (None, " Two of these are equal.") if (low == high).any() else (True, "")
