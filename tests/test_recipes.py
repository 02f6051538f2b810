"""A recipe's name says what it is, changes included, and a run may end where its loss is low enough."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import small_data
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.errors import InputError
from resnet_nb.recipes import get_recipe
from resnet_nb.runs import runs


def test_a_changed_recipe_keeps_its_changes_in_its_name() -> None:
    recipe = get_recipe("quick-digits,iterations=600,rate=0.02,drops=300+450,flip=true")
    assert (recipe.rate, recipe.drops, recipe.iterations, recipe.flip) == (0.02, (300, 450), 600, True)
    assert recipe.name == "quick-digits,iterations=600,rate=0.02,drops=300+450,flip=true"
    assert get_recipe(recipe.name) == recipe
    assert get_recipe("quick-digits,rate=0.020,drops=none").name == "quick-digits,rate=0.02,drops=none"


@given(
    rate=st.floats(1e-4, 10),
    drops=st.sets(st.integers(1, 10**6), max_size=4).map(sorted).map(tuple),
    iterations=st.integers(1, 10**6),
    border=st.sampled_from(("mean", "black")),
    scales=st.sets(st.integers(1, 999), max_size=4).map(sorted).map(tuple),
)
def test_a_name_read_again_is_the_same_recipe(rate: float, drops: tuple, iterations: int, border: str, scales: tuple) -> None:
    shown, sides = ("+".join(map(str, numbers)) or "none" for numbers in (drops, scales))
    recipe = get_recipe(f"short-cifar,border={border},drops={shown},iterations={iterations},normalise=channel-mean,rate={rate!r},scales={sides}")
    assert (recipe.rate, recipe.drops, recipe.iterations, recipe.border, recipe.scales) == (rate, drops, iterations, border, scales)
    assert get_recipe(recipe.name) == recipe


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quick-digits,speed=3", "no field 'speed'"),
        ("quick-digits,rate=fast", "cannot be 'fast': its value is like 0.1"),
        ("quick-digits,rate=0", "greater than 0"),
        ("quick-digits,drops=a+b", "like 32000[+]48000"),
        ("quick-digits,flip=1", "like true"),
        ("quick-digits,border=white", "choose one of mean, black"),
        ("quick-digits,iterations=0", "at least 1"),
        ("quick-digits,", "no field ''"),
        ("quick-digits,rate=nan", "greater than 0"),
        ("quick-digits,momentum=5", "less than 1"),
        ("quick-digits,clip_norm=inf", "clip_norm is inf: it is a finite number"),
        ("quick-digits,stop_at_loss=-1", "stop_at_loss is -1.0: .* at least 0"),
        ("quick-digits,average_batches=0", "at least 1"),
        ("quick-digits,drops=5+3", "drops is 5[+]3: iterations in rising order"),
        ("quick-digits,normalise=channel-mean,scales=20+16", "scales is 20[+]16: sides in pixels in rising order, or none"),
        ("quick-digits,normalise=channel-mean,scales=16+16", "in rising order"),
        ("quick-digits,normalise=channel-mean,scales=0+16", "in rising order"),
        ("quick-digits,normalise=channel-mean,scales=16x20", "like 32[+]40[+]48"),
        ("quick-digits,scales=16+20", "scales needs a mean that fits images of every side: add normalise=channel-mean or"),
        ("quick-digits,rate=0.1,rate=0.2", "a field twice"),
    ],
)
def test_a_change_that_is_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        get_recipe(name)


def test_a_run_may_end_at_a_loss_and_its_record_says_where(tmp_path: Path) -> None:
    recipe = get_recipe("quick-digits,iterations=400,drops=none,stop_at_loss=0.2,batch_size=32")
    planned = runs.plan("resnet8", recipe, width=4)
    record, _, _ = runs.train(planned, small_data(), tmp_path / "run", device="cpu", progress=False)
    losses = record["curve"]["loss"]
    assert losses[-1] < 0.2 <= min(losses[:-1])
    assert record["final"]["iteration"] == record["curve"]["iteration"][-1] < record["iterations"] == 400
    records.validate(record)
    assert "stop_at_loss=0.2" in record["command"]
    again, _, new = runs.train(planned, small_data(), tmp_path / "run", device="cpu", progress=False)
    assert not new and again == record


def test_fields_that_came_later_leave_earlier_records_as_they_are() -> None:
    assert "stop_at_loss" not in get_recipe("quick-digits").as_dict()
    assert get_recipe("quick-digits,stop_at_loss=0.5").as_dict()["stop_at_loss"] == 0.5
    assert "scales" not in get_recipe("quick-digits,scales=none").as_dict()


def test_a_run_with_scales_is_recorded_and_its_command_repeats_it(tmp_path: Path) -> None:
    name = "quick-digits,iterations=20,drops=none,normalise=channel-mean,scales=16+20+24"
    out = tmp_path / "run"
    ran = CliRunner().invoke(app, ["train", "resnet8", "--width", "4", "--data", "digits", "--recipe", name, "--device", "cpu", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    record = records.read_record(out / "record.json")
    records.validate(record)
    assert record["recipe"]["scales"] == [16, 20, 24] and f"--recipe {name}" in record["command"]
    assert record["curve"]["iteration"] == [10, 20] and record["curve"]["loss"][1] < record["curve"]["loss"][0]
    record["recipe"]["scales"] = [16.5]
    with pytest.raises(InputError, match="scales"):
        records.validate(record)
