"""A grown net begins with the shallower net's function, and such a run is repeated by its command alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from small_data import small_data

from resnet_nb import records
from resnet_nb.data import Data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.models import build_model, parse
from resnet_nb.protocols.evaluate import scores
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.records import places
from resnet_nb.records.kept import read_weights_file, weights_file
from resnet_nb.runs import grow, runs
from resnet_nb.runs.plans import Plan
from resnet_nb.training.train import RunStopped, fit

RECIPE = get_recipe("quick-digits,iterations=6,drops=none,curve_every=2,evaluations=2,batch_size=16")
PLANNED = runs.plan("plain20", RECIPE, 1, width=4, init="grown:plain8")


@pytest.fixture(autouse=True)
def short_first_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shallow net's own recipe is a short one here."""
    monkeypatch.setattr(grow, "get_recipe", lambda data: RECIPE)


def grown(family: str, data: Data) -> torch.nn.Module:
    spec = parse(f"{family}20")
    return grow.build(f"{family}8", spec, data, width=4, seed=1, device="cpu", progress=False)


@pytest.mark.parametrize("family", ("plain", "resnet"))
def test_it_computes_what_the_shallow_net_computes_in_both_modes(family: str) -> None:
    data = small_data()
    shallow = fit(build_model(f"{family}8", width=4, in_channels=1, classes=4, seed=1), data, RECIPE, 1, "cpu", progress=False)
    net = grown(family, data)
    assert len(net.layer1) == 3
    images = data.train.images
    torch.testing.assert_close(scores(net, images, shallow.normalisation), scores(shallow.net, images, shallow.normalisation))
    normalised = Normalisation.measured(data.train, "pixel-mean")(images)
    with torch.no_grad():
        torch.testing.assert_close(net.train()(normalised), shallow.net.train()(normalised), rtol=1e-3, atol=1e-4)


def test_a_grown_run_records_how_it_began_and_repeats(tmp_path: Path) -> None:
    first, second = (runs.train(PLANNED, small_data(), tmp_path / name, device="cpu", progress=False)[0] for name in "ab")
    assert first["model"]["init"] == "grown:plain8" and "--init grown:plain8" in first["command"]
    assert records.run_name(first).count("grown-plain8") == 1
    assert first["curve"] == second["curve"] and first["final"] == second["final"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of a grown run that nothing stopped."""
    return runs.train(PLANNED, small_data(), tmp_path / "whole", device="cpu", progress=False)[1]


def test_a_run_is_the_shallow_one_trained_in_memory_deepened_and_trained_on(whole: Path) -> None:
    data = small_data()
    done = fit(grown("plain", data), data, RECIPE, 1, "cpu", progress=False)
    assert_same(weights(whole), done.net.state_dict())


def test_a_grown_run_that_is_stopped_at_every_step_of_both_trainings_ends_as_one_that_is_not(whole: Path, tmp_path: Path) -> None:
    asked, stops = [], []

    def at_once(step: int) -> bool:
        asked.append(step)
        return True

    while not (tmp_path / "run" / "record.json").exists():
        try:
            record, folder, _ = runs.train(PLANNED, small_data(), tmp_path / "run", device="cpu", progress=False, until=at_once)
        except RunStopped as stopped:
            stops.append((stopped.beginning, stopped.iteration))
            assert ("of the plain8 that it begins with: the same command goes on" in str(stopped)) == (stopped.beginning == "plain8")
    assert stops == [("plain8", step) for step in range(1, 6)] + [(None, step) for step in range(1, 6)]
    assert asked == [0] * 6 + list(range(1, 7))  # of the run's own steps there are none as long as the shallow net is trained
    assert record["provenance"]["deterministic"] and record["provenance"]["resumed_at"] == [1, 2, 3, 4, 5]
    assert_same(weights(folder), weights(whole))
    (shallow,) = (folder / "shallow").iterdir()
    assert records.read_record(shallow / "record.json")["provenance"]["resumed_at"] == [1, 2, 3, 4, 5]


def test_runs_that_begin_with_one_net_train_it_once_even_side_by_side(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun, real = [], runs.fit

    def noted(net: torch.nn.Module, *arguments: object, **options: object) -> object:
        begun.append(len(net.layer1))
        return real(net, *arguments, **options)

    monkeypatch.setattr(runs, "fit", noted)
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.01)
    plans = [PLANNED, *(runs.plan(f"plain{depth}", RECIPE, 1, width=4, init="grown:plain8") for depth in (8, 14))]
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda planned: runs.train(planned, small_data(), device="cpu", progress=False), plans))
    assert sorted(begun) == [1, 1, 2, 3] and all(new for *_, new in done)  # the shallow net, and the three
    assert len(list((tmp_path / "runs" / "shallow").iterdir())) == 1
    assert_same(weights(done[0][1]), weights(whole))


def test_who_waits_for_another_to_train_the_net_heeds_the_time(tmp_path: Path) -> None:
    runs.train(PLANNED, small_data(), tmp_path, device="cpu", progress=False)
    (shallow,) = (tmp_path / "shallow").iterdir()
    (tmp_path / "record.json").unlink()
    with FileLock(shallow / ".lock"), pytest.raises(RunStopped, match="of the plain8 that it begins with"):
        runs.train(PLANNED, small_data(), tmp_path, device="cpu", progress=False, until=lambda step: True)


def test_what_was_computed_otherwise_is_not_taken(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole / "record.json").unlink()
    monkeypatch.setattr(runs, "conditions", lambda *how: {"threads": 64})
    runs.train(PLANNED, small_data(), whole, device="cpu", progress=False)
    assert len(list((whole / "shallow").iterdir())) == 2


def test_fresh_trains_the_shallow_net_anew_too(whole: Path) -> None:
    (shallow,) = (whole / "shallow").iterdir()
    before = weights(whole)
    (shallow / "record.json").write_text("{")
    (whole / "record.json").unlink()
    with pytest.raises(InputError):
        runs.train(PLANNED, small_data(), whole, device="cpu", progress=False)
    runs.train(PLANNED, small_data(), whole, device="cpu", progress=False, fresh=True)
    assert_same(weights(whole), before)


@pytest.mark.parametrize(
    ("model", "channels", "recipe", "words"),
    [
        ("torchvision:alexnet", 3, RECIPE, "cannot take images of 8x8 pixels"),
        ("plain8", 1, RECIPE.replaced(scales=(4, 8), normalise="channel-mean"), "scales begins with 4, less than the images' 8x8"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    model: str, channels: int, recipe: Recipe, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        runs.train(runs.plan(model, recipe), small_data(channels=channels), tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("model", "init"), [("plain20", "grown:resnet8"), ("plain8", "grown:plain20"), ("resnet20-B", "grown:resnet8")])
def test_a_net_grows_from_its_own_kind_alone(model: str, init: str) -> None:
    with pytest.raises(InputError, match="grown from a net of its own kind"):
        grow.shallow_net(init, model)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder whose study `first` keeps the weights of plain-8, seed 1, and holds seed 2 without them."""
    results = tmp_path / "results"
    monkeypatch.setattr(places, "results_dir", lambda: results)
    monkeypatch.setattr(records, "check_writable", lambda: None)
    for seed, keep in ((1, True), (2, False)):
        shallow = runs.plan("plain8", RECIPE, seed, width=4)
        runs.train(shallow, small_data(), tmp_path / f"s{seed}", device="cpu", progress=False, study="first", keep_weights=keep)
    return results


def from_study(seed: int = 1, width: int = 4, study: str = "first") -> Plan:
    return runs.plan("plain20", RECIPE, seed, width=width, init=f"grown:plain8@{study}")


def test_a_net_grown_from_a_study_begins_with_the_weights_kept_there_and_trains_no_other(kept: Path, tmp_path: Path) -> None:
    data = small_data()
    record, folder, _ = runs.train(from_study(), data, tmp_path / "run", device="cpu", progress=False, study="second")
    (file,) = (kept / "first").glob("*.weights.npz")
    assert record["model"]["init_sha256"] == checksum(file) and "--init grown:plain8@first" in record["command"]
    assert not (folder / "shallow").exists() and (kept / "second" / f"{records.run_name(record)}.json").exists()
    # the same by hand: what was trained, rounded as the file rounds it, deepened and trained on
    trained = {name: w.half().float() if w.ndim > 1 else w for name, w in weights(tmp_path / "s1").items()}
    by_hand = grow.deepened("plain8", parse("plain20"), data, width=4, seed=1, weights=trained)
    assert_same(weights(folder), fit(by_hand, data, RECIPE, 1, "cpu", progress=False).net.state_dict())


def test_other_weights_in_the_study_are_another_run(kept: Path, tmp_path: Path) -> None:
    (file,) = (kept / "first").glob("*.weights.npz")
    again = {"device": "cpu", "progress": False}
    with pytest.raises(RunStopped):
        runs.train(from_study(), small_data(), tmp_path / "run", until=lambda step: step == 2, **again)
    arrays, mean, about = read_weights_file(file)
    file.write_bytes(weights_file({name: array + 1 for name, array in arrays.items()}, mean, about))
    with pytest.raises(InputError, match="another run"):
        runs.train(from_study(), small_data(), tmp_path / "run", **again)


@pytest.mark.parametrize("change", [{"seed": 2}, {"seed": 3}, {"width": 8}, {"study": "absent"}])
def test_weights_that_no_study_keeps_are_named_before_anything_is_written(kept: Path, tmp_path: Path, change: dict) -> None:
    with pytest.raises(InputError, match="holds no weights of a plain8 of seed .* leave @.* out"):
        runs.train(from_study(**change), small_data(), tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()
