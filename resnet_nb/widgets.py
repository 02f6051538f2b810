"""What moves in a live notebook; each leaves nothing behind where there is no reader to see it."""

import io
import time

from resnet_nb.curve import Curve

SECONDS = 1.5  # between two drawings: one takes a tenth of that on a slow machine


class LiveCurve:
    """The running training error of a run, redrawn as it goes; the picture vanishes when the run ends."""

    def __init__(self, total: int):
        from IPython.display import display
        from ipywidgets import Image

        self.total, self.drawn = total, 0.0
        self.image = Image(format="png")
        display(self.image)

    def show(self, curve: Curve) -> None:
        """Draw the curve as it stands, unless it was drawn a moment ago."""
        if time.monotonic() - self.drawn < SECONDS:
            return
        from resnet_nb.figures import running_curve  # matplotlib, for who looks on

        picture = io.BytesIO()
        running_curve(curve.running, self.total).savefig(picture, format="png", dpi=80)
        self.image.value = picture.getvalue()
        self.drawn = time.monotonic()

    def close(self) -> None:
        """Take the picture away."""
        self.image.close()
