"""A study is its commands: all of them, each by itself, and what failed is named. A sweep does each once, however often it is stopped."""

import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from record_examples import training_record
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.data import load_data
from resnet_nb.errors import InputError
from resnet_nb.models import BOTTLENECKS, parse
from resnet_nb.recipes import get_recipe
from resnet_nb.records import all_records, kept, load_study, places
from resnet_nb.runs import runs, studies, workers
from resnet_nb.runs import sweep as sweeps
from resnet_nb.runs.train_command import answer_of, parsed

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_lists_runs_that_exist(path: Path) -> None:
    study = studies.read_study(path)
    assert study.name == path.stem and len(set(study.commands)) == len(study.commands) > 0
    for words in study.commands:
        assert (words[1] in BOTTLENECKS or parse(words[1])) and get_recipe(words[words.index("--recipe") + 1])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_recorded_study_is_the_one_that_its_file_lists(path: Path) -> None:
    study, filed = studies.read_study(path), studies.recorded(path.stem)
    listed = [parsed(words) for words in study.commands]
    done = [asked for asked in listed if studies.is_recorded(asked, filed)]
    assert all(any(studies.deciding(asked) == one.asked for asked in listed) for one in filed), "a record that the study does not list"
    assert len(done) < len(listed) if study.planned else done == listed  # who records the last run takes the mark away


def test_a_run_that_two_entries_list_is_one_run(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    entry = "{models: [plain8], recipes: [quick-digits], seeds: [SEEDS]}"
    path.write_text(f"name: s\ngrid:\n  - {entry.replace('SEEDS', '0')}\n  - {entry.replace('SEEDS', '0, 1')}\n")
    assert [words[words.index("--seed") + 1] for words in studies.read_study(path).commands] == ["0", "1"]


def test_every_recorded_cpu_run_names_its_threads() -> None:
    runs = [record for record in all_records() if record["provenance"]["device"] == "cpu"]
    assert runs and all(f"--threads {record['provenance']['threads']} " in f"{record['command']} " for record in runs)


def test_a_failed_run_stops_no_other_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        f"name: a-study\noptions: --data digits --width 4 --iterations 1 --out {tmp_path}/run\n"
        "grid:\n  - {models: [plain8, plain9], recipes: [quick-digits], seeds: [0]}\n"
    )
    study = studies.read_study(path)
    unfiled = tuple(word for word in study.commands[0] if word not in ("--study", "a-study"))
    done, failed = sweeps.sweep(studies.Study(study.name, (unfiled, study.commands[1])), jobs=1)
    assert (done.kind, failed.kind) == ("done", "failed") and failed.words[1] == "plain9" and "plain8" in failed.said
    assert "1 of 2: plain8 after 1 iterations" in capsys.readouterr().err


def test_a_sweep_says_at_its_end_which_runs_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(name: str, kind: str, said: str) -> sweeps.Outcome:
        return sweeps.Outcome(("train", name, "--recipe", "quick-digits,rate=1e30"), kind, said, 1)

    study = studies.Study("a-study", ())
    outcomes = [outcome("plain8", "failed", "training diverged; choose a smaller rate or a warm-up."), outcome("resnet8", "done", "")]
    monkeypatch.setattr(sweeps, "sweep", lambda *arguments: outcomes)
    monkeypatch.setattr(studies, "read_study", lambda path: study)
    done = CliRunner().invoke(app, ["sweep", "digits-grown"])
    assert done.exit_code == 1 and done.stdout.endswith("1 of 2 runs are recorded, 0 of them before; 1 failed: the same command tries that again.\n")
    assert done.stderr == "failed: resnet-nb train plain8 --recipe quick-digits,rate=1e30: training diverged; choose a smaller rate or a warm-up.\n"
    outcomes.append(outcome("resnet14", "stopped", ""))
    assert sweeps.summary(study, outcomes).endswith("; 1 failed, 1 stopped: the same command goes on.")


def test_a_run_is_recorded_when_all_that_is_asked_of_it_is_there_however_many_processes_made_it(tmp_path: Path, monkeypatch) -> None:  # noqa: ANN001
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path)
    words = ("train", "plain20", "--width", "8", "--data", "digits", "--recipe", "quick-digits", "--seed", "0")
    launched = "torchrun --nproc-per-node 2 -m resnet_nb " + " ".join(words)
    trace = kept.trace_text([[0, "conv1", 1.0, 2.0, 0.1, 0.1, 3.0]])
    for record, beside, recorded in (
        (training_record(), {}, (True, False)), (training_record(command=launched), {}, (True, False)),
        (training_record(), {kept.TRACE: trace}, (True, True)),
    ):  # fmt: skip
        records.file_record(record, "a-study", tmp_path, beside=beside)
        filed = studies.recorded("a-study")
        assert tuple(studies.is_recorded(parsed(asked), filed) for asked in (words, (*words, "--trace"))) == recorded


def test_of_a_run_that_is_listed_twice_the_one_that_keeps_more_is_done(tmp_path: Path) -> None:
    words = ("train", "plain8", "--width", "2", "--iterations", "1", "--out", str(tmp_path / "run"))
    (outcome,) = sweeps.sweep(studies.Study("a-study", (words, (*words, "--trace"), words)), jobs=1)
    assert outcome.kind == "done" and "--trace" in outcome.words and (tmp_path / "run" / "trace.csv").exists()
    with pytest.raises(InputError, match="lists a run of plain8 twice"):
        sweeps.sweep(studies.Study("a-study", ((*words, "--trace"), (*words, "--keep-weights"))), jobs=1)
    with pytest.raises(InputError, match="leave --help out"):
        sweeps.sweep(studies.Study("a-study", ((*words, "--help"),)), jobs=1)


def pictures(root: Path, seed: int) -> Path:
    """A folder of one's own: two classes of 8x8 pictures."""
    random = np.random.default_rng(seed)
    for number, place in enumerate(root / part / name for part in ("train", "test") for name in ("cat", "dog")):
        place.mkdir(parents=True)
        for picture in range(4):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}{picture}.png")
    return root


def test_the_same_run_on_other_images_of_ones_own_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    ours, copied, theirs = pictures(tmp_path / "ours", 0), pictures(tmp_path / "copied", 0), pictures(tmp_path / "theirs", 1)
    options = ("--data", "folder", "--width", "2", "--recipe", "quick-digits,batch_size=4,iterations=2,drops=none,pad=0", "--study", "a-study")
    of = {root: ("train", "plain8", *options, "--data-root", str(root)) for root in (ours, copied, theirs, tmp_path / "gone")}
    assert answer_of(of[ours])[1] == ""
    filed = studies.recorded("a-study")
    assert [studies.is_recorded(parsed(of[root]), filed) for root in (ours, copied, theirs)] == [True, True, False]
    monkeypatch.setattr(sweeps, "Worker", None)
    assert [outcome.kind for outcome in sweeps.sweep(studies.Study("a-study", (of[copied],)))] == ["skipped"]
    with pytest.raises(TypeError, match="not callable"):  # it would begin a process for the other
        sweeps.sweep(studies.Study("a-study", (of[ours], of[theirs])))
    with pytest.raises(InputError, match="There is no folder .*gone"):
        sweeps.sweep(studies.Study("a-study", (of[tmp_path / "gone"],)))
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)  # other images in the same place
    assert not studies.is_recorded(parsed(of[ours]), studies.recorded("a-study"))

    shutil.rmtree(tmp_path / "runs")
    assert "holds another run of this name (its data differ): file this one in another study" in answer_of(of[theirs])[1]
    assert not (tmp_path / "runs").exists()  # which is said before hours of work
    assert answer_of((*of[theirs], "--study", "another-study"))[1] == ""
    assert "its fingerprint differs): choose another --out" in answer_of((*of[copied], "--study", "a-third"))[1]


def runs_resumed_at(folder: Path) -> list[int]:
    return records.read_record(folder / "record.json")["provenance"]["resumed_at"]


def until(there: Path) -> None:
    deadline = time.monotonic() + 120
    while not there.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert there.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_run_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ("train", "plain8", "--width", "4", "--checkpoint-seconds", "0")
    long, short = ((*common, "--out", str(tmp_path / name), "--iterations", length) for name, length in (("long", "200"), ("short", "1")))

    def kill() -> None:
        until(tmp_path / "long" / "checkpoint.pt")
        for child in multiprocessing.active_children():
            child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    study = studies.Study("a-study", (long, short))
    killed, other = sweeps.sweep(study, jobs=1)
    killer.join()
    assert (killed.words, killed.kind) == (long, "failed") and "killed" in killed.said and 0 < killed.iteration < 200
    assert (tmp_path / "short" / "record.json").exists() and "2 of 2: plain8 after 1 iterations" in capsys.readouterr().err
    assert [outcome.kind for outcome in sweeps.sweep(study, jobs=1)] == ["done", "done"]
    assert runs_resumed_at(tmp_path / "long") != []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_study_keeps_its_run_and_begins_no_other(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: a-study\noptions: --width 4 --checkpoint-seconds 0\ngrid:\n  - {models: [plain8, resnet8], recipes: [quick-digits], seeds: [0, 1]}\n"
    )
    heeds_interrupts = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a command in the background inherits that it does not
    command = [sys.executable, "-m", "resnet_nb", "sweep", "s.yaml", "--jobs", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_interrupts) as process:
        folder = tmp_path / "runs" / "plain8-digits-quick-digits-w4-s0"
        until(folder / "checkpoint.pt")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of them
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "plain8 stopped at iteration" in said and "Interrupted: the same command goes on" in said
    assert "Traceback" not in said
    assert [path.name for path in folder.parent.iterdir()] == [folder.name] and not (folder / "record.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "name: a-study\n",
        "name: Bad Name\ngrid: []\n",
        "name: a-study\ngrid: [{models: [plain8]}]\n",
        "name: a-study\nspeed: 3\ngrid: []\n",
        "name: a-study\ngrid: []\n",
        "name: a-study\ngrid: 3\n",
        "name: a-study\ngrid: [abc]\n",
        "name: 3\ngrid: [{models: [plain8], recipes: [quick-digits], seeds: [0]}]\n",
        "name: a-study\ngrid: [{models: plain8, recipes: [quick-digits], seeds: [0]}]\n",
        "name: a-study\ngrid: [{models: [plain8], recipes: [quick-digits], seeds: 3}]\n",
        "name: a-study\noptions:\ngrid: [{models: [plain8], recipes: [quick-digits], seeds: [0]}]\n",
        "name: a-study\noptions: \"'\"\ngrid: [{models: [plain8], recipes: [quick-digits], seeds: [0]}]\n",
        "name: a-study\n# \udcff\n",
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError):
        studies.read_study(tmp_path / "s.yaml")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own, in whose results/ a sweep may file: the package, and an empty folder to run in."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "resnet_nb", root / "resnet_nb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "here").mkdir()
    return root


SWEEP = """
import sys
from resnet_nb.cli import main
try:
    main()
finally:
    print("torch" if "torch" in sys.modules else "no torch", file=sys.stderr)
"""


def sweep(checkout: Path, *words: str, hidden: str | None = None) -> tuple[int, str, str]:
    """`resnet-nb sweep` in that checkout; the last line of standard error says whether this process, the parent, imported torch."""
    search = os.pathsep.join([*([hidden] if hidden else []), str(checkout)])
    command = [sys.executable, "-c", SWEEP, "sweep", *words]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": search}, cwd=checkout / "here", capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def test_a_sweep_that_is_stopped_goes_on_to_the_same_records_and_weights(checkout: Path) -> None:
    (checkout / "here" / "s.yaml").write_text(
        "name: a-study\noptions: --width 2\n"
        "grid:\n  - {models: [plain8], recipes: ['quick-digits,iterations=6,drops=none,curve_every=2'], seeds: [0, 1, 2]}\n"
    )
    folders = [checkout / "here" / "runs" / f"plain8-digits-quick-digits-iterations6-dropsnone-curve_every2-w2-s{seed}" for seed in range(3)]
    code, out, err = sweep(checkout, "s.yaml", "--jobs", "2", "--max-minutes", "0.0001", "--json")
    assert code == 0 and "2 of 3: plain8 stopped at iteration 1 of 6" in err, err
    answer = json.loads(out)
    assert {kind: len(answer[kind]) for kind in ("done", "skipped", "stopped", "failed", "left")} == {
        "done": 0, "skipped": 0, "stopped": 2, "failed": 0, "left": 1,
    }  # fmt: skip
    assert [(folder / "checkpoint.pt").exists() for folder in folders] == [True, True, False] and not (checkout / "results").exists()

    code, out, err = sweep(checkout, "s.yaml", "--jobs", "2")
    assert code == 0 and out == "a-study: 3 of 3 runs are recorded, 0 of them before.\n" and err.endswith("\nno torch\n"), err
    assert records.verify(checkout / "results") == [] and len(load_study("a-study", checkout / "results")) == 3
    assert [runs_resumed_at(folder) for folder in folders] == [[1], [1], []]
    planned = runs.plan("plain8", get_recipe("quick-digits,iterations=6,drops=none,curve_every=2"), 1, width=2)
    runs.train(planned, load_data("digits"), checkout / "whole", device="cpu", progress=False)
    ours, theirs = (torch.load(folder / "weights.pt", weights_only=True) for folder in (folders[1], checkout / "whole"))
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)

    before = {path: path.read_bytes() for path in (checkout / "results" / "a-study").iterdir()}
    code, out, err = sweep(checkout, "s.yaml", "--json", hidden=str(ROOT / "tests" / "without_torch"))
    answer = json.loads(out)
    assert code == 0 and len(answer["skipped"]) == 3 and answer["done"] == [] and err == "no torch\n"
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("path", [path for path in STUDIES if not studies.read_study(path).planned], ids=lambda path: path.stem)
def test_of_a_recorded_study_a_sweep_has_nothing_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "Worker", None)  # none is started
    outcomes = sweeps.sweep(studies.read_study(path))
    assert {outcome.kind for outcome in outcomes} == {"skipped"} and len(outcomes) == len(studies.read_study(path).commands)


def test_a_record_that_was_edited_or_renamed_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(places.results_dir() / "cifar10-short", tmp_path / "cifar10-short")
    edited, renamed, *others = sorted((tmp_path / "cifar10-short").glob("*.json"))
    edited.write_text(edited.read_text().replace('"test_error"', '"test_error" ').replace('"seed": 0', '"seed": 1'))
    renamed.rename(renamed.with_name("plain20-cifar10.json"))
    whole = studies.recorded("cifar10-short")
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path)
    left = studies.recorded("cifar10-short")
    assert len(whole) == len(others) + 2 and len(left) == len(others) and all(asked in whole for asked in left)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_sweep_that_is_killed_leaves_a_checkpoint_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: a-study\noptions: --width 2 --checkpoint-seconds 1000\n"
        "grid:\n  - {models: [plain8], recipes: ['quick-digits,iterations=100000'], seeds: [0]}\n"
    )
    command = [sys.executable, "-m", "resnet_nb", "sweep", "s.yaml"]
    folder = tmp_path / "runs" / "plain8-digits-quick-digits-iterations100000-w2-s0"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until(folder / "run.json")
        process.kill()
        process.communicate(timeout=120)  # returns when the last process that could write there has ended
    assert process.returncode == -signal.SIGKILL and (folder / "checkpoint.pt").exists()


def test_a_study_is_found_by_its_name_or_as_a_file(tmp_path: Path) -> None:
    assert studies.find_study("digits-grown") == ROOT / "studies" / "digits-grown.yaml"
    (tmp_path / "own.yaml").write_text("")
    assert studies.find_study(str(tmp_path / "own.yaml")) == tmp_path / "own.yaml"
    with pytest.raises(InputError, match="no study 'digits-grwon': .*digits-grown"):
        studies.find_study("digits-grwon")


@pytest.mark.parametrize(
    "words, said", [(("--widht", "8"), "No such option: --widht"), (("--recipe", "slow"), "paper-cifar"), (("--seed", "one"), "one")]
)
def test_a_command_that_cannot_be_read_is_refused_before_any_run(words: tuple, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "Worker", None)
    with pytest.raises(InputError, match=said):
        sweeps.sweep(studies.Study("a-study", (("train", "plain8"), ("train", "plain8", *words))))


def test_a_device_that_is_absent_is_said_in_one_sentence() -> None:
    with pytest.raises(InputError, match="Unknown device 'abacus'"):
        sweeps.sweep(studies.Study("a-study", (("train", "plain8"),)), more=("--device", "abacus"))


def test_a_gpu_has_room_for_as_many_lanes_of_one_process_as_its_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (int(10.2e9), int(80e9)))
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    rooms = [workers.room("cuda", size) for size in (2.0, 0.1, 30, float("inf"))]
    assert [room.runs for room in rooms] == [4, workers.LANES, 1, 1] and {room.lanes for room in rooms[:3]} == {workers.LANES}
    assert "10 GB free, of which a run is thought to need 2.0" in rooms[0].why and "the host has time for" not in rooms[0].why
    assert rooms[1].why.endswith(f"the host has time for {workers.LANES}")
    on_cpu = workers.room("cpu", 2.0)
    assert (on_cpu.runs, on_cpu.lanes, on_cpu.why) == (2, 1, "the CPU has 2 cores")
