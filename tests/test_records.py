"""Records say what they are, and one that was edited, lost or moved is found."""

import hashlib
import json
import multiprocessing
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from record_examples import training_record

from resnet_nb import records
from resnet_nb.errors import InputError, RunError
from resnet_nb.records import filing, kept, places, sums
from resnet_nb.records.views import COLUMNS, Views, save


@pytest.fixture
def filed(tmp_path: Path) -> tuple[Path, Path]:
    """A results folder with one study of three runs, and the first of them."""
    paths = [records.file_record(training_record(seed=seed), "a-study", tmp_path) for seed in range(3)]
    assert records.verify(tmp_path) == []
    return tmp_path, paths[0]


TRACED = kept.trace_text([[0, "conv1", 1.0, 2.0, 0.1, 0.1, 3.0]])


def test_what_lies_beside_a_record_is_of_its_run(tmp_path: Path) -> None:
    """Filed again as it is, a record keeps its trace; made anew without one, it loses it."""
    traced = training_record(command="resnet-nb train plain20 --seed 0 --trace")
    path = records.file_record(traced, "a-study", tmp_path, beside={kept.TRACE: TRACED})
    assert records.beside(path) == {kept.TRACE} and records.verify(tmp_path) == []
    records.file_record(traced, "a-study", tmp_path)
    assert records.beside(path) == {kept.TRACE}
    records.file_record(training_record(provenance={"threads": 2}), "a-study", tmp_path)
    assert records.beside(path) == frozenset() and records.verify(tmp_path) == []


def test_a_record_is_filed_after_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = filing.write_atomically
    monkeypatch.setattr(filing, "write_atomically", lambda path, content: (written.append(path.suffix), write(path, content)))
    records.file_record(training_record(), "a-study", tmp_path, beside={kept.TRACE: TRACED})
    assert [suffix for suffix in written if suffix] == [".csv", ".json"]


def test_what_a_record_names_and_lacks_is_missing_and_strays_are_orphans(tmp_path: Path) -> None:
    traced = training_record(command="resnet-nb train plain20 --seed 0 --trace")
    path = records.file_record(traced, "a-study", tmp_path)
    assert kinds(tmp_path) == ["missing"] and "recorded with --trace" in records.verify(tmp_path)[0].sentence
    records.file_record(traced, "a-study", tmp_path, beside={kept.TRACE: TRACED})
    path.with_name(path.stem + kept.TRACE).rename(tmp_path / "stray.trace.csv")
    assert kinds(tmp_path) == ["missing", "missing", "orphaned"]


def kinds(root: Path) -> list[str]:
    return [problem.kind for problem in records.verify(root)]


def test_a_record_comes_back_as_it_was_filed(tmp_path: Path) -> None:
    path = records.file_record(training_record(seed=7), "a-study", tmp_path)
    assert path.name == "plain20-digits-quick-digits-w8-s7.json"
    assert records.load_study("a-study", tmp_path) == [records.signed({**training_record(seed=7), "study": "a-study"})]


@pytest.mark.parametrize(("field", "value"), [("seed", 5), ("command", "resnet-nb train plain8"), ("final", {"test_error": 2.9})], ids=str)
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
    root, path = filed
    lines = (path.parent / records.SUMS).read_text().splitlines()
    assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in lines and len(lines) == 3


def file_one(arguments: tuple[int, Path]) -> None:
    seed, root = arguments
    records.file_record(training_record(seed=seed), "a-study", root)


def test_several_processes_may_file_at_a_time(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
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


def test_what_a_killed_process_leaves_is_no_record_and_no_problem(filed: tuple[Path, Path]) -> None:
    root, path = filed
    (path.parent / f".{path.name}.abc.part").write_text("half a rec")
    (root / ".ipynb_checkpoints").mkdir()
    (root / ".ipynb_checkpoints" / path.name).write_text(path.read_text())
    assert (path.parent / filing.LOCK).exists()
    assert records.verify(root) == [] and len(records.load_study("a-study", root)) == 3


def test_git_ignores_the_lock_and_keeps_line_endings() -> None:
    root = places.CHECKOUT
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    path = f"results/a-study/{filing.LOCK}"
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=root).returncode == 0
    attribute = ["git", "check-attr", "text", "results/a-study/run.json"]
    assert subprocess.run(attribute, cwd=root, capture_output=True, text=True).stdout.strip().endswith("text: unset")


def test_changed_line_endings_are_found_and_called_by_their_name(filed: tuple[Path, Path]) -> None:
    root, path = filed
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (problem,) = records.verify(root)
    assert problem.kind == "edited" and "line endings" in problem.sentence


def test_an_edited_checksum_is_found(filed: tuple[Path, Path]) -> None:
    root, path = filed
    sums = path.parent / records.SUMS
    sums.write_text(sums.read_text().replace(sums.read_text()[0], "0" if sums.read_text()[0] != "0" else "1", 1))
    (problem,) = records.verify(root)
    assert problem.kind == "edited" and "checksum" in problem.sentence


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "0" * 64, "0" * 64 + "  ../escape.json", ""], ids=repr)
def test_a_line_of_the_list_that_lists_nothing_is_found(filed: tuple[Path, Path], line: str) -> None:
    root, path = filed
    sums = path.parent / records.SUMS
    sums.write_text(line + "\n" + sums.read_text())
    (problem,) = records.verify(root)
    assert (problem.path, problem.kind) == (sums, "unreadable")


def test_records_without_their_list_are_orphaned(filed: tuple[Path, Path]) -> None:
    root, path = filed
    (path.parent / records.SUMS).unlink()
    assert kinds(root) == ["orphaned"] * 3


def test_a_study_that_is_listed_and_was_never_recorded_or_is_lost_is_missing(tmp_path: Path) -> None:
    """So is one of which only an empty folder is left; one that is planned is not, and an installed package has no lists to hold against."""
    results, lists = tmp_path / "results", tmp_path / "studies"
    records.file_record(training_record(), "a-study", results)
    lists.mkdir()
    for name, planned in (("a-study", ""), ("lost", ""), ("to-come", "planned: true\n")):
        (lists / f"{name}.yaml").write_text(f"name: {name}\n{planned}grid: []\n")
    (problem,) = records.verify(results)
    assert (problem.path, problem.kind) == (results / "lost", "missing") and str(lists / "lost.yaml") in problem.sentence
    (results / "lost").mkdir()
    assert records.verify(results) == [problem]
    (lists / "lost.yaml").write_text("- no study\n")
    assert [(fault.path, fault.kind) for fault in records.verify(results)] == [(lists / "lost.yaml", "unreadable")]
    lists.rename(tmp_path / "study_lists")
    assert records.verify(results) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"[" * 100_000], ids=lambda content: repr(content[:4]))
def test_a_listed_file_that_is_no_record_is_found(filed: tuple[Path, Path], content: bytes) -> None:
    root, path = filed
    path.write_bytes(content)
    assert kinds(root) in (["unreadable"], ["edited"])
    with pytest.raises(InputError, match=path.name if content != b"[1, 2]" else "kind"):
        records.read_record(path)


def test_a_record_that_breaks_the_schema_is_found_although_signed_and_listed(filed: tuple[Path, Path]) -> None:
    root, path = filed
    text = records.as_text(records.signed({**json.loads(path.read_text()), "protocol": ""}))
    path.write_text(text)
    sums = path.parent / records.SUMS
    lines = [line for line in sums.read_text().splitlines() if path.name not in line]
    sums.write_text("\n".join([*lines, f"{hashlib.sha256(text.encode()).hexdigest()}  {path.name}"]) + "\n")
    (problem,) = records.verify(root)
    assert problem.kind == "unreadable" and "protocol" in problem.sentence


def test_an_edit_is_called_one_wherever_the_folder_lies(tmp_path: Path) -> None:
    path = records.file_record(training_record(), "edited", tmp_path)
    path.write_text("{")
    assert kinds(tmp_path) == ["unreadable"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(number: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite"):
        records.file_record(training_record(final={"test_loss": number}), "a-study", tmp_path)


@pytest.mark.parametrize("steps", [[200, 100], [100, 100], [100, 300]], ids=str)
def test_curves_go_forward_and_not_beyond_the_end(steps: list[int]) -> None:
    for name in ("curve", "evaluations"):
        with pytest.raises(InputError, match=f"{name} does not go forward"):
            records.validate(training_record(**{name: {"iteration": steps}}))


def test_a_run_is_no_longer_than_its_recipe() -> None:
    with pytest.raises(InputError, match="201 iterations"):
        records.validate(training_record(iterations=201, final={"iteration": 201}))


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"recipe": {"rate": 0.1}}, "recipe"), ({"data": {"fingerprint": "sha256:" + "1" * 64}}, "data")],
    ids=["recipe", "data"],
)
def test_another_run_of_the_same_name_replaces_nothing(filed: tuple[Path, Path], changes: dict, word: str) -> None:
    root, path = filed
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"its {word} differ"):
        records.file_record(training_record(**changes), "a-study", root)
    assert path.read_bytes() == before and records.verify(root) == []


def test_filing_again_repairs_a_damaged_file(filed: tuple[Path, Path]) -> None:
    root, path = filed
    path.write_text("{")
    records.file_record(training_record(seed=0), "a-study", root)
    assert records.verify(root) == []


def test_a_place_that_cannot_be_written_to_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a-study").write_text("a file where the folder should be")
    with pytest.raises(RunError, match="a-study"):
        records.file_record(training_record(), "a-study", tmp_path)


def test_a_study_that_is_locked_for_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "LOCK_SECONDS", 0.1)
    (tmp_path / "a-study").mkdir()
    with FileLock(tmp_path / "a-study" / filing.LOCK), pytest.raises(RunError, match="locked"):
        records.file_record(training_record(), "a-study", tmp_path)


def test_a_failed_write_leaves_the_earlier_record_and_its_list(filed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = filed

    def full_disk(*_: object) -> None:
        raise RunError("Cannot write: no space left.")

    for module in (filing, sums):
        monkeypatch.setattr(module, "write_atomically", full_disk)
    with pytest.raises(RunError):
        records.file_record(training_record(seed=0, final={"test_error": 9.0}), "a-study", root)
    assert records.verify(root) == [] and records.read_record(path)["final"]["test_error"] == 3.0


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.none(), max_size=5))
def test_the_digest_depends_on_content_and_not_on_order_or_a_trip_through_a_file(content: dict) -> None:
    turned = dict(reversed(content.items()))
    assert records.digest(content) == records.digest(turned) == records.digest(json.loads(records.as_text(content)))
    assert records.digest({**content, "one more": 1}) != records.digest(content)


def test_a_folder_in_place_of_the_checksums_leaves_every_record_unlisted(tmp_path: Path) -> None:
    path = records.file_record(training_record(), "a-study", tmp_path)
    (path.parent / records.SUMS).unlink()
    (path.parent / records.SUMS).mkdir()
    assert [(problem.kind, problem.path) for problem in records.verify(tmp_path)] == [("orphaned", path)]
    with pytest.raises(RunError):
        records.file_record(training_record(), "a-study", tmp_path)


def test_recorded_views_are_listed_in_a_study_and_verified(filed: tuple[Path, Path], tmp_path: Path) -> None:
    root, record = filed
    path = record.parent / "views.npz"
    save(path, some_views())
    assert kinds(root) == ["orphaned"]
    records.list_views(path, root)
    assert kinds(root) == []
    path.write_bytes(path.read_bytes()[:-9])
    assert kinds(root) == ["edited"]
    records.list_views(path, root)
    assert kinds(root) == ["unreadable"]
    elsewhere = tmp_path / "my" / "own" / "views.npz"
    save(elsewhere, some_views())
    records.list_views(elsewhere, root)
    assert not (elsewhere.parent / "SHA256SUMS").exists()


def some_views() -> Views:
    table = pd.DataFrame([("crop", 0, 0, "centre", False, "")], columns=list(COLUMNS))
    return Views(np.zeros((2, 1, 3), np.float32), np.zeros(2, np.int64), ("a", "b"), table, {})
