"""The command line as a user meets it: what it prints where, how it ends, and that a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from resnet_nb import cli, records
from resnet_nb.models import build_model
from resnet_nb.records import places
from resnet_nb.runs.run_records import command
from resnet_nb.runs.runs import plan

TRAIN = ["train", "plain8", "--width", "4", "--threads", "1"]


def start(*words: str, **options: object) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_nb", *words], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def run(*words: str, **options: object) -> tuple[int, str, str]:
    process = start(*words, **options)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def refuse(*words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> str:
    """Run in this process, expect exit status 2 and one sentence; return the sentence."""
    monkeypatch.setattr(sys, "argv", ["resnet-nb", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("resnet-nb: ") and captured.err.rstrip().endswith(".")
    return captured.err


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, out, err = run(*TRAIN, "--out", str(folder), "--json")
    assert code == 0, err
    assert json.loads(out) == records.read_record(folder / "record.json")
    return folder


def test_a_killed_run_ends_with_the_same_weights(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(*TRAIN, "--out", str(folder), "--checkpoint-seconds", "0")
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    assert not (folder / "record.json").exists()
    code, _, err = run(*TRAIN, "--out", str(folder))
    assert code == 0 and "resuming at iteration " in err
    ours, theirs = final_weights(folder), final_weights(whole)
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    resumed, uninterrupted = (records.read_record(f / "record.json") for f in (folder, whole))
    assert resumed["curve"] == uninterrupted["curve"] and resumed["evaluations"] == uninterrupted["evaluations"]
    assert resumed["provenance"]["deterministic"] and len(resumed["provenance"]["resumed_at"]) == 1
    assert not (folder / "checkpoint.pt").exists() and not list(folder.glob(".*.part"))


def test_a_finished_run_has_nothing_left_to_do(whole: Path) -> None:
    before = (whole / "record.json").read_bytes()
    code, out, err = run(*TRAIN, "--out", str(whole))
    assert code == 0 and "nothing left to do" in err and out.startswith("plain8 after 200 iterations: training error ")
    assert (whole / "record.json").read_bytes() == before


def test_what_a_run_leaves_can_be_evaluated(whole: Path) -> None:
    code, out, err = run("evaluate", "plain8", "--weights", str(whole / "weights.pt"), "--json")
    assert code == 0, err
    answer, final = json.loads(out), records.read_record(whole / "record.json")["final"]
    (row,) = answer["results"]
    assert row["protocol"] == "1-crop" and row["images"] == 397
    assert row["top1_error"] == final["test_error"] and row["top5_error"] == final["test_top5_error"]
    assert row["top1_interval"][0] < row["top1_error"] < row["top1_interval"][1]
    assert answer["data"]["fingerprint"] == records.read_record(whole / "record.json")["data"]["fingerprint"]


def test_ctrl_c_is_one_sentence_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(*TRAIN, "--out", str(folder), "--checkpoint-seconds", "0")
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    assert "Interrupted at iteration " in err and (folder / "checkpoint.pt").exists()


def test_another_command_in_the_folder_is_refused_and_fresh_starts_again(whole: Path, tmp_path, monkeypatch, capsys) -> None:
    error = refuse("train", "resnet8", "--width", "4", "--out", str(whole), monkeypatch=monkeypatch, capsys=capsys)
    assert "its model" in error and "--fresh" in error


def test_a_study_files_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    words = [*TRAIN, "--iterations", "10", "--study", "a-study", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0
    (record,) = records.load_study("a-study")
    assert record["command"] == (
        "resnet-nb train plain8 --width 4 --data digits --recipe quick-digits --seed 0 --iterations 10 --threads 1 --study a-study"
    )
    assert records.verify() == [] and record["iterations"] == 10 and record["final"]["iteration"] == 10


def test_the_recorded_command_names_no_path() -> None:
    from small_data import small_data

    from resnet_nb.recipes import get_recipe

    planned = plan("resnet20", get_recipe("paper-cifar"), 3, iterations=200)
    assert command(planned, small_data()) == (
        'resnet-nb train resnet20 --data small --recipe paper-cifar --seed 3 --iterations 200 --data-root "$RESNET_NB_DATA"'
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "resnet50"], "two readings"),
        (["train", "resnet20", "--data", "cifar11"], "cifar10"),
        (["train", "resnet20", "--recipe", "nonsense"], "paper-cifar"),
        (["train", "resnet20", "--iterations", "201"], "only ever cut short"),
        (["train", "resnet20", "--seed", "-1"], "0 or greater"),
        (["train", "resnet20", "--width", "0"], "at least 1 channel"),
        (["train", "resnet20", "--init", "magic"], "he-fan-in"),
        (["train", "resnet20", "--threads", "100000"], "cores"),
        (["train", "resnet20", "--device", "abacus"], "Unknown device"),
        (["train", "resnet20", "--split", "1000/300"], "1400"),
        (["train", "resnet20", "--study", "Bad Name"], "lower-case"),
        (["train", "resnet20", "--data", "cifar10", "--data-root", "/nowhere/at/all"], "/nowhere/at/all"),
        (["evaluate", "resnet20", "--weights", "/nowhere/w.pt"], "no weights file"),
        (["evaluate", "resnet20", "--weights", "w.pt", "--protocol", "11-crop"], "1-crop"),
        (["run", "--evidence", "hearsay"], "hearsay"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_with_status_2(words, expected, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESNET_NB_DATA", raising=False)
    assert expected in refuse(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert not list(tmp_path.rglob("*.pt"))


def test_weights_without_normalisation_ask_for_it(tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "w.pt"
    torch.save(build_model("plain8", width=4, in_channels=1).state_dict(), path)
    arguments = ("evaluate", "plain8", "--weights", str(path), "--width", "4")
    assert "give --mean and --std" in refuse(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert "not a list of numbers" in refuse(*arguments, "--mean", "a,b", monkeypatch=monkeypatch, capsys=capsys)
    assert "--std needs --mean" in refuse(*arguments, "--std", "1", monkeypatch=monkeypatch, capsys=capsys)
    assert "1 values and --std 2" in refuse(*arguments, "--mean", "0", "--std", "1,1", monkeypatch=monkeypatch, capsys=capsys)
    assert "give values for 1 channels" in refuse(*arguments, "--mean", "0,0,0", monkeypatch=monkeypatch, capsys=capsys)
    assert "do not fit" in refuse("evaluate", "plain14", *arguments[2:], "--mean", "0", monkeypatch=monkeypatch, capsys=capsys)


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(cli.app, ["--help"]).output
    for name in ("run", "train", "evaluate", "predict", "features", "diagnose", "scoreboard", "verify", "data", "doctor", "reference"):
        assert name in text
        assert CliRunner().invoke(cli.app, [name, "--help"]).exit_code == 0


def test_a_file_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "resnet_nb", "predict", "resnet20", os.fsdecode(b"caf\xe9.png"), "--weights", "x.pt"]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": str(places.CHECKOUT)}
    done = subprocess.run(words, env=strict, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and done.stderr == "resnet-nb: There is no picture caf\\udce9.png: check the path.\n"


def test_json_is_all_that_standard_output_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNET_NB_DATA", raising=False)
    for words in (["data"], ["data", "digits"], ["verify"], ["scoreboard"], ["doctor"]):
        result = CliRunner().invoke(cli.app, [*words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, words
        assert json.loads(result.stdout) is not None


def test_real_cifar10_trains_and_is_evaluated(cifar10_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["--data", "cifar10", "--data-root", str(cifar10_root)]
    short = ["resnet8", "--width", "4", "--recipe", "paper-cifar", "--seed", "0", "--iterations", "4"]
    code, _, err = run("train", *short, *words, "--out", str(folder))
    assert code == 0, err
    record = records.read_record(folder / "record.json")
    assert record["data"]["train_images"] == 50_000 and record["data"]["test_images"] == 10_000
    assert "--data-root \"$RESNET_NB_DATA\"" in record["command"] and str(cifar10_root) not in json.dumps(record)
    code, out, err = run("evaluate", "resnet8", "--weights", str(folder / "weights.pt"), *words, "--json")
    assert code == 0 and json.loads(out)["results"][0]["top1_error"] == record["final"]["test_error"]


def test_an_edited_record_is_not_filed(whole: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    record = json.loads((folder / "record.json").read_text())
    record["final"]["test_error"] = 0.01
    (folder / "record.json").write_text(json.dumps(record))
    assert "was edited" in refuse(*TRAIN, "--out", str(folder), "--study", "a-study", monkeypatch=monkeypatch, capsys=capsys)


def test_weights_that_hold_nan_give_no_error_rate(whole: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    state = final_weights(whole)
    state["fc.bias"][0] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    words = ("evaluate", "plain8", "--weights", str(tmp_path / "w.pt"), "--width", "4", "--mean")
    assert "not numbers" in refuse(*words, "0.3", monkeypatch=monkeypatch, capsys=capsys)
    assert "finite" in refuse(*words, "nan", monkeypatch=monkeypatch, capsys=capsys)


def test_a_run_out_of_time_is_no_failure_and_goes_on_to_the_same_weights(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*TRAIN, "--out", str(folder)]
    short = CliRunner().invoke(cli.app, [*words, "--max-minutes", "0.000001"], catch_exceptions=False)
    assert short.exit_code == 0 and short.stdout == f"Stopped at iteration 1 of 200: the same command goes on from {folder}.\n"
    again = CliRunner().invoke(cli.app, [*words, "--max-minutes", "0.0001", "--json"], catch_exceptions=False)
    assert again.exit_code == 0
    assert json.loads(again.stdout) == {"finished": False, "model": "plain8", "iteration": 2, "iterations": 200, "folder": str(folder)}
    assert (folder / "checkpoint.pt").exists() and not (folder / "record.json").exists()
    rest = CliRunner().invoke(cli.app, [*words, "--max-minutes", "1000"], catch_exceptions=False)
    assert rest.exit_code == 0 and rest.stdout.startswith("plain8 after 200 iterations: ")
    ours, theirs = final_weights(folder), final_weights(whole)
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert records.read_record(folder / "record.json")["provenance"]["resumed_at"] == [1, 2]


@pytest.mark.parametrize("minutes", ("0", "-1", "nan", "inf"))
@pytest.mark.parametrize("command", (["train", "plain8"], ["sweep", "digits-grown"]), ids=lambda words: words[0])
def test_a_time_that_is_none_is_refused(command, minutes, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--max-minutes" in refuse(*command, "--max-minutes", minutes, monkeypatch=monkeypatch, capsys=capsys)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_study_is_refused_with_the_nearest(monkeypatch, capsys) -> None:
    assert "digits-grown" in refuse("sweep", "digits-grow", monkeypatch=monkeypatch, capsys=capsys)


def test_sweep_has_help_and_no_other_name() -> None:
    assert CliRunner().invoke(cli.app, ["sweep", "--help"]).exit_code == 0
    assert CliRunner().invoke(cli.app, ["study", "digits-grown"]).exit_code == 2
