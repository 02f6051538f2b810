"""The progress bar of a run, on standard error or in a notebook, and the live curve below it."""

import os
import sys
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from resnet_nb.train import Curve


def silenced() -> bool:
    """Whether RESNET_NB_PROGRESS=off asks for no bars and no live widgets, as in notebooks whose outputs are kept."""
    return os.environ.get("RESNET_NB_PROGRESS", "").lower() == "off"


class Progress:
    """A bar that counts iterations and shows the last running loss and error; a context manager."""

    def __init__(self, start: int, total: int, wanted: bool = True):
        self.bar = tqdm(total=total, initial=start, unit="it", disable=silenced() or not wanted, file=sys.stderr, mininterval=0.5)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def advance(self) -> None:
        self.bar.update()

    def show(self, curve: "Curve") -> None:
        """The last point of the running curve beside the bar."""
        _, loss, error = curve.running[-1]
        self.bar.set_postfix_str(f"loss {loss:.3f}, error {error:.1f} %", refresh=False)

    @staticmethod
    def say(sentence: str) -> None:
        """A line on standard error that does not break the bar."""
        tqdm.write(sentence, file=sys.stderr)
