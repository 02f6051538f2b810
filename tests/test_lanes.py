"""Several runs side by side in one process are the runs that each would be alone, and what ends one of them ends no other."""

import json
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
import torch
from test_studies import until

from resnet_nb import records
from resnet_nb.models import build_model
from resnet_nb.models.weights import read_tensors
from resnet_nb.runs import sweep as sweeps
from resnet_nb.runs import workers
from resnet_nb.runs.studies import Study
from resnet_nb.runs.train_command import answer_of
from resnet_nb.training import step

RECIPE = "quick-digits,iterations=12,drops=none,curve_every=4,evaluations=3"
NETS = [("plain8", ()), ("resnet8", ("--init", "he-fan-out")), ("plain14", ()), ("resnet14-B", ()), ("plain8", ("--seed", "1"))]


def study(folder: Path, *more: str) -> Study:
    common = ("--width", "4", "--recipe", RECIPE, "--device", "cpu", *more)
    return Study("a-study", tuple(("train", net, *common, *own, "--out", str(folder / str(place))) for place, (net, own) in enumerate(NETS)))


def lanes(listed: Study, count: int = 3, **options: object) -> list[sweeps.Outcome]:
    return sweeps.sweep(listed, jobs=count, lanes=count, **options)


def result(folder: Path) -> tuple[dict, dict]:
    """A run's weights, and its record without what names its time and the state of the checkout."""
    record = json.loads((folder / "record.json").read_text())
    for name in ("started", "wall_seconds", "resumed_at", "commit", "modified"):
        del record["provenance"][name]
    return torch.load(folder / "weights.pt", weights_only=True), {name: value for name, value in record.items() if name != "digest"}


def assert_same(ours: Path, theirs: Path) -> None:
    for place in range(len(NETS)):
        (weights, record), (others, other) = result(ours / str(place)), result(theirs / str(place))
        assert record == other and record["provenance"]["deterministic"]
        assert list(weights) == list(others) and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the same runs, one after another."""
    folder = tmp_path_factory.mktemp("alone")
    before = torch.get_num_threads()
    for words in study(folder, "--threads", "1").commands:
        assert answer_of(words)[1] == ""
    torch.set_num_threads(before)
    return folder


def test_lanes_of_one_process_end_as_each_run_alone_to_the_last_bit(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(sweeps, "Worker", lambda *how: begun.append(workers.Worker(*how)) or begun[-1])
    assert {outcome.kind for outcome in lanes(study(tmp_path))} == {"done"} and len(begun) == 1
    assert_same(tmp_path, alone)


def test_lanes_that_are_stopped_go_on_to_the_same_weights(alone: Path, tmp_path: Path) -> None:
    stopped = lanes(study(tmp_path), deadline=0)
    assert [(outcome.kind, outcome.iteration) for outcome in stopped] == [("stopped", 1)] * 3 + [("left", 0)] * 2
    assert all((tmp_path / str(place) / "checkpoint.pt").exists() for place in range(3))
    assert {outcome.kind for outcome in lanes(study(tmp_path))} == {"done"}
    resumed = [records.read_record(tmp_path / str(place) / "record.json")["provenance"]["resumed_at"] for place in range(5)]
    assert resumed == [[1], [1], [1], [], []]
    assert_same(tmp_path, alone)


def test_a_lane_that_diverges_or_lacks_its_data_ends_no_other(tmp_path: Path) -> None:
    good = study(tmp_path).commands[0]
    diverges = tuple("quick-digits,rate=1e30,curve_every=2" if word == RECIPE else word for word in study(tmp_path / "far").commands[2])
    lost = (*study(tmp_path / "lost").commands[1], "--data", "cifar10", "--data-root", str(tmp_path / "nowhere"))
    outcomes = lanes(Study("a-study", (diverges, lost, good)))
    assert [outcome.kind for outcome in outcomes] == ["failed", "failed", "done"]
    assert "training diverged" in outcomes[0].said and "nowhere" in outcomes[1].said


def long(folder: Path) -> Study:
    options = ("--width", "2", "--recipe", "quick-digits,iterations=100000", "--checkpoint-seconds", "0", "--device", "cpu")
    return Study("a-study", tuple(("train", "plain8", *options, "--seed", str(seed), "--out", str(folder / str(seed))) for seed in range(2)))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("killed", (True, False), ids=("killed", "terminated"))
def test_of_a_process_that_is_ended_every_lane_says_so_and_has_its_last_checkpoint(killed: bool, tmp_path: Path) -> None:
    def end() -> None:
        for seed in range(2):
            until(tmp_path / str(seed) / "checkpoint.pt")
        for child in multiprocessing.active_children():
            child.kill() if killed else child.terminate()

    ending = threading.Thread(target=end)
    ending.start()
    outcomes = lanes(long(tmp_path), 2)
    ending.join()
    assert [outcome.kind for outcome in outcomes] == 2 * ["failed" if killed else "stopped"]
    assert all((workers.KILLED in outcome.said) == killed and outcome.iteration > 0 for outcome in outcomes)
    for place, outcome in enumerate(outcomes):
        kept = read_tensors(tmp_path / str(place) / "checkpoint.pt")["state"]["step"]
        assert outcome.iteration - 1 <= kept <= outcome.iteration


def test_a_process_that_was_killed_between_runs_or_beside_others_is_begun_anew_and_no_run_is_forgotten(tmp_path: Path) -> None:
    worker = workers.Worker(float("inf"))
    try:
        first, second = worker.lanes[:2]
        first.begin(long(tmp_path).commands[0])
        until(tmp_path / "0" / "checkpoint.pt")
        worker.process.kill()
        worker.process.join()
        second.begin(study(tmp_path / "other").commands[0])
        found, end = [], time.monotonic() + 120
        while len(found) < 2 and time.monotonic() < end:
            found += workers.wait([worker], 0.5)
        assert [(ended.lane, ended.kind) for ended in found] == [(first, "failed"), (second, "done")] and found[0].reached > 0
    finally:
        worker.close()


def test_an_interrupt_stops_every_lane_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> list:
        for seed in range(2):
            until(tmp_path / str(seed) / "checkpoint.pt")
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(sweeps, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lanes(long(tmp_path), 2)
    assert not multiprocessing.active_children()
    assert all((tmp_path / str(seed) / "checkpoint.pt").exists() and not (tmp_path / str(seed) / "record.json").exists() for seed in range(2))


def test_lanes_share_what_was_read_and_other_data_take_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_nb import data

    read, held = [], workers._Held()
    monkeypatch.setattr(data, "load_data", lambda *place, **options: read.append(place) or data.load.load_data(*place, **options))
    asked = torch.device("cpu"), "digits", None
    found = []
    threads = [threading.Thread(target=lambda: found.append(held.read(*asked, split="all"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 1 and all(one is found[0] for one in found)
    other = held.read(*asked, split="1000/400")
    assert len(read) == 2 and len(other.train) == 1000 and len(held.read(*asked, split="all").train) == len(found[0].train)


def test_nets_that_are_built_in_several_threads_have_the_weights_of_their_seed() -> None:
    def built(seed: int) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten() for parameter in build_model("torchvision:squeezenet1_1", seed=seed).parameters()])

    alone = [built(seed) for seed in range(6)]
    together: dict[int, torch.Tensor] = {}
    threads = [threading.Thread(target=lambda seed=seed: together.update({seed: built(seed)})) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[seed], alone[seed]) for seed in range(6))


def test_a_thread_keeps_its_streams_however_many_runs_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or object())
    found, device = [], torch.device("cuda")

    def lane() -> None:
        for _ in range(40):
            found.append((step.own_stream(device), step.own_stream(device, "graphs")))

    threads = [threading.Thread(target=lane) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6 and len({stream for pair in found for stream in pair}) == 6
