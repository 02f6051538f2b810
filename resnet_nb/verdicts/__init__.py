"""Verdicts on statements of the dispute, each computed from a table of measurements. Nothing here imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """text: for the reader. supported: True, False, or None where the table decides neither. why: the numbers that it rests on."""

    text: str
    supported: bool | None
    why: str
