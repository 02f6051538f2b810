"""`resnet-nb probe`: the same table as the probe's own function, and a record that is verified and read without torch."""

import json
import math
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.data import load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError, RunError
from resnet_nb.models import build_model
from resnet_nb.probes import landscape, lesions, responses
from resnet_nb.records import places
from resnet_nb.testing.probing import PROBES

SOURCE = ["--study", "a-study", "--source", f"github:someone/nets@{'a' * 40}:weights/net.pt"]
EXTRA = {"deletions": "--counts 1,2 --draws 2", "swaps": "--counts 1 --draws 2", "paths": "--draws 1", "line": "--points 3 --statistics 40"}
EXTRA |= {"surface": "--points 3"}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    monkeypatch.setattr(records, "check_writable", lambda: None)
    path = tmp_path / "weights" / "net.pt"
    path.parent.mkdir()
    torch.save(build_model("resnet14", width=4, in_channels=1, seed=1).state_dict(), path)
    return path


def probe(name: str, weights: Path, *words: str) -> dict:
    given = f"probe {name} resnet14 --width 4 --data digits --images 20 --normalise channel-mean --threads 1 --json {EXTRA.get(name, '')}"
    done = CliRunner().invoke(app, [*given.split(), "--weights", str(weights), *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_is_recorded_verified_and_read(name: str, weights: Path) -> None:
    answer = probe(name, weights, *SOURCE, "--note", "made for a test")
    assert records.verify() == []
    (record,) = records.load_study("a-study")
    assert record["table"] == answer["table"] and record["note"] == "made for a test" and record["settings"]["images"] == 20
    table = records.probe_table([record], name)
    assert set(table["owner"]) == {"someone"} and set(table["family"]) == {"residual"} and set(table["depth"]) == {14}
    assert list(table.columns[4:]) == list(record["table"])
    words = shlex.split(record["command"])
    assert words[:4] == ["resnet-nb", "probe", name, "resnet14"] and "$WEIGHTS/weights/net.pt" in words and "--data-root" not in words
    again = probe(name, weights, *SOURCE, "--note", "made for a test")
    assert again["table"] == answer["table"]


def test_the_tables_are_those_of_the_probes_functions(weights: Path) -> None:
    digits = load_data("digits")
    net = build_model("resnet14", width=4, in_channels=1, seed=1).eval()
    normalisation = Normalisation.measured(digits.train, "channel-mean")
    places = torch.arange(20) * len(digits.test) // 20
    images, labels = normalisation(digits.test.images[places]), digits.test.labels[places]
    assert probe("lesions", weights)["table"]["loss"] == pytest.approx(lesions.delete_each(net, images, labels)["loss"].tolist(), rel=1e-5)
    assert probe("responses", weights)["table"]["response"] == pytest.approx(responses.layer_responses(net, images)["response"].tolist(), rel=1e-5)
    training = normalisation(digits.train.images[torch.arange(40) * len(digits.train) // 40])
    anew = landscape.line(net, images, labels, (-1, 0, 1), 0, [training])["loss"].tolist()
    kept = landscape.line(net, images, labels, (-1, 0, 1), 0)["loss"].tolist()
    assert probe("line", weights)["table"]["loss"] == pytest.approx(kept + anew, rel=1e-4)


def test_images_are_spread_over_the_classes(weights: Path) -> None:
    from resnet_nb.testing.probing import _evenly, _mixed

    labels = load_data("digits").train.labels
    assert len(set(labels[_evenly(len(labels), 40, "train", "images")].tolist())) == 10
    for batch in _mixed(labels[_evenly(len(labels), 500, "train", "images")]):
        assert len(set(batch.tolist())) == 10 and len(batch) == 250


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("lesion", [], "Unknown probe 'lesion'"),
        ("lesions", ["--draws", "3"], "says nothing to the probe lesions"),
        ("deletions", ["--counts", "1,x"], "whole numbers"),
        ("deletions", ["--counts", "9"], "has 4 that keep the shape"),
        ("line", ["--span", "-1"], "positive"),
        ("lesions", ["--images", "9999"], "more than that"),
        ("line", ["--statistics", "9999"], "--statistics 9999 is more than that"),
        ("line", ["--seed", str(2**64)], "--seed 18446744073709551616: take a whole number from 0 to"),
        ("surface", ["--seed", str(2**64 - 1)], "take a whole number from 0 to"),
        ("lesions", ["--on", "validation"], "choose test or train"),
        ("lesions", ["--width", "0"], "--width 0: a net has at least 1 channel"),
        ("lesions", ["--note", "of mine"], "--note is for a record"),
        ("lesions", ["--trained-on", "something"], "--trained-on is for a record"),
        ("lesions", ["--study", "a-study"], "go together"),
        ("lesions", [*SOURCE, "--weights", "akamaster:resnet14"], "local file"),
    ],
)
def test_bad_input_is_told_in_a_sentence(name: str, words: list[str], says: str, weights: Path) -> None:
    with pytest.raises(InputError, match=says):
        probe(name, weights, *words)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("damage", ("NaN weights", "negative variance"))
def test_damaged_weights_are_told_in_a_sentence_and_not_as_an_error_rate(name: str, damage: str, weights: Path) -> None:
    state = torch.load(weights)
    if damage == "NaN weights":
        state["layer1.0.conv1.weight"][0, 0, 0, 0] = math.nan
    else:
        state["layer1.0.bn1.running_var"][0] = -1
    torch.save(state, weights)
    with pytest.raises(RunError, match="not finite in .* rows of the probe .*running_var"):
        probe(name, weights)


@pytest.mark.parametrize("span", ("1e30", "1e308"))
def test_a_span_that_leaves_the_numbers_is_told_in_a_sentence(span: str, weights: Path) -> None:
    with pytest.raises(RunError, match="a smaller --span"):
        probe("line", weights, "--span", span)


def test_an_edited_table_is_found(weights: Path, tmp_path: Path) -> None:
    probe("responses", weights, *SOURCE)
    (path,) = (tmp_path / "results" / "a-study").glob("*.json")
    assert path.name.endswith("-responses.json")
    path.write_text(path.read_text().replace('"layer1.0.conv1"', '"layer1.0.conv9"'))
    assert [problem.kind for problem in records.verify()] == ["edited"]
    record = json.loads(path.read_text())
    record["table"]["place"] = record["table"]["place"][:-1]
    with pytest.raises(InputError, match="different lengths"):
        records.validate(records.signed(record))
    with pytest.raises(InputError, match="no recorded probe 'paths'"):
        records.probe_table([record], "paths")
