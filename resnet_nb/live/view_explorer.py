"""The explorer of recorded views in notebook 04: choose nets and views, and read the error that their average makes.

    explore({"resnet20": views.beside([views.load(crops), views.load(dense)]), "resnet32": ...})

No net is run: all is computed from recorded scores. Nothing here imports torch.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from IPython.display import display
from scipy.special import log_softmax, logsumexp

from resnet_nb.audience import in_notebook, silenced
from resnet_nb.errors import InputError
from resnet_nb.findings.paired import mcnemar
from resnet_nb.protocols.geometry import PLACES, WHOLE
from resnet_nb.records.views import Views, of_same_pictures
from resnet_nb.stats import wilson_interval

CENTRE = "centre"
SIDE = 32  # pixels of the pictures and of the nets' training crops (section 4.2): a dense pass of that side has one window
CROPS = {"none": 0, "centre only": 1, "five": 5}
RULES = {"after the softmax": "softmax", "before the softmax": "logits", "on the last map": "pooled"}  # of a dense form's windows
AVERAGES = {"after the softmax": "softmax", "before the softmax": "logits"}
STATIC = "In a live Jupyter, this cell shows controls that average any of the recorded views and nets; a figure stands for them here."


@dataclass(frozen=True, eq=False)
class Chosen:
    """What nets and views together score. words: which they are; passes: views of one picture, over all nets; right: (N,) bool; loss: nats."""

    words: str
    passes: int
    right: np.ndarray
    loss: float

    @property
    def error(self) -> float:
        """Top-1 error in percent."""
        return 100 * float(1 - self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the error in percent (Wilson)."""
        return wilson_interval(int((~self.right).sum()), len(self.right))


def chosen(
    views: Mapping[str, Views],
    *,
    nets: Sequence[str],
    crops: int = 1,
    pad: int = 4,
    mirrored: bool = False,
    shorts: Sequence[int] = (),
    rule: str = "softmax",
    average: str = "softmax",
) -> Chosen:
    """The average over the chosen views of each net, then over the nets (section 3.4): `Views.posterior`, `views.together`.

    views: recorded ones of the same pictures by the net's name. nets: which of them. crops: 0, 1 (the picture as it is) or 5 (with the corners
    of the picture padded with `pad` zeros); all crops together count as one scale. mirrored: the mirror image of every view as well. shorts:
    short sides of dense passes, each a scale of its own. rule: where the dense passes average their windows, "softmax", "logits" or "pooled".
    average: "softmax" averages posteriors, "logits" logits. Raises InputError that names every net which lacks a chosen view; for no net or no
    view; for other values than these; and where pictures or labels differ between nets.
    """
    for what, value, possible in (("crops", crops, CROPS), ("rule", rule, RULES), ("average", average, AVERAGES)):
        if value not in possible.values():
            raise InputError(f"{what} {value!r} is unknown: choose from {', '.join(map(str, possible.values()))}.")
    if unknown := [net for net in nets if net not in views]:
        raise InputError(f"There are no recorded views of {', '.join(unknown)}: choose from {', '.join(views)}.")
    _check(views)
    scores = {net: _Scores.of(views[net]) for net in nets}
    return _average(scores, crops=crops, pad=pad, mirrored=mirrored, shorts=shorts, rule=rule, average=average)


def _check(views: Mapping[str, Views]) -> None:
    """Raise InputError where nets saw other pictures, or there is no net."""
    if not of_same_pictures(views.values()):
        raise InputError("Give recorded views of one or several nets, all of the same pictures in the same order.")


@dataclass(frozen=True, eq=False)
class _Scores:
    """A net's views made ready, so that a new average is one product for each net: 30 ms for 50 views of 10,000 pictures, with softmaxes a second.

    rows: where each view lies. logits, posteriors: float32 (V, N x classes). own: float32 (V, N), the logarithm of the label's posterior.
    """

    rows: dict[tuple, int]
    logits: np.ndarray
    posteriors: np.ndarray
    own: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, views: Views) -> "_Scores":
        logits = np.ascontiguousarray(views.logits.transpose(1, 0, 2))
        logs = log_softmax(logits, axis=2)
        own = logs[:, np.arange(len(views.labels)), views.labels]
        return cls(_rows(views), logits.reshape(len(logits), -1), np.exp(logs).reshape(len(logits), -1), own, views.labels)


def _average(
    scores: Mapping[str, _Scores], *, crops: int, pad: int, mirrored: bool, shorts: Sequence[int], rule: str, average: str
) -> Chosen:
    """`chosen` of nets that are ready."""
    if not scores:
        raise InputError("No net is chosen: choose one or several.")
    wanted = _wanted(crops, pad, mirrored, shorts, rule)
    if not wanted:
        raise InputError("No view is chosen: choose crops, dense passes or both.")
    if lacking := [sentence for net, one in scores.items() if (sentence := _lacking(net, one, wanted))]:
        raise InputError(f"{'; '.join(lacking)}: choose other views or nets.")
    sides = Counter((form, short) for form, short, *_ in wanted)  # each counts once, whatever its number of views
    share = [1 / (len(scores) * len(sides) * sides[view[:2]]) for view in wanted]
    each = [(one, _weights(one, wanted, share)) for one in scores.values()]
    labels = next(iter(scores.values())).labels
    mean = sum(weights @ (one.logits if average == "logits" else one.posteriors) for one, weights in each).reshape(len(labels), -1)
    if average == "logits":
        logs = log_softmax(mean, axis=1)[np.arange(len(labels)), labels]
    else:  # of the label's logarithms, as a posterior may be too small for its float32
        kept = [(one.own[weights > 0], weights[weights > 0]) for one, weights in each]
        logs = logsumexp(np.concatenate([own for own, _ in kept]), axis=0, b=np.concatenate([weights for _, weights in kept])[:, None])
    words = _words(list(scores), crops, pad, mirrored, shorts, rule, average)
    return Chosen(words, len(wanted) * len(scores), mean.argmax(1) == labels, -float(logs.mean()))


def _weights(scores: _Scores, wanted: Sequence[tuple], share: Sequence[float]) -> np.ndarray:
    """(V,) float32: each view's part in the mean."""
    weights = np.zeros(len(scores.logits), np.float32)
    weights[[scores.rows[view] for view in wanted]] = share
    return weights


def _lacking(net: str, scores: _Scores, wanted: Sequence[tuple]) -> str:
    """Which wanted views were not recorded, in words; mirror images are named where the views themselves were."""
    plain = dict.fromkeys(_name(view) for view in wanted if view not in scores.rows and not view[4])
    images = dict.fromkeys(_name(view) for view in wanted if view not in scores.rows and view[4])
    absent = [*plain, *(f"mirror image of a {name}" for name in images if name not in plain)]
    return f"{net} has no recorded {' and no '.join(absent)}" if absent else ""


def _wanted(crops: int, pad: int, mirrored: bool, shorts: Sequence[int], rule: str) -> list[tuple]:
    """The rows of `views.COLUMNS` that are to be averaged."""
    places = {0: (), 1: (CENTRE,), 5: PLACES}[crops]
    images = (False, True) if mirrored else (False,)
    cropped = [("crop", 0, 0 if place == CENTRE else pad, place, image, "") for image in images for place in places]
    dense = [("dense", short, 0, WHOLE, image, rule) for short in shorts for image in images]
    return [_plain(view) for view in cropped + dense]


def _rows(views: Views) -> dict[tuple, int]:
    """Where each view lies: the first of those that are one picture."""
    rows: dict[tuple, int] = {}
    for number, view in enumerate(views.views.itertuples(index=False, name=None)):
        rows.setdefault(_plain(view), number)
    return rows


def _plain(view: tuple) -> tuple:
    """A row of `views.COLUMNS` without what makes no difference: padding around the centre, and the rule where there is one window."""
    form, short, pad, place, mirrored, rule = view
    return form, short, 0 if place == CENTRE else pad, place, mirrored, "" if short == SIDE else rule


def _name(view: tuple) -> str:
    """A wanted view in words; a view and its mirror image have one name, and so have the corners of one padding."""
    form, short, pad, place, _, rule = view
    if form == "dense":
        return f"dense pass at {short} pixels" + (f" (windows averaged {_key(RULES, rule)})" if rule else "")
    return "view of the picture as it is" if place == CENTRE else f"corner crop of a padding of {pad} pixels"


def _words(nets: Sequence[str], crops: int, pad: int, mirrored: bool, shorts: Sequence[int], rule: str, average: str) -> str:
    """The choice in a line; how it is averaged is said where there is more than one pass."""
    parts = {0: [], 1: ["the picture as it is"], 5: [f"five crops of a padding of {pad}"]}[crops]
    if shorts:
        windows = f" (windows averaged {_key(RULES, rule)})" if set(shorts) != {SIDE} else ""
        parts.append(f"dense passes at {', '.join(map(str, shorts))} pixels{windows}")
    views = " and ".join(parts) + (", with mirror images" if mirrored else "")
    several = mirrored or crops + len(shorts) > 1 or len(nets) > 1
    return f"{' + '.join(nets)}: {views}" + (f", averaged {_key(AVERAGES, average)}" if several else "")


def _key(names: Mapping[str, str], value: str) -> str:
    return next(name for name, one in names.items() if one == value)


def explore(views: Mapping[str, Views]) -> None:
    """Show the explorer, or where nobody can use it (no kernel, RESNET_NB_PROGRESS=off) one line that says so.

    views: recorded views of the same pictures by the net's name; the first net's single view is what choices are compared with until the reader
    keeps another. Raises InputError where pictures or labels differ between nets, and where the first net lacks that view.
    """
    if not in_notebook() or silenced():
        print(STATIC)
        return
    display(Explorer(views).box)


class Explorer:
    """The controls, and what the chosen nets and views score."""

    def __init__(self, views: Mapping[str, Views]):
        _check(views)
        self.views = views
        self.scores: dict[str, _Scores] = {}  # of the nets that were chosen so far
        self._build()
        self.reference = self.current = self._chosen()
        self._update()

    def _build(self) -> None:
        from ipywidgets import HTML, Button, Checkbox, HBox, Label, Layout, ToggleButtons, VBox

        def ticks(label: str, names: Mapping[object, str]) -> tuple[dict, HBox]:
            boxes = {value: Checkbox(description=name, indent=False, layout=Layout(width="auto")) for value, name in names.items()}
            return boxes, HBox([Label(label), *boxes.values()], layout=Layout(flex_flow="row wrap"))

        def buttons(description: str, options: list) -> ToggleButtons:
            return ToggleButtons(options=options, description=description, style={"description_width": "initial", "button_width": "auto"})

        tables = [one.views for one in self.views.values()]
        pads = sorted({int(pad) for table in tables for pad in table["pad"][(table["form"] == "crop") & (table["place"] != CENTRE)]})
        dense = [table[table["form"] == "dense"] for table in tables]
        sides = sorted({int(short) for table in dense for short in table["short"]})
        rules = [(name, rule) for name, rule in RULES.items() if any(rule in set(table["rule"]) for table in dense)]
        self.nets, nets = ticks("Nets:", {net: net for net in self.views})
        self.crops = buttons("Crops", [(name, number) for name, number in CROPS.items() if number < 5 or pads])
        self.pad = buttons("Padding of the crops", [(f"{pad} pixels", pad) for pad in pads])
        self.mirrored = Checkbox(description="Mirror images as well", indent=False)
        self.shorts, shorts = ticks("Dense passes, short side:", {side: f"{side} pixels" for side in sides})
        self.rule = buttons("Dense windows averaged", rules)
        self.average = buttons("Views and nets averaged", list(AVERAGES.items()))
        wide = Layout(width="auto", align_self="flex-start")  # 148 pixels cut the words off
        self.keep = Button(description="Keep as reference", icon="thumb-tack", tooltip="Compare the next choices with this one", layout=wide)
        self.result = HTML()
        next(iter(self.nets.values())).value, self.crops.value = True, 1
        self.controls = [*self.nets.values(), self.crops, self.pad, self.mirrored, *self.shorts.values(), self.rule, self.average]
        for control in self.controls:
            control.observe(lambda _: self._update(), "value")
        self.keep.on_click(lambda _: self._keep())
        crops, windows = ([self.pad] if pads else []), ([shorts, self.rule] if sides else [])
        self.box = VBox([nets, self.crops, *crops, self.mirrored, *windows, self.average, self.keep, self.result])

    def _chosen(self) -> Chosen:
        """What the controls say."""
        nets = [net for net, tick in self.nets.items() if tick.value]
        self.scores |= {net: _Scores.of(self.views[net]) for net in nets if net not in self.scores}
        return _average(
            {net: self.scores[net] for net in nets}, crops=self.crops.value, pad=self.pad.value or 0, mirrored=self.mirrored.value,
            shorts=[side for side, tick in self.shorts.items() if tick.value], rule=self.rule.value or "softmax", average=self.average.value,
        )  # fmt: skip

    def _update(self) -> None:
        """Average what is chosen, and say what it scores, or what is lacking."""
        self.pad.disabled, self.rule.disabled = self.crops.value < 5, not any(tick.value for tick in self.shorts.values())
        try:
            self.current = self._chosen()
            self.result.value = _page(self.current, self.reference)
        except InputError as error:
            self.current, self.result.value = None, html.escape(str(error))
        self.keep.disabled = self.current is None

    def _keep(self) -> None:
        """Compare with the present choice from now on."""
        if self.current is not None:
            self.reference = self.current
            self._update()


def _page(now: Chosen, reference: Chosen) -> str:
    """The choice and its comparison with the reference, as HTML."""
    test, (low, high) = mcnemar(reference.right, now.right), now.interval
    rows = {
        "passes for each picture": f"{now.passes}",
        "top-1 error": f"{now.error:.2f} % (95 % interval {low:.2f} to {high:.2f})",
        "loss": f"{now.loss:.3f}",
        "against the reference": f"{test.difference:+.2f} points, {test.only_b:,} pictures repaired and {test.only_a:,} broken",
        "McNemar's exact p": f"{test.p:.2g}",
    }
    lines = "".join(f'<tr><th scope="row" style="text-align:left; padding-right:1em">{name}</th><td>{text}</td></tr>' for name, text in rows.items())
    return f"<b>{html.escape(now.words)}</b><table>{lines}</table>Reference: {html.escape(reference.words)}, {reference.error:.2f} %"
