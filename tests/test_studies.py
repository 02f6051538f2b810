"""A study is its commands: all of them, each by itself, and what failed is named."""

import functools
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from resnet_nb import studies
from resnet_nb.errors import InputError
from resnet_nb.models import parse
from resnet_nb.recipes import get_recipe
from resnet_nb.records import all_records, load_study, results_dir

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_lists_runs_that_exist(path: Path) -> None:
    study = studies.read_study(path)
    assert study.name == path.stem and len(set(study.commands)) == len(study.commands) > 0
    for words in study.commands:
        assert parse(words[1]) and get_recipe(words[words.index("--recipe") + 1])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_recorded_study_is_the_one_that_its_file_lists(path: Path) -> None:
    listed = {frozenset(words) for words in studies.read_study(path).commands}
    records = load_study(path.stem) if (results_dir() / path.stem).exists() else []
    recorded = {frozenset(shlex.split(record["command"].removesuffix(' --data-root "$RESNET_NB_DATA"'))[1:]) for record in records}
    assert recorded == listed


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
    failed = studies.run_study(studies.Study(study.name, (unfiled, study.commands[1])))
    assert [words[1] for words, _ in failed] == ["plain9"] and "plain8" in failed[0][1]
    assert "1 of 2: plain8 after 1 iterations" in capsys.readouterr().err


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
    failed = studies.run_study(studies.Study("a-study", (long, short)))
    killer.join()
    assert [words for words, _ in failed] == [long] and "killed" in failed[0][1]
    assert (tmp_path / "short" / "record.json").exists() and "2 of 2: plain8 after 1 iterations" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_study_keeps_its_run_and_begins_no_other(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "name: a-study\noptions: --width 4 --checkpoint-seconds 0\ngrid:\n  - {models: [plain8, resnet8], recipes: [quick-digits], seeds: [0, 1]}\n"
    )
    heeds_interrupts = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a command in the background inherits that it does not
    command = [sys.executable, "-m", "resnet_nb.cli", "study", "s.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeds_interrupts) as process:
        folder = tmp_path / "runs" / "plain8-digits-quick-digits-w4-s0"
        until(folder / "checkpoint.pt")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of them
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Interrupted at iteration" in said and "Traceback" not in said
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
