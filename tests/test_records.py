"""Records say what they are, and one that was edited, lost or moved is found."""

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_examples import training_record

from resnet_nb import records
from resnet_nb.errors import InputError


@pytest.fixture
def filed(tmp_path: Path) -> tuple[Path, Path]:
    """A results folder with one study of three runs, and the first of them."""
    paths = [records.file_record(training_record(seed=seed), "a-study", tmp_path) for seed in range(3)]
    assert records.verify(tmp_path) == []
    return tmp_path, paths[0]


def kinds(root: Path) -> list[str]:
    return [problem.kind for problem in records.verify(root)]


def test_a_record_comes_back_as_it_was_filed(tmp_path: Path) -> None:
    path = records.file_record(training_record(seed=7), "a-study", tmp_path)
    assert path.name == "plain20-digits-quick-digits-w8-s7.json"
    assert records.load_study("a-study", tmp_path) == [records.signed({**training_record(seed=7), "study": "a-study"})]


@pytest.mark.parametrize(
    ("field", "value"), [("seed", 5), ("command", "resnet-nb train plain8"), ("final", {"test_error": 2.9})], ids=str
)
def test_an_edited_record_is_found(filed: tuple[Path, Path], field: str, value: object) -> None:
    root, path = filed
    record = json.loads(path.read_text())
    record[field] = {**record[field], **value} if isinstance(value, dict) else value
    path.write_text(records.as_text(record))
    assert kinds(root) == ["edited"]
    with pytest.raises(InputError, match="edited"):
        records.load_study("a-study", root)


def test_an_edit_with_a_new_digest_is_found_by_the_checksum(filed: tuple[Path, Path]) -> None:
    root, path = filed
    record = json.loads(path.read_text())
    record["final"]["test_error"] = 0.1
    path.write_text(records.as_text(records.signed(record)))
    assert kinds(root) == ["edited"]


def test_a_lost_a_foreign_and_a_renamed_file_are_found(filed: tuple[Path, Path]) -> None:
    root, path = filed
    content = path.read_text()
    path.rename(path.with_name("better-name.json"))
    assert sorted(kinds(root)) == ["missing", "orphaned"]
    (path.parent / "better-name.json").unlink()
    path.write_text(content)
    (path.parent / "notes.txt").write_text("not a record")
    (root / "stray.json").write_text(content)
    assert kinds(root) == ["orphaned", "orphaned"]


def test_a_record_moved_to_another_study_is_found(filed: tuple[Path, Path]) -> None:
    root, path = filed
    other = root / "other-study"
    other.mkdir()
    (other / path.name).write_text(path.read_text())
    (other / records.SUMS).write_text((path.parent / records.SUMS).read_text().splitlines()[0] + "\n")
    assert kinds(root) == ["orphaned"]


def test_the_checksums_are_those_of_sha256sum(filed: tuple[Path, Path]) -> None:
    import hashlib

    root, path = filed
    lines = (path.parent / records.SUMS).read_text().splitlines()
    assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in lines and len(lines) == 3


def file_one(arguments: tuple[int, Path]) -> None:
    seed, root = arguments
    records.file_record(training_record(seed=seed), "a-study", root)


def test_several_processes_may_file_at_a_time(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(file_one, [(seed, tmp_path) for seed in range(12)])
    assert len(records.load_study("a-study", tmp_path)) == 12
    assert records.verify(tmp_path) == []


def test_filing_a_run_again_replaces_it(filed: tuple[Path, Path]) -> None:
    root, path = filed
    records.file_record(training_record(seed=0, final={"test_error": 9.0}), "a-study", root)
    assert len(records.load_study("a-study", root)) == 3 and records.verify(root) == []
    assert records.read_record(path)["final"]["test_error"] == 9.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "seed"),
        ({"kind": "rumour"}, "kind"),
        ({"final": {"test_error": 101.0}}, "test_error"),
        ({"final": {"iteration": 100}}, "last iteration"),
        ({"curve": {"loss": [1.0]}}, "different lengths"),
        ({"command": "resnet-nb train plain20 --data-root /home/me/data"}, "path of one machine"),
        ({"command": "rm -rf"}, "command"),
        ({"data": {"fingerprint": "sha256:0"}}, "fingerprint"),
        ({"provenance": {"commit": "abc"}}, "commit"),
    ],
    ids=str,
)
def test_a_record_that_is_not_one_is_refused(changes: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        records.file_record(training_record(**changes), "a-study", tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@given(st.text(max_size=20))
def test_a_study_is_named_by_letters_digits_and_hyphens(name: str) -> None:
    plain = bool(name) and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in name)
    good = plain and not (name.startswith("-") or name.endswith("-") or "--" in name)
    if good:
        records.check_study(name)
    else:
        with pytest.raises(InputError):
            records.check_study(name)


def test_runs_that_differ_have_names_that_differ() -> None:
    changes = [
        {},
        {"seed": 1},
        {"iterations": 100},
        {"model": {"width": 16}},
        {"model": {"name": "resnet20"}},
        {"model": {"init": "he-fan-out"}},
        {"data": {"split": "1200/200"}},
        {"data": {"name": "cifar10"}},
        {"recipe": {"name": "short-cifar"}},
    ]
    names = [records.run_name(training_record(**change)) for change in changes]
    assert len(set(names)) == len(names)


def test_tables_keep_one_row_a_run_and_curves_one_a_point() -> None:
    runs = [training_record(seed=0), training_record(seed=1, model={"name": "resnet56"})]
    table = records.to_table(runs)
    assert table[["family", "depth", "seed"]].values.tolist() == [["plain", 20, 0], ["residual", 56, 1]]
    points = records.curves(runs)
    assert len(points) == 4 and points["error"].tolist() == [40.0, 2.0, 40.0, 2.0]
    assert records.curves(runs, "evaluations")["test_error"].tolist() == [31.0, 3.0, 31.0, 3.0]


def test_an_unknown_study_is_named_with_those_there_are(filed: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="a-study"):
        records.load_study("b-study", filed[0])


def test_the_committed_records_are_sound() -> None:
    assert records.verify() == []
