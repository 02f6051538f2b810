"""The explorer of notebook 01: choose depth, shortcut and rate, and watch the net train.

    explore()

A small net of the digits trains in a thread of its own, so that the kernel goes on answering. Nothing here imports torch before Train is clicked.
"""

import atexit
import html
import importlib.util
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from IPython.display import display

from resnet_nb.audience import in_notebook, silenced
from resnet_nb.errors import InputError, RunError
from resnet_nb.figures.explorer import Watched, watched
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.training.widgets import NAMED, WIDE, Picture

if TYPE_CHECKING:
    from resnet_nb.data import Data
    from resnet_nb.training.curve import Curve
    from resnet_nb.training.train import Fit

DEPTHS = (8, 14, 20, 26, 32)  # 32 layers without shortcuts take 15 s on one core at a rate of 0.05
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SHORTCUTS = {"none: plain": "plain", "identity: residual": "residual"}
MODELS = {"plain": "plain", "residual": "resnet"}
WIDTH = 8
# Trained as the study digits-speed trains the nets that stand for this widget: no drop of the rate, so that a curve shows one speed. Evaluated
# with statistics of the last epoch's batches: after 35 iterations the moving ones lag behind (residual 32: 16 % instead of 2 %).
RECIPE = "quick-digits,iterations=800,drops=none,statistics=average,average_batches=11,curve_every=5,evaluations=1,stop_at_loss=0.15"
KEPT = 8  # nets in the picture: more lines than that hide each other
SECONDS = 1.0  # between two drawings, of which one takes a tenth
DPI = 100
THREAD = "explorer"
STATIC = "In a live Jupyter with torch, this cell shows controls with which to train such nets; the figure above stands for them here."

_shown: "Explorer | None" = None


def explore(seed: int = 0, *, data: "Data | None" = None, recipe: Recipe | None = None) -> None:
    """Show the explorer, or where nobody can use it (no kernel, RESNET_NB_PROGRESS=off, no torch) one line that says so.

    seed: of the initial weights and of the batches. data: the digits where None. recipe: trained at the rate that is chosen; where None, that of
    the study digits-speed: a constant rate, until the running loss is under 0.15 or 800 iterations are over; its final errors are those with
    the batch statistics of the last epoch. Shown again, e.g. by running its cell twice, it stops the former net and takes its controls away.
    """
    global _shown
    if _shown is not None:
        _shown.close()
        _shown = None
    if not in_notebook() or silenced() or importlib.util.find_spec("torch") is None:
        print(STATIC)
        return
    _shown = Explorer(seed, data, recipe or get_recipe(RECIPE))
    display(_shown.box)


class _Stopped(Exception):
    """The reader clicked Stop."""


class Explorer:
    """The controls, their picture, and at most one thread that trains."""

    def __init__(self, seed: int, data: "Data | None", recipe: Recipe):
        self.seed, self.data, self.recipe = seed, data, recipe
        self.runs: list[Watched] = []
        self.thread: threading.Thread | None = None
        self.stopping = threading.Event()
        self.lock = threading.RLock()  # clicks may come from several threads of the kernel, and the training thread draws
        self._build()
        self._draw()
        atexit.register(self._halt)  # a thread that is cut off inside torch ends the kernel with a crash

    def _build(self) -> None:
        from ipywidgets import HTML, Button, Dropdown, HBox, SelectionSlider, ToggleButtons, VBox

        self.depth = Dropdown(options=[(f"{depth} layers", depth) for depth in DEPTHS], value=20, description="Depth", style=NAMED)
        self.shortcut = ToggleButtons(options=list(SHORTCUTS.items()), description="Shortcut", style=WIDE)
        self.rate = SelectionSlider(options=[(f"{rate:g}", rate) for rate in RATES], value=0.05, description="Learning rate", style=NAMED)
        self.train = Button(description="Train", icon="play", tooltip="Train the net that is chosen above")
        self.stop = Button(description="Stop", icon="stop", tooltip="Stop the net that is training", disabled=True)
        self.clear = Button(description="Clear", icon="trash", tooltip="Take the earlier nets out of the picture")
        self.status = HTML("Choose a net, then Train.")
        self.picture = Picture()
        self.train.on_click(lambda _: self._start())
        self.stop.on_click(lambda _: self._ask_to_stop())
        self.clear.on_click(lambda _: self._clear())
        buttons = HBox([self.train, self.stop, self.clear])
        self.box = VBox([self.depth, self.shortcut, self.rate, buttons, self.status, self.picture.widget])

    @property
    def training(self) -> bool:
        """Whether a net is being trained."""
        return self.thread is not None and self.thread.is_alive()

    def close(self) -> None:
        """Stop the net that is training, wait for it (a few iterations), and take the controls away."""
        self._halt()
        self.box.close()
        atexit.unregister(self._halt)

    def _halt(self) -> None:
        self.stopping.set()
        if self.thread is not None:
            self.thread.join()

    def _start(self) -> None:
        """Begin to train the net that is chosen, unless one is training."""
        with self.lock:
            if self.training:
                return
            self.stopping.clear()
            family, depth, rate = self.shortcut.value, self.depth.value, self.rate.value
            run = Watched(self.runs[-1].number + 1 if self.runs else 1, f"{family} {depth}, rate {rate:g}", family)
            self.runs = [*self.runs, run][-KEPT:]
            self._buttons(training=True)
            self._say(f"{run.label}: loading torch and the images.")
            recipe = self.recipe.replaced(rate=rate)
            work = run, f"{MODELS[family]}{depth}", recipe.for_depth(depth)
            self.thread = threading.Thread(target=self._work, args=work, name=THREAD, daemon=True)
            self.thread.start()

    def _ask_to_stop(self) -> None:
        """Have the net that is training stop at its next point."""
        if self.training:  # a second click may come when the first has done its work
            self.stop.disabled = True
            self._say(f"{self.runs[-1].label}: stopping.")
            self.stopping.set()

    def _clear(self) -> None:
        """Keep no net in the picture but the one that is training."""
        with self.lock:
            self.runs = self.runs[-1:] if self.training else []
            self._draw()

    def _work(self, run: Watched, model: str, recipe: Recipe) -> None:
        """The thread: train, and say how it ended, whatever happens."""
        try:
            ending = self._train(run, model, recipe)
            self._draw()
            self._say(ending)
        except Exception:  # nobody else would hear of it
            self._say(f"{run.label}: this should not happen.", traceback.format_exc())
        finally:
            self._buttons(training=False)

    def _train(self, run: Watched, model: str, recipe: Recipe) -> str:
        """Train the net, and return the sentence that says how it ended."""
        from resnet_nb.data import load_data
        from resnet_nb.models import build_model
        from resnet_nb.training.train import fit

        started = drawn = time.monotonic()

        def watch(curve: "Curve") -> None:
            nonlocal drawn
            run.points = list(curve.running)
            if self.stopping.is_set():
                raise _Stopped
            now = time.monotonic()
            if len(run.points) == 1 or now - drawn >= SECONDS:
                self._draw()
                step, _, error = run.points[-1]
                self._say(f"{run.label}: iteration {step} of {recipe.iterations}, running error {error:.1f} %, {now - started:.0f} s.")
                drawn = time.monotonic()

        try:
            if self.stopping.is_set():  # while torch was being imported, which takes seconds the first time
                raise _Stopped
            with _one_thread():
                data = self.data or load_data("digits")
                net = build_model(model, classes=len(data.classes), in_channels=data.channels, width=WIDTH, seed=self.seed)
                done = fit(net, data, recipe, self.seed, "cpu", progress=False, on_point=watch)
        except _Stopped:
            run.label += " (stopped)"
            return f"{run.label} after {run.points[-1][0] if run.points else 0} iterations."
        except (RunError, InputError) as error:
            run.label += " (failed)"
            return f"{run.label}: {error}"
        return f"{run.label}: {_result(done, recipe)}, {time.monotonic() - started:.0f} s."

    def _draw(self) -> None:
        with self.lock:
            self.picture.show(watched(self.runs, self.recipe.curve_every), _seen(self.runs), DPI)

    def _say(self, sentence: str, details: str = "") -> None:
        self.status.value = html.escape(sentence) + (f"<pre>{html.escape(details)}</pre>" if details else "")

    def _buttons(self, *, training: bool) -> None:
        self.train.disabled, self.stop.disabled = training, not training


def _seen(runs: Sequence[Watched]) -> str:
    """The picture in words."""
    nets = [f"{run.number}: {run.label}, {run.points[-1][2]:.1f} percent at iteration {run.points[-1][0]}" for run in runs if run.points]
    return f"Running training error against iterations (log scale), a line for each net. {'; '.join(nets) or 'No net yet'}."


@contextmanager
def _one_thread() -> Iterator[None]:
    """One CPU thread for torch inside the block: such small nets gain nothing from a second one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _result(done: "Fit", recipe: Recipe) -> str:
    """What a finished net reached, in words."""
    how = f"running loss under {recipe.stop_at_loss:g} after " if done.iterations < recipe.iterations else ""
    return f"{how}{done.iterations} iterations, training error {done.train.top1_error:.2f} %, test error {done.test.top1_error:.2f} %"
