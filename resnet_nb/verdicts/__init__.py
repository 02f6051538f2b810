"""Verdicts on sentences about nets, each computed from a table of measurements; "not supported" is a possible one. Nothing here imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a table says of a sentence. supported: None where the table cannot tell; why: with the numbers that it hangs on."""

    text: str
    supported: bool | None
    why: str

    def __str__(self) -> str:
        word = {True: "supported", False: "not supported", None: "cannot be told from these measurements"}[self.supported]
        return f"{self.text}: {word}. {self.why}"
