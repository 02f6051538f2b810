"""The progress of a run: a bar on standard error, and in a live notebook a bar and the curve."""

import sys

from tqdm.auto import tqdm

from resnet_nb.audience import in_notebook, leads, silenced
from resnet_nb.training.curve import Curve
from resnet_nb.training.widgets import LiveCurve


class Progress:
    """Counts iterations and shows the last running loss and error; a context manager. Nothing is left of it in a notebook."""

    def __init__(self, start: int, total: int, wanted: bool = True):
        off, notebook = silenced() or not wanted, in_notebook()
        self.bar = tqdm(total=total, initial=start, unit="it", disable=off, file=sys.stderr, mininterval=0.5, leave=not notebook)
        self.live = LiveCurve(total) if notebook and not off else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()
        if self.live:
            self.live.close()

    def advance(self) -> None:
        self.bar.update()

    def show(self, curve: Curve) -> None:
        """The last point beside the bar, and the curve up to it."""
        _, loss, error = curve.running[-1]
        self.bar.set_postfix_str(f"loss {loss:.3f}, error {error:.1f} %", refresh=False)
        if self.live:
            self.live.show(curve)

    @staticmethod
    def say(sentence: str) -> None:
        """A line on standard error that does not break the bar, from the process that leads."""
        if leads():
            tqdm.write(sentence, file=sys.stderr)
