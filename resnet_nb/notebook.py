"""What a notebook's cells call besides the package proper: its rung of evidence, its machine, a figure, a prediction.

    begin(EVIDENCE, quick_minutes=2, gpu_hours=3, cpu_hours=400, allow_slow=ALLOW_SLOW)
    machine = environment(EVIDENCE)
    guess = predict("Which net has the higher training error?", ["plain-20", "plain-56"])
    show(figure, alt="...", caption="...", shows="stored")

Nothing here imports torch, except `begin` on the full rung and `environment` on a rung that trains.
"""

import base64
import importlib.metadata
import importlib.util
import io
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.display import Markdown, display

from resnet_nb import __version__
from resnet_nb.audience import silenced
from resnet_nb.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNGS = ("stored", "quick", "full")
SHOWS = {
    "published": "published values",
    "computed": "a computation, no measurement",
    "stored": "recorded runs",
    "quick": "a live run of this notebook, quick rung",
    "full": "a live run of this notebook, full rung",
}
DPI = 120  # 7.5 inches are 900 pixels, about the width of a notebook on GitHub: 8 points stay readable there
SHORTEST_ALT = 40  # characters


def begin(
    evidence: str, *, quick_minutes: float = 0, gpu_hours: float = 0, cpu_hours: float = 0, allow_slow: bool = False
) -> None:
    """Say which rung of evidence this notebook shows, or refuse one that this machine cannot climb.

    quick_minutes: what the quick rung takes on two CPU cores. gpu_hours, cpu_hours: what the full rung takes with and
    without a GPU. Each is 0 where nothing is trained on that rung. The printed line is the same on every machine.

    Raises InputError for an unknown rung, for one that trains where torch is missing, and for the full rung without a
    GPU unless `allow_slow`.
    """
    if evidence not in RUNGS:
        raise InputError(f"EVIDENCE = {evidence!r} is unknown: choose one of {', '.join(map(repr, RUNGS))}.")
    trains = {"stored": False, "quick": quick_minutes > 0, "full": gpu_hours > 0}[evidence]
    if trains and importlib.util.find_spec("torch") is None:
        remedy = "run `pip install torch torchvision`, or choose 'stored'"
        raise InputError(f"EVIDENCE = {evidence!r} trains networks, which needs torch: {remedy}.")
    if trains and evidence == "full" and not allow_slow and not _has_gpu():
        times = f"about {cpu_hours:g} hours on this machine, which has no GPU ({gpu_hours:g} with one)"
        raise InputError(f"EVIDENCE = 'full' takes {times}: choose 'quick', or set ALLOW_SLOW = True (`--allow-slow`, `make run ALLOW_SLOW=1`).")
    if not trains:
        work = "nothing is trained here"
    elif evidence == "quick":
        work = f"and trains small networks here, about {quick_minutes:g} minutes on two CPU cores"
    else:
        work = f"and trains here as the paper does, about {gpu_hours:g} hours on a GPU"
    print(f"Evidence: {evidence}. This notebook shows recorded runs and published values; {work}.")


def _has_gpu() -> bool:
    from resnet_nb.devices import resolve_device  # imports torch

    return resolve_device("auto").type != "cpu"


def environment(evidence: str) -> dict[str, Any]:
    """Print and return what runs here: `python`, `resnet_nb`, `torch` (None if not installed), `cores`, `device`.

    On the stored rung `device` is None and torch is not imported. The print differs from machine to machine.
    """
    try:
        torch = importlib.metadata.version("torch")  # without importing it
    except importlib.metadata.PackageNotFoundError:
        torch = None
    device = None
    if torch and evidence != "stored":
        from resnet_nb.devices import device_name, resolve_device

        device = device_name(resolve_device("auto"))
    python, cores = platform.python_version(), os.cpu_count()
    print(f"Python {python}, resnet_nb {__version__}, torch {torch or 'not installed'}, {cores} CPU cores")
    print(f"Device: {device or 'none needed on this rung'}")
    return {"python": python, "resnet_nb": __version__, "torch": torch, "cores": cores, "device": device}


def show(figure: "Figure", alt: str, caption: str, *, shows: str | Sequence[str]) -> None:
    """Display a matplotlib figure with its alternative text, the caption below it, and close the figure.

    alt: for those who do not see the figure, what it shows (axes, curves, finding), at least 40 characters.
    caption: Markdown. shows: where the data come from, one or several keys of SHOWS; stated at the caption's end.

    Equal figures are equal bytes: no date, no version. Raises ValueError for a short `alt`, an unknown `shows`, and a
    figure without a title or axis labels.
    """
    alt = " ".join(alt.split())
    if len(alt) < SHORTEST_ALT:
        raise ValueError(f"The alternative text {alt!r} cannot replace the figure: write {SHORTEST_ALT} characters.")
    sources = [shows] if isinstance(shows, str) else list(shows)
    for source in sources:
        if source not in SHOWS:
            raise ValueError(f"shows={source!r} is unknown: choose from {', '.join(SHOWS)}.")
    if missing := _missing_labels(figure):
        raise ValueError(f"The figure has no {' and no '.join(missing)}: set it, or turn off axes that mean nothing.")

    from matplotlib import pyplot

    picture = {"image/png": base64.b64encode(_png(figure)).decode(), "text/plain": repr(figure)}
    pyplot.close(figure)  # else the inline backend shows it a second time, without the text
    display(picture, metadata={"image/png": {"alt": alt}}, raw=True)
    display(Markdown(f"{caption.strip()} *Shown: {'; '.join(SHOWS[source] for source in sources)}.*"))


def _missing_labels(figure: "Figure") -> list[str]:
    """Which of title, x label and y label nobody set, on the figure or on any of its axes that are drawn."""
    axes = [one for one in figure.axes if one.axison]
    titles = [one.get_title(place) for one in figure.axes for place in ("left", "center", "right")]
    labels = {"title": [figure.get_suptitle(), *titles]}
    if axes:
        labels["x label"] = [figure.get_supxlabel(), *(one.get_xlabel() for one in axes)]
        labels["y label"] = [figure.get_supylabel(), *(one.get_ylabel() for one in axes)]
    return [what for what, found in labels.items() if not any(found)]


def _png(figure: "Figure") -> bytes:
    """The figure on white, which dark pages need, in 256 colours: a third of the bytes, no colour off visibly."""
    from PIL import Image

    drawn, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, facecolor="white")
    image = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(reduced, "png", optimize=True)
    return reduced.getvalue()


@dataclass
class Prediction:
    """What the reader expects; `value` is None until they have chosen."""

    question: str
    value: Any = None


def predict(question: str, choices: Sequence[str] = (), *, between: tuple[float, float] | None = None) -> Prediction:
    """Ask for a prediction: one of `choices`, or a number within `between`.

    In a live notebook a widget sets the prediction's `value`, to be drawn into a later figure. With
    RESNET_NB_PROGRESS=off or without IPython the possible answers stand beside the question and `value` stays None.
    """
    if bool(choices) == bool(between):
        raise ValueError("A prediction needs either choices or between=(low, high).")
    prediction = Prediction(question)
    answers = " · ".join(choices) if choices else "a number from {:g} to {:g}".format(*between)
    live = get_ipython() is not None and not silenced()
    display(Markdown(f"**Your prediction.** {question}" + ("" if live else f" ({answers})")))
    if live:
        display(_widget(prediction, choices, between))
    return prediction


def _widget(prediction: Prediction, choices: Sequence[str], between: tuple[float, float] | None) -> Any:
    """Radio buttons or a slider that write to `prediction.value`."""
    import ipywidgets

    if choices:
        wide = ipywidgets.Layout(width="auto")  # in the default 300 pixels a longer answer pushes its button out of sight
        widget = ipywidgets.RadioButtons(options=list(choices), value=None, layout=wide)
    else:
        low, high = between
        step, form = (1, ".0f") if high - low >= 10 else ((high - low) / 100, ".2f")  # nobody predicts 5.17 of eleven statements
        widget = ipywidgets.FloatSlider(value=low, min=low, max=high, step=step, readout_format=form)
    widget.observe(lambda change: setattr(prediction, "value", change["new"]), names="value")
    return widget
