"""A recipe's name says what it is, changes included, and a run may end where its loss is low enough."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_data import small_data

from resnet_nb import records, runs
from resnet_nb.errors import InputError
from resnet_nb.recipes import get_recipe


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
)
def test_a_name_read_again_is_the_same_recipe(rate: float, drops: tuple, iterations: int, border: str) -> None:
    shown = "+".join(map(str, drops)) or "none"
    recipe = get_recipe(f"short-cifar,border={border},drops={shown},iterations={iterations},rate={rate!r}")
    assert (recipe.rate, recipe.drops, recipe.iterations, recipe.border) == (rate, drops, iterations, border)
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
        ("quick-digits,drops=5+3", "in rising order"),
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
