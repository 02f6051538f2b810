"""The explorer of recorded views averages as by hand, compares pair by pair, and says what is lacking."""

import html
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from widget_examples import displayed_by, everything, found

from resnet_nb.errors import InputError
from resnet_nb.live import view_explorer
from resnet_nb.live.view_explorer import chosen, explore
from resnet_nb.protocols import Protocol, geometry
from resnet_nb.protocols.recorded import row
from resnet_nb.records.views import COLUMNS, Views, beside, together

ROOT = Path(__file__).parents[1]
COUNT, CLASSES = 60, 5
LABELS = np.random.default_rng(9).integers(0, CLASSES, COUNT)
CROPS = [Protocol("10-crop", crop=32, pad=pad) for pad in (2, 4)]
DENSE = [Protocol("multi-scale", crop=32, scales=(32, 40, 48), rule=rule) for rule in ("softmax", "pooled")]


def recorded(protocols: list[Protocol], seed: int = 0, labels: np.ndarray = LABELS) -> Views:
    """What evaluate --save-scores keeps of a net that is right more often than not, its scores drawn at random."""
    rows = list(dict.fromkeys(row(view, protocol) for protocol in protocols for view in protocol.views()))
    logits = np.random.default_rng(seed).normal(0, 2, (len(labels), len(rows), CLASSES)).astype(np.float32)
    logits[np.arange(len(labels)), :, labels] += 0.4
    for mirrored in (False, True):  # the centre under any padding is one picture, and at 32 pixels there is one window
        for same in (lambda one: one[3] == "centre", lambda one: one[1] == 32):
            places = [place for place, one in enumerate(rows) if same(one) and one[4] == mirrored]
            logits[:, places] = logits[:, places[:1]]
    about = {"model": {"name": f"resnet{seed}"}, "weights": f"{seed}.th", "command": str([one.name for one in protocols])}
    return Views(logits, labels, tuple(map(str, range(len(labels)))), pd.DataFrame(rows, columns=list(COLUMNS)), about)


NETS = {"resnet20": recorded(CROPS + DENSE, 20), "resnet56": recorded(CROPS + DENSE, 56)}


def by_hand(nets: list[str], average: str, wanted) -> tuple[int, np.ndarray]:
    """Number of views and scores (N, classes): one picture, net and view at a time. wanted: says of a row whether it is averaged."""
    scores, passes = np.zeros((COUNT, CLASSES)), 0
    for picture in range(COUNT):
        of_nets = []
        for net in nets:
            sides: dict[int, list] = {}
            for place, one in enumerate(NETS[net].views.itertuples()):
                if wanted(one):
                    logits = NETS[net].logits[picture, place].astype(float)
                    sides.setdefault(one.short, []).append(softmax(logits) if average == "softmax" else logits)
            of_nets.append(np.mean([np.mean(views, axis=0) for views in sides.values()], axis=0))
            passes += sum(map(len, sides.values())) if picture == 0 else 0
        scores[picture] = np.mean(of_nets, axis=0) if average == "softmax" else softmax(np.mean(of_nets, axis=0))
    return passes, scores


CHOICES = [
    (["resnet20"], {}, lambda v: v.form == "crop" and v.pad == 4 and v.place == "centre" and not v.mirrored),
    (["resnet56"], {"mirrored": True}, lambda v: v.form == "crop" and v.pad == 2 and v.place == "centre"),
    (["resnet20"], {"crops": 5, "pad": 2}, lambda v: v.form == "crop" and v.pad == 2 and not v.mirrored),
    (["resnet20", "resnet56"], {"crops": 5, "pad": 4, "mirrored": True}, lambda v: v.form == "crop" and v.pad == 4),
    (["resnet20"], {"crops": 0, "shorts": (40,)}, lambda v: v.short == 40 and v.rule == "softmax" and not v.mirrored),
    (
        ["resnet56", "resnet20"], {"crops": 5, "pad": 4, "mirrored": True, "shorts": (32, 48), "rule": "pooled"},
        lambda v: (v.form == "crop" and v.pad == 4) or (v.short in (32, 48) and v.rule == "pooled"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("average", ["softmax", "logits"])
@pytest.mark.parametrize("nets, options, wanted", CHOICES)
def test_every_choice_is_the_average_by_hand(nets, options, wanted, average):
    found = chosen(NETS, nets=nets, average=average, **options)
    passes, scores = by_hand(nets, average, wanted)
    assert found.passes == passes
    assert (found.right == (scores.argmax(1) == LABELS)).all()
    assert found.loss == pytest.approx(-np.log(scores[np.arange(COUNT), LABELS]).mean(), rel=1e-5)
    assert found.error == pytest.approx(100 * np.mean(scores.argmax(1) != LABELS))
    assert found.interval[0] < found.error < found.interval[1]


@pytest.mark.parametrize("average", ["softmax", "logits"])
def test_ensembles_are_those_of_views_together(average):
    members = [one.where(form="crop", pad=2) for one in NETS.values()]
    found = chosen(NETS, nets=list(NETS), crops=5, pad=2, mirrored=True, average=average)
    joined = together(members, average)
    assert (found.right == joined.right()).all() and found.passes == 20
    assert found.loss == pytest.approx(-float(joined.logits[np.arange(COUNT), 0, LABELS].mean()), rel=1e-5)


def test_a_loss_beyond_single_precision_is_finite():
    far = replace(NETS["resnet20"], logits=np.where(np.arange(CLASSES) == LABELS[:, None], -500, 0)[:, None].repeat(32, 1).astype(np.float32))
    assert far.logits.shape == NETS["resnet20"].logits.shape
    found = chosen({"far": far}, nets=["far"], crops=5, mirrored=True)
    assert found.loss == pytest.approx(500 + np.log(4)) and found.error == 100


def test_places_and_rules_are_those_of_the_protocols():
    assert view_explorer.PLACES == geometry.PLACES and view_explorer.WHOLE == geometry.WHOLE
    assert tuple(view_explorer.RULES.values()) == geometry.RULES


POOR = {
    "resnet20": NETS["resnet20"],
    "resnet32": recorded([Protocol.cifar("10-crop")], 32),
    "resnet44": recorded([Protocol.cifar("1-crop")], 44),
}


def test_what_nets_lack_is_said_in_one_sentence():
    with pytest.raises(InputError) as said:
        chosen(POOR, nets=list(POOR), crops=5, pad=4, mirrored=True, shorts=(40,))
    assert str(said.value) == (
        "resnet32 has no recorded dense pass at 40 pixels (windows averaged after the softmax); resnet44 has no recorded corner crop of a padding "
        "of 4 pixels and no dense pass at 40 pixels (windows averaged after the softmax) and no mirror image of a view of the picture as it is: "
        "choose other views or nets."
    )


@pytest.mark.parametrize(
    "options, words",
    [
        ({"nets": []}, "No net is chosen"),
        ({"nets": ["resnet20"], "crops": 0}, "No view is chosen"),
        ({"nets": ["resnet20"], "crops": 3}, "crops 3 is unknown: choose from 0, 1, 5"),
        ({"nets": ["resnet20"], "rule": "hard"}, "rule 'hard' is unknown"),
        ({"nets": ["resnet20"], "average": "hard"}, "average 'hard' is unknown: choose from softmax, logits"),
        ({"nets": ["resnet99"]}, "no recorded views of resnet99: choose from resnet20, resnet56"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        chosen(NETS, **options)


def test_nets_of_other_pictures_or_labels_are_refused():
    for other in (recorded(CROPS, labels=LABELS[:-1]), recorded(CROPS, labels=(LABELS + 1) % CLASSES)):
        with pytest.raises(InputError, match="all of the same pictures"):
            chosen(NETS | {"other": other}, nets=["resnet20"])


def test_a_dense_pass_of_one_window_is_the_same_under_every_rule():
    once = {"net": recorded([DENSE[0], Protocol("dense", crop=32, scales=(40,), rule="pooled")], 20)}
    mixed = chosen(once, nets=["net"], crops=0, shorts=(32, 40), mirrored=True, rule="pooled")
    views = once["net"].views
    by_rows = once["net"].logits[:, ((views["short"] == 32) | (views["rule"] == "pooled")).to_numpy()]
    assert mixed.passes == by_rows.shape[1] == 4
    assert (mixed.right == (softmax(by_rows, axis=2).mean(1).argmax(1) == LABELS)).all()


# Views of one net from several files


def test_files_beside_each_other_hold_every_view_once():
    crops, dense = recorded(CROPS, 20), recorded(DENSE, 20)
    joined = beside([crops, dense, crops])
    assert joined.views.to_dict("records") == crops.views.to_dict("records") + dense.views.to_dict("records")
    assert (joined.logits == np.concatenate([crops.logits, dense.logits], axis=1)).all()
    assert (joined.names, joined.about["weights"]) == (crops.names, "20.th") and (joined.labels == crops.labels).all()
    assert joined.about["files"] == [crops.about, dense.about, crops.about]
    assert "command" not in joined.about, "which they do not say alike"
    assert joined.where(form="dense", short=40, rule="pooled").error() == dense.where(short=40, rule="pooled").error()


def test_of_a_view_recorded_twice_the_first_is_kept():
    one = recorded(CROPS[:1], 20)
    rounded = replace(one, logits=one.logits.astype(np.float16).astype(np.float32))
    assert (beside([one, rounded]).logits == one.logits).all()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"names": tuple(map(str, range(1, COUNT + 1)))}, "same pictures in the same order"),
        ({"labels": (LABELS + 1) % CLASSES}, "the same labels"),
        ({"about": {"weights": "56.th"}}, "weights is 20.th in one file and 56.th in another"),
        ({"about": {"weights": "20.th", "normalisation": {"mean": [0.5]}}}, "normalisation is None in one file"),
    ],
)
def test_views_of_other_pictures_or_nets_are_not_joined(change, words):
    one = recorded(CROPS, 20)
    with pytest.raises(InputError, match=words):
        beside([one, replace(one, **change)])
    with pytest.raises(InputError, match="same pictures"):
        beside([])


# The controls


@pytest.fixture
def shown(monkeypatch):
    """What explore() displays, in a notebook that is live."""
    return displayed_by(view_explorer, monkeypatch)


def said(box: ipywidgets.Widget) -> str:
    """The result without its tags, a space between cells."""
    (text,) = [widget.value for widget in everything(box) if isinstance(widget, ipywidgets.HTML)]
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", text)).split())


def test_at_first_the_single_view_of_the_first_net_is_compared_with_itself(shown):
    explore(NETS)
    one = chosen(NETS, nets=["resnet20"])
    low, high = one.interval
    assert said(shown[0]) == (
        f"resnet20: the picture as it is passes for each picture 1 top-1 error {one.error:.2f} % (95 % interval {low:.2f} to {high:.2f}) "
        f"loss {one.loss:.3f} against the reference +0.00 points, 0 pictures repaired and 0 broken McNemar's exact p 1 "
        f"Reference: resnet20: the picture as it is, {one.error:.2f} %"
    )


def test_every_control_changes_what_is_averaged(shown):
    explore(NETS)
    (box,) = shown
    options = {"nets": ["resnet20"]}

    def set_to(description, value, **change):
        options.update(change)
        found(box, description).value = value
        now, first = chosen(NETS, **options), chosen(NETS, nets=["resnet20"])
        broken, repaired = int((first.right & ~now.right).sum()), int((~first.right & now.right).sum())
        p = binomtest(repaired, repaired + broken).pvalue if repaired + broken else 1
        assert f"{now.passes} top-1 error {now.error:.2f} %" in said(box) and f"loss {now.loss:.3f} " in said(box)
        assert f"{repaired} pictures repaired and {broken} broken McNemar's exact p {p:.2g} " in said(box)

    set_to("resnet56", True, nets=["resnet20", "resnet56"])
    set_to("Crops", 5, crops=5, pad=2)
    set_to("Padding of the crops", 4, pad=4)
    set_to("Mirror images as well", True, mirrored=True)
    set_to("40 pixels", True, shorts=[40])
    set_to("48 pixels", True, shorts=[40, 48])
    set_to("Dense windows averaged", "pooled", rule="pooled")
    set_to("Views and nets averaged", "logits", average="logits")
    set_to("Crops", 0, crops=0)
    set_to("resnet20", False, nets=["resnet56"])
    assert said(box).startswith("resnet56: dense passes at 40, 48 pixels (windows averaged on the last map), with mirror images, averaged before")


def test_a_kept_choice_is_what_the_next_ones_are_compared_with(shown):
    explore(NETS)
    (box,) = shown
    found(box, "Mirror images as well").value = True
    found(box, "Keep as reference").click()
    kept = chosen(NETS, nets=["resnet20"], mirrored=True)
    assert "+0.00 points, 0 pictures repaired" in said(box)
    found(box, "Mirror images as well").value = False
    now = chosen(NETS, nets=["resnet20"])
    assert f"against the reference {now.error - kept.error:+.2f} points" in said(box)
    assert said(box).endswith(f"Reference: resnet20: the picture as it is, with mirror images, averaged after the softmax, {kept.error:.2f} %")


def test_what_is_lacking_or_not_chosen_is_said_and_cannot_be_kept(shown):
    explore(POOR)
    (box,) = shown
    keep = found(box, "Keep as reference")
    found(box, "resnet44").value = True
    found(box, "Mirror images as well").value = True
    assert said(box) == "resnet44 has no recorded mirror image of a view of the picture as it is: choose other views or nets." and keep.disabled
    keep.click()
    found(box, "resnet44").value = False
    assert "Reference: resnet20: the picture as it is," in said(box) and not keep.disabled
    found(box, "resnet20").value = False
    assert said(box) == "No net is chosen: choose one or several."
    found(box, "resnet20").value, found(box, "Crops").value = True, 0
    assert said(box) == "No view is chosen: choose crops, dense passes or both."


def test_controls_are_those_of_the_recorded_views(shown):
    explore({"resnet44": POOR["resnet44"]})
    explore(NETS)
    few, all_of_them = ([getattr(one, "description", "") for one in everything(box)] for box in shown)
    assert "Padding of the crops" not in few and "Dense windows averaged" not in few
    assert [name for name in all_of_them if name.endswith("pixels")] == ["32 pixels", "40 pixels", "48 pixels"]
    assert found(shown[0], "Crops").options == (("none", 0), ("centre only", 1))
    assert found(shown[1], "Padding of the crops").options == (("2 pixels", 2), ("4 pixels", 4))
    assert [value for _, value in found(shown[1], "Dense windows averaged").options] == ["softmax", "pooled"]
    assert found(shown[1], "Padding of the crops").disabled and found(shown[1], "Dense windows averaged").disabled
    found(shown[1], "Crops").value, found(shown[1], "40 pixels").value = 5, True
    assert not found(shown[1], "Padding of the crops").disabled and not found(shown[1], "Dense windows averaged").disabled


def test_a_nets_name_is_text(shown):
    explore({"<b>20</b>": NETS["resnet20"]})
    assert said(shown[0]).startswith("<b>20</b>: the picture as it is")


@pytest.mark.parametrize("why", ["silenced", "no kernel"])
def test_where_nobody_can_see_it_one_line_stands_for_it(why, shown, capsys, monkeypatch):
    name, value = ("silenced", True) if why == "silenced" else ("in_notebook", False)
    monkeypatch.setattr(view_explorer, name, lambda: value)
    explore(NETS)
    assert capsys.readouterr().out == f"{view_explorer.STATIC}\n" and not shown


def test_it_leaves_torch_alone():
    code = (
        "import sys\nimport numpy as np\nimport pandas as pd\n"
        "from resnet_nb.live import view_explorer\nfrom resnet_nb.records.views import COLUMNS, Views\n"
        "table = pd.DataFrame([('crop', 0, 0, 'centre', False, '')], columns=list(COLUMNS))\n"
        "one = Views(np.eye(3, dtype=np.float32)[:, None], np.arange(3), ('a', 'b', 'c'), table, {})\n"
        "view_explorer.in_notebook, view_explorer.silenced = lambda: True, lambda: False\nview_explorer.explore({'net': one})\n"
        "assert 'torch' not in sys.modules"
    )
    search = os.pathsep.join(map(str, (ROOT / "tests" / "without_torch", ROOT)))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": search}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
