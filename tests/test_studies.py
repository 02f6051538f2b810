"""A study is its commands: all of them, each by itself, and what failed is named."""

from pathlib import Path

import pytest

from resnet_nb import studies
from resnet_nb.errors import InputError
from resnet_nb.models import parse
from resnet_nb.recipes import get_recipe
from resnet_nb.records import all_records, load_study

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_lists_runs_that_exist(path: Path) -> None:
    study = studies.read_study(path)
    assert study.name == path.stem and len(set(study.commands)) == len(study.commands) > 0
    for words in study.commands:
        assert parse(words[1]) and get_recipe(words[words.index("--recipe") + 1])


def test_the_recorded_degradation_study_is_the_one_that_its_file_lists() -> None:
    listed = studies.read_study(next(path for path in STUDIES if path.stem == "digits-degradation"))
    recorded = {tuple(record["command"].split()[1:]) for record in load_study("digits-degradation")}
    assert {frozenset(words) for words in listed.commands} == {frozenset(words) for words in recorded}


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "name: a-study\n",
        "name: Bad Name\ngrid: []\n",
        "name: a-study\ngrid: [{models: [plain8]}]\n",
        "name: a-study\nspeed: 3\ngrid: []\n",
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InputError):
        studies.read_study(tmp_path / "s.yaml")
