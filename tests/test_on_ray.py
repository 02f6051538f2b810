"""A study on a Ray cluster of two nodes on this machine's loopback, one of which is lost: every run is recorded, and recorded once."""

import _thread
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from record_examples import training_record
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.errors import InputError
from resnet_nb.records import places
from resnet_nb.runs import on_ray
from resnet_nb.runs.run_records import command
from resnet_nb.runs.studies import Study

NO_RAY = "Ray is not installed: pip install 'resnet-nb[ray]'"
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
needs_nodes = pytest.mark.skipif(os.name == "nt", reason="Ray's own cluster of several nodes on one machine is not for Windows")
SECONDS = 120  # that nothing here should take
NODE = {"node_ip_address": "127.0.0.1"}


def started(start: Callable[[], object]) -> object:
    """What `start` starts. Ray gives a node 30 seconds, which a busy machine may not have, so it may try three times."""
    for _ in range(2):
        with contextlib.suppress(Exception):  # each of Ray's processes fails in its own way
            return start()
    return start()


class Nodes:
    """A head node without CPUs, to which a test adds nodes of one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}  # to notice that a node is lost; five of them, as ever
        head = {**NODE, "num_cpus": 0, "include_dashboard": False, "_system_config": quick}
        self.cluster = started(lambda: Cluster(True, head_node_args=head))
        self.address = self.cluster.address

    def add(self, folder: Path) -> object:
        """A node that was started in `folder`."""
        before = Path.cwd()
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        try:
            return started(lambda: self.cluster.add_node(**NODE, num_cpus=1))
        finally:
            os.chdir(before)

    def lose(self, node: object) -> None:
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray then leaves 127.0.0.1 as it is; it reads this when it is imported
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        nodes = Nodes()
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def nodes(head: Nodes) -> Iterator[Nodes]:
    yield head
    for node in list(head.cluster.worker_nodes):
        head.lose(node)


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What this process files, into tmp_path/results; the nodes, which are other processes, know nothing of it."""
    names: list[str] = []
    file_record = records.file_record

    def noted(record: dict, study: str) -> Path:
        names.append(records.run_name(record))
        return file_record(record, study)

    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    monkeypatch.setattr(records, "file_record", noted)
    return names


def study(*models: str, seeds: int = 1) -> Study:
    options = ("--width", "2", "--recipe", "quick-digits", "--checkpoint-seconds", "0.1", "--study", "a-study")
    return Study("a-study", tuple(("train", model, *options, "--seed", str(seed)) for seed in range(seeds) for model in models))


def name(words: tuple[str, ...]) -> str:
    return f"{words[1]}-digits-quick-digits-w2-s{words[-1]}"


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("runs/*/checkpoint.pt"))


def until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there()


def begun(listed: Study, nodes: Nodes) -> Future:
    """The study in a thread: Ray's nodes can be added and removed in the main one alone."""
    return ThreadPoolExecutor(1).submit(on_ray.run_study, listed, address=nodes.address)


@needs_ray
@needs_nodes
def test_a_lost_node_loses_no_run_and_a_wrong_one_stops_no_other(nodes, filed, tmp_path, capfd):
    kept, lost = (nodes.add(tmp_path / folder) for folder in ("kept", "lost"))
    listed = study("plain8", "resnet8", "plain9")
    done = begun(listed, nodes)
    until(lambda: checkpoints(tmp_path / "lost"))
    nodes.lose(lost)
    failed = done.result(SECONDS)
    assert nodes.cluster.worker_nodes == {kept} and checkpoints(tmp_path / "lost")  # it was lost in the middle of a run
    *good, wrong = listed.commands
    assert [words for words, _ in failed] == [wrong] and "write plain8" in failed[0][1]
    assert sorted(filed) == sorted(map(name, good))
    found = records.load_study("a-study", tmp_path / "results")
    assert records.verify(tmp_path / "results") == [] and [records.run_name(record) for record in found] == sorted(map(name, good))
    assert all(record["provenance"]["resumed_at"] == [] for record in found)  # anew: the disk is lost with the node
    said = capfd.readouterr()
    assert said.out == ""  # Ray's logs are elsewhere
    assert sorted(line.partition(": ")[0] for line in said.err.splitlines()) == [f"a-study {number} of 3" for number in (1, 2, 3)], said.err


@needs_ray
@needs_nodes
def test_on_a_shared_disk_a_run_goes_on_from_its_checkpoint_as_soon_as_there_is_a_node(nodes, filed, tmp_path):
    lost = nodes.add(tmp_path / "shared")
    listed = study("plain8")
    done = begun(listed, nodes)
    until(lambda: checkpoints(tmp_path / "shared"))
    nodes.lose(lost)
    nodes.add(tmp_path / "shared")
    assert done.result(SECONDS) == []
    (record,) = records.load_study("a-study", tmp_path / "results")
    assert filed == [name(listed.commands[0])] and records.verify(tmp_path / "results") == []
    assert len(record["provenance"]["resumed_at"]) == 1 and record["curve"]["iteration"] == list(range(10, 201, 10))
    assert record["command"] == "resnet-nb train plain8 --width 2 --data digits --recipe quick-digits --seed 0 --threads 1 --study a-study"


@needs_ray
@needs_nodes
def test_an_interrupted_study_keeps_its_run_and_begins_no_other(nodes, filed, tmp_path):
    nodes.add(tmp_path / "node")

    def interrupt() -> None:
        until(lambda: checkpoints(tmp_path / "node"))
        _thread.interrupt_main()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        on_ray.run_study(study("plain8", "resnet8"), address=nodes.address)
    interrupter.join()
    (checkpoint,) = checkpoints(tmp_path / "node")
    assert filed == [] and [run.name for run in (tmp_path / "node" / "runs").iterdir()] == [checkpoint.parent.name]
    with FileLock(checkpoint.parent / ".lock", timeout=0):  # nobody is at work there
        assert not (checkpoint.parent / "record.json").exists()


@needs_ray
@needs_nodes
def test_what_no_node_has_is_one_sentence(nodes, filed, tmp_path):
    nodes.add(tmp_path / "node")
    with pytest.raises(InputError, match=r"takes 1 CPUs and 2 GPUs, and no node of the cluster has them \(.*1 CPUs and 0 GPUs"):
        on_ray.run_study(study("plain8"), address=nodes.address, gpus=2)


@needs_ray
@pytest.mark.parametrize("address", ["{closed}", "ray://{closed}", "nonsense"])
def test_an_address_without_a_cluster_is_one_sentence(address, filed):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match="Ray cluster") as refused:
            on_ray.run_study(study("plain8"), address=address.format(closed=closed))
    assert "\n" not in str(refused.value) and address.format(closed=closed) in str(refused.value)


def record_of(words: tuple[str, ...], **changes: object) -> dict:
    options = dict(zip(words[2::2], words[3::2], strict=True))
    command = f"resnet-nb train {words[1]} --width 2 --data digits --recipe {options['--recipe']} --seed {words[-1]} --threads 1 --study a-study"
    return training_record(model={"name": words[1], "width": 2}, command=command, seed=int(words[-1]), **changes)


@pytest.fixture
def ray_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """In name only: enough for a study that has nothing to do."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())


def test_what_is_recorded_is_not_run_again_and_needs_no_cluster(ray_is_there, filed, capsys):
    listed = study("plain8", "resnet8")
    for words in listed.commands:
        records.file_record(record_of(words), "a-study")
    assert on_ray.run_study(listed, address="127.0.0.1:1") == []
    assert capsys.readouterr().err.splitlines() == [f"a-study {number} of 2: is recorded already" for number in (1, 2)]


@pytest.mark.parametrize(
    "other",
    [("--norm", "none"), ("--iterations", "199"), ("--width", "3"), ("--split", "1000/400"), ("--init", "he-fan-out"), ("--recipe", "short-cifar")],
    ids=lambda words: words[0],
)
def test_a_run_that_differs_from_what_is_recorded_is_run(other, ray_is_there, filed):
    (words,) = study("plain8").commands
    records.file_record(record_of(words), "a-study")
    with pytest.raises(InputError, match="No Ray cluster answers"):
        on_ray.run_study(Study("a-study", ((*words, *other),)), address="127.0.0.1:1")


def test_words_that_say_nothing_are_not_taken_for_a_record_whose_command_says_nothing_here(ray_is_there, filed):
    (words,) = study("plain8").commands
    records.file_record({**record_of(words), "command": "resnet-nb train plain8 --of-another-version"}, "a-study")
    with pytest.raises(InputError, match="No Ray cluster answers"):
        on_ray.run_study(Study("a-study", ((*words, "--of-another-version"),)), address="127.0.0.1:1")


def test_a_damaged_record_does_not_count(ray_is_there, filed):
    (words,) = study("plain8").commands
    path = records.file_record(record_of(words), "a-study")
    path.write_text(path.read_text().replace('"test_error": 3.0', '"test_error": 2.0'))
    with pytest.raises(InputError, match="No Ray cluster answers"):
        on_ray.run_study(study("plain8"), address="127.0.0.1:1")


def test_a_record_from_a_node_names_the_study_as_the_command_line_does():
    from small_data import small_data

    from resnet_nb.recipes import get_recipe
    from resnet_nb.runs import runs

    planned, data = runs.plan("plain8", get_recipe("quick-digits")), small_data()  # which is no digits: its command ends with the data's place
    assert on_ray._with_study(command(planned, data), "a-study") == command(planned, data, "a-study")


def test_without_ray_one_sentence_says_what_to_install(monkeypatch, filed):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^Ray is not installed: pip install 'resnet-nb\[ray\]'\.$"):
        on_ray.run_study(study("plain8"))


def test_ray_and_torch_are_imported_by_those_who_use_them_alone():
    code = "import sys\nimport resnet_nb.runs.on_ray\nassert not {'ray', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_a_sweep_on_ray_tells_what_became_of_each_run(monkeypatch, filed):
    listed = study("plain8", "resnet8", "plain9")
    good, other, wrong = listed.commands
    monkeypatch.setattr(on_ray.studies, "recorded", lambda name: [on_ray.studies.Filed(on_ray.studies.asked_for(good), frozenset(), "")])
    monkeypatch.setattr(on_ray, "run_study", lambda study, **options: [(wrong, "write plain8")])
    became = [(one.words, one.kind, one.said) for one in on_ray.sweep(listed)]
    assert became == [(good, "skipped", ""), (other, "done", ""), (wrong, "failed", "write plain8")]


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--on", "ray", "--jobs", "2"], "leave them out"), (["--on", "mars"], "machine or ray"), (["--gpus", "1"], "go with ray")],
)
def test_options_that_do_not_go_together_are_one_sentence(more, words):
    with pytest.raises(InputError, match=words):
        CliRunner().invoke(app, ["sweep", "digits-grown", *more], catch_exceptions=False)
