"""The microscope of notebook 02: choose a net, and see its gradient layer by layer before any training.

    explore()

Each choice builds the net, sends 64 digits through it and back, and draws: well under a second. Nothing here imports torch before it is shown.
"""

import html
import importlib.util
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import display

from resnet_nb.audience import in_notebook, silenced
from resnet_nb.errors import InputError
from resnet_nb.figures.gradients import Curve, microscope
from resnet_nb.findings.vanishing import growth, ratio, theory
from resnet_nb.training.widgets import NAMED, WIDE, Picture

if TYPE_CHECKING:
    from resnet_nb.data import Data

DEPTHS = (8, 14, 20, 32, 44, 56)
INITS = {
    "He, fan in": "he-fan-in", "He, fan out": "he-fan-out", "Glorot": "glorot", "PyTorch's default": "pytorch", "orthogonal": "orthogonal",
    "delta-orthogonal": "delta-orthogonal", "N(0, 0.01²)": "small", "zero last scale": "zero-last-scale",
}  # fmt: skip
ACTIVATIONS = {"ReLU": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "none": "none"}
NORMS = {"batch normalisation": "batch", "none": "none"}
SHORTCUTS = {"none: plain": "plain", "identity: residual": "residual"}
WIDTH, IMAGES, RATE = 8, 64, 0.05
KEPT = 4  # earlier nets in the picture
STATIC = "In a live Jupyter with torch, this cell shows controls with which to look at such nets; the figure above stands for them here."


def explore(seed: int = 0, *, data: "Data | None" = None) -> None:
    """Show the microscope, or where nobody can use it (no kernel, RESNET_NB_PROGRESS=off, no torch) one line that says so.

    seed: of the initial weights. data: the digits where None; its first images of a random order are the batch.
    """
    if not in_notebook() or silenced() or importlib.util.find_spec("torch") is None:
        print(STATIC)
        return
    display(Explorer(seed, data).box)


class Explorer:
    """The controls, and the nets that are in the picture."""

    def __init__(self, seed: int, data: "Data | None"):
        from resnet_nb.data import load_data
        from resnet_nb.live.gradient_runs import first_images

        self.seed, self.data = seed, data or load_data("digits")
        self.batch = first_images(self.data, IMAGES)
        self.kept: list[Curve] = []
        self.now: Curve | None = None
        self._build()
        self._update()

    def _build(self) -> None:
        from ipywidgets import HTML, Button, Dropdown, HBox, Layout, ToggleButtons, VBox

        self.depth = Dropdown(options=[(f"{depth} layers", depth) for depth in DEPTHS], value=20, description="Depth", style=NAMED)
        self.init = Dropdown(options=list(INITS.items()), description="Initialisation", style=NAMED)
        self.activation = ToggleButtons(options=list(ACTIVATIONS.items()), description="Activation", style=WIDE)
        self.norm = ToggleButtons(options=list(NORMS.items()), description="Normalisation", style=WIDE)
        self.shortcut = ToggleButtons(options=list(SHORTCUTS.items()), description="Shortcut", style=WIDE)
        self.keep = Button(description="Keep", icon="thumb-tack", tooltip="Leave this net in the picture beside the next ones")
        self.clear = Button(description="Clear", icon="trash", tooltip="Take the kept nets out of the picture")
        self.status = HTML()
        self.picture = Picture()
        for control in (self.depth, self.init, self.activation, self.norm, self.shortcut):
            control.observe(lambda _: self._update(), "value")
        self.keep.on_click(lambda _: self._keep())
        self.clear.on_click(lambda _: self._clear())
        net = HBox([self.depth, self.init], layout=Layout(flex_flow="row wrap"))
        rows = [net, self.activation, self.norm, self.shortcut, HBox([self.keep, self.clear])]
        self.box = VBox([*rows, self.status, self.picture.widget])

    def _update(self) -> None:
        """Look at the net that is chosen, and draw it; or say why there is none."""
        try:
            self.now, words = self._look()
            self.status.value = html.escape(words)
        except InputError as error:
            self.now, self.status.value = None, html.escape(str(error))
        self._draw()

    def _look(self) -> tuple[Curve, str]:
        from resnet_nb.live.gradient_runs import Setting, denormals_flushed
        from resnet_nb.probes.atlas import atlas

        family, depth = self.shortcut.value, self.depth.value
        setting = Setting(family, self.norm.value, self.init.value, self.activation.value)
        with denormals_flushed():
            table = atlas(setting.build(depth, self.data, self.seed, WIDTH), *self.batch, rate=RATE)
        expected = theory(family, setting.norm, setting.init, setting.activation)
        words = [setting.init, setting.activation if setting.activation != "none" else "linear"] + (["no BN"] if setting.norm == "none" else [])
        return Curve(f"{family} {depth}: {', '.join(words)}", family, table, expected), _words(table, expected)

    def _keep(self) -> None:
        if self.now is not None and self.now not in self.kept:  # clicked twice, it would be in the legend twice
            self.kept = [*self.kept, self.now][-KEPT:]

    def _clear(self) -> None:
        self.kept = []
        self._draw()

    def _draw(self) -> None:
        curves = [*self.kept, *([self.now] if self.now is not None and self.now not in self.kept else [])]
        title = "Choose another net" if self.now is None else f"Before training: {self.now.label}"
        nets = "; ".join(curve.label for curve in curves) or "none"
        alt = f"Over the convolutions, from input to output: the gradient's norm and the angle of one update. Nets: {nets}."
        self.picture.show(microscope(curves, title), alt)


def _words(table: pd.DataFrame, expected: float | None) -> str:
    """Growth and ratio of an atlas in a sentence."""
    measured, whole = growth(table), ratio(table)
    promised = "" if expected is None else f" (theory of wide nets: {expected:.2f})"
    if not measured > 0:
        return f"No gradient is left in the first stage{promised}: it is zero there, or too small for 32 bits."
    return f"Backwards the gradient is multiplied by {measured:.2f} a layer in the first stage{promised}; first over last convolution: {whole:.2g}."
