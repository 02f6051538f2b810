"""What moves in a live notebook; each leaves nothing behind where there is no reader to see it."""

import base64
import html
import io
import time
from typing import TYPE_CHECKING

from resnet_nb.training.curve import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECONDS = 1.5  # between two drawings: one takes a tenth of that on a slow machine
DPI = 80
NAMED = {"description_width": "initial"}  # a label as wide as its words: by default it is cut off at 80 pixels
WIDE = NAMED | {"button_width": "auto"}  # and buttons too, which have 148 pixels by default


class Picture:
    """A figure that changes in its place; `widget` is what a box holds or `display` shows.

    It is HTML, as ipywidgets' Image has no alternative text, and shows an error in its place where it has a tooltip.
    """

    def __init__(self) -> None:
        from ipywidgets import HTML

        self.widget = HTML()

    def show(self, figure: "Figure", alt: str, dpi: int = DPI) -> None:
        """Draw `figure` instead of the one before. alt: for those who do not see it, what it shows."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=dpi)
        width, height = (round(dpi * inches) for inches in figure.get_size_inches())
        source = f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
        # width and height keep the place while the picture is decoded: else all below would jump
        self.widget.value = (
            f'<img alt="{html.escape(" ".join(alt.split()))}" width="{width}" height="{height}" '
            f'style="max-width: 100%; height: auto" decoding="sync" src="{source}">'
        )


class LiveCurve:
    """The running training error of a run, redrawn as it goes; the picture vanishes when the run ends."""

    def __init__(self, total: int):
        from IPython.display import display

        self.total, self.drawn = total, 0.0
        self.picture = Picture()
        display(self.picture.widget)

    def show(self, curve: Curve) -> None:
        """Draw the curve as it stands, unless it was drawn a moment ago."""
        if time.monotonic() - self.drawn < SECONDS:
            return
        from resnet_nb.figures import running_curve  # matplotlib, for who looks on

        step, _, error = curve.running[-1]
        alt = f"Running training error against iterations: {error:.1f} percent at iteration {step} of {self.total}."
        self.picture.show(running_curve(curve.running, self.total), alt)
        self.drawn = time.monotonic()

    def close(self) -> None:
        """Take the picture away."""
        self.picture.widget.close()
