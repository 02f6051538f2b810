"""The explorer of causes shows those of `resnet-nb diagnose` in their order, in a live notebook and on paper."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import ipywidgets
import pandas as pd
import pytest
from widget_examples import displayed_by, everything, found

from resnet_nb.diagnose import diagnosing, load_causes
from resnet_nb.errors import InputError
from resnet_nb.live import cause_explorer
from resnet_nb.live.cause_explorer import WIDTHS, explore, markdown, table

ROOT = Path(__file__).parents[1]
TELLING = [(20.74, 24.7), (24.7, 23.87)]  # published, measured
KNOWN = {"model": "resnet50", "data": "imagenet", "protocol": "1-crop"}


def fitting(published: float, measured: float, **known: str | None) -> list[dict]:
    """What the command line lists, of known size."""
    names = {"model": None, "data": None, "protocol": None} | known
    return [row for row in diagnosing.fitting(measured, published, **names) if row["fits"] == "size and sign"]


@pytest.mark.parametrize("numbers", TELLING)
@pytest.mark.parametrize("known", [{}, KNOWN, {"group": "training"}, {"data": "cifar10"}])
def test_the_table_holds_the_causes_of_the_command_line_in_its_order(numbers, known):
    found, expected = table(*numbers, **known), fitting(*numbers, **known)
    assert list(found["cause"]) == [row["cause"] for row in expected] and list(found.columns) == list(WIDTHS)
    assert list(found["one-line test"]) == [row["test"] for row in expected]
    for shown, row in zip(found.to_dict("records"), expected, strict=True):
        assert shown["typical effect"] == f"{row['effect']} points, {row['evidence']}"
        first, *others = row["source"].split("; ")
        assert shown["source"] == (f"{first} and {len(others)} more" if others else first)


def test_the_telling_cases_name_protocol_and_weights():
    multi_scale = "One number is fully convolutional at five scales, the other is not."
    assert multi_scale in set(table(20.74, 24.7, **KNOWN)["cause"]) and len(table(20.74, 24.7, **KNOWN)) <= 12
    assert multi_scale not in set(table(24.7, 23.87, **KNOWN)["cause"])
    assert "Two sets of weights go by one name." in set(table(24.7, 23.87, **KNOWN)["cause"])


def shown_text(cell: str) -> str:
    """A Markdown cell as a reader sees it, its lines joined without the spaces at their ends."""
    return re.sub(r"\\(.)", r"\1", cell.replace("<br>", "")).replace(" ", "")


def test_markdown_shows_every_word_within_a_hundred_characters():
    causes = pd.DataFrame(
        {
            "cause": [cause.cause for cause in load_causes()],
            "typical effect": [f"{cause.effects[0]} points, {cause.effects[0].evidence}" for cause in load_causes()],
            "one-line test": [cause.test for cause in load_causes()],
            "source": ["; ".join(cause.sources) for cause in load_causes()],
        }
    )
    head, rule, *lines = markdown(causes).splitlines()
    assert (head, rule) == ("| cause | typical effect | one-line test | source |", "| --- | --- | --- | --- |") and len(lines) == 39
    assert sum(WIDTHS.values()) <= 100
    for line, row in zip(lines, causes.to_dict("records"), strict=True):
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ")
        assert [shown_text(cell) for cell in cells] == [text.replace(" ", "") for text in row.values()]
        for cell, width in zip(cells, WIDTHS.values(), strict=True):
            assert max(len(re.sub(r"\\(.)", r"\1", part)) for part in cell.split("<br>")) <= width


def test_markdown_keeps_signs_from_being_read_as_markup():
    row = dict.fromkeys(WIDTHS, "") | {"cause": "a|b *c* $d$ <e> [f] x_y `g` \\h"}
    assert r"a\|b \*c\* \$d\$ \<e> \[f\] x\_y" in markdown(pd.DataFrame([row]))


def test_an_address_breaks_at_its_stroke_and_keeps_its_letters():
    row = dict.fromkeys(WIDTHS, "") | {"source": "facebookarchive/fb.resnet.torch README"}
    assert "facebookarchive/<br>fb.resnet.torch README" in markdown(pd.DataFrame([row]))


def test_no_cause_is_a_sentence():
    assert markdown(table(100, 0)) == "No known cause fits in size and sign."


@pytest.mark.parametrize("numbers", [(float("nan"), 5), (5, 101), (-1, 5)])
def test_what_is_no_error_in_percent_is_refused(numbers):
    with pytest.raises(InputError, match="give a number from 0 to 100"):
        table(*numbers)


# The fields


@pytest.fixture
def shown(monkeypatch):
    """What explore() displays, in a notebook that is live."""
    return displayed_by(cause_explorer, monkeypatch)


def page(box: ipywidgets.Widget) -> str:
    (text,) = [widget.value for widget in everything(box) if isinstance(widget, ipywidgets.HTML)]
    return text


def cells(box: ipywidgets.Widget) -> list[list[str]]:
    """The rows of the table that is shown, without its head."""
    return [[html.unescape(cell) for cell in re.findall("<td>(.*?)</td>", line)] for line in page(box).split("<tr>")[1:]]  # the head's tag is longer


def causes(box: ipywidgets.Widget) -> list[str]:
    return [line[0] for line in cells(box)]


def test_numbers_are_typed_as_people_type_them(shown):
    explore()
    (box,) = shown
    assert page(box) == "Type the published top-1 error in percent, a number from 0 to 100 such as 24.7."
    found(box, "Published error (%)").value = "24,7 %"
    assert page(box) == "Type the measured top-1 error in percent, a number from 0 to 100 such as 24.7."
    found(box, "Measured error (%)").value = " 23.87"
    assert "-0.83 points" in page(box) and causes(box) == [row["cause"] for row in fitting(24.7, 23.87)]


@pytest.mark.parametrize(
    "field, name, value, measured",
    [
        ("Data", "data", "cifar", 23.87), ("Model", "model", "resnet18", 24.2), ("Measured under", "protocol", "10-crop", 26.5),
        ("Causes", "group", "training", 23.87),
    ],
)  # fmt: skip
def test_what_is_known_leaves_out_causes(shown, field, name, value, measured):
    explore(24.7, measured)
    before = causes(shown[0])
    assert before == [row["cause"] for row in fitting(24.7, measured)]
    found(shown[0], field).value = value
    assert causes(shown[0]) == [row["cause"] for row in fitting(24.7, measured, **{name: value})] and set(causes(shown[0])) != set(before)


def test_what_is_given_stands_in_the_fields(shown):
    explore(20.74, 24.7, model="resnet50", data="imagenette", protocol="1-crop")
    names = ("Published error (%)", "Measured error (%)", "Model", "Data", "Measured under", "Causes")
    assert [found(shown[0], name).value for name in names] == ["20.74", "24.7", "resnet50", "imagenette", "1-crop", ""]


def test_what_is_not_said_is_written_in_its_field(shown):
    explore()
    dropdowns = [found(shown[0], name) for name in ("Data", "Measured under", "Causes")]
    assert [dropdown.label for dropdown in dropdowns] == ["not said", "not said", "all"]
    for dropdown in dropdowns:
        dropdown.index = 1
        dropdown.index = 0
    assert [dropdown.label for dropdown in dropdowns] == ["not said", "not said", "all"]


def test_causes_of_unknown_size_come_on_request_and_last(shown):
    explore(20.74, 24.7, **KNOWN)
    (box,) = shown
    fits = causes(box)
    found(box, "Also causes whose size nobody measured").value = True
    everything_that_fits = [row["cause"] for row in diagnosing.fitting(24.7, 20.74, **KNOWN)]
    assert causes(box) == everything_that_fits and causes(box)[: len(fits)] == fits and len(causes(box)) > len(fits)
    more = len(everything_that_fits) - len(fits)
    assert f"+3.96 points. {len(fits)} of 39 known causes fit in size and sign, {more} more have no known size" in page(box)


def test_every_cause_has_its_effect_test_and_all_its_sources(shown):
    explore(20.74, 24.7, data="imagenet")
    head = re.findall("<th>(.*?)</th>", page(shown[0]))
    assert head == ["cause", "typical effect (points)", "seen on", "one-line test", "source", "group"]
    expected = [
        [row["cause"], f"{row['effect']}, {row['evidence']}", row["seen_on"], row["test"], row["source"], row["group"]]
        for row in fitting(20.74, 24.7, data="imagenet")
    ]
    assert cells(shown[0]) == expected


@pytest.mark.parametrize("typed", ["", "good", "24.7.1", "101", "-3", "nan", "inf", "<b>"])
def test_a_bad_number_is_a_sentence(shown, typed):
    explore(20.74, 24.7)
    found(shown[0], "Measured error (%)").value = typed
    assert "number from 0 to 100" in page(shown[0]) and "measured" in page(shown[0]) and "<" not in page(shown[0])


def test_no_cause_is_said_by_the_sentence_alone(shown):
    explore(100, 0)
    assert causes(shown[0]) == [] and "0 of 39 known causes fit" in page(shown[0])


@pytest.mark.parametrize("why", ["silenced", "no kernel"])
def test_where_nobody_can_see_it_one_line_stands_for_it(why, shown, capsys, monkeypatch):
    name, value = ("silenced", True) if why == "silenced" else ("in_notebook", False)
    monkeypatch.setattr(cause_explorer, name, lambda: value)
    explore()
    assert capsys.readouterr().out == f"{cause_explorer.STATIC}\n" and not shown


def test_it_leaves_torch_alone():
    code = (
        "import sys\nfrom resnet_nb.live import cause_explorer\ncause_explorer.markdown(cause_explorer.table(20.74, 24.7))\n"
        "cause_explorer.in_notebook, cause_explorer.silenced = lambda: True, lambda: False\ncause_explorer.explore(20.74, 24.7)\n"
        "assert 'torch' not in sys.modules"
    )
    search = os.pathsep.join(map(str, (ROOT / "tests" / "without_torch", ROOT)))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": search}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
