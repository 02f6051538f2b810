"""What --save-scores keeps: every view once, from which the errors that were printed are computed again without the net."""

from pathlib import Path

import numpy as np
import pytest
from evaluate_examples import CONSTANTS, MODEL, SIZES, class_folders, invoke, small_net, weights_file

from resnet_nb.errors import InputError
from resnet_nb.records.views import load

PROTOCOLS = ["--protocol", "1-crop,10-crop,dense,multi-scale", "--scales", "64,72"]


@pytest.fixture
def words(tmp_path: Path) -> list:
    weights = weights_file(tmp_path / "w.pt", small_net())
    root = class_folders(tmp_path / "photographs")
    return ["evaluate", MODEL, "--weights", weights, "--data", "folder", "--data-root", root, "--width", 4, "--device", "cpu", *SIZES, *CONSTANTS]


@pytest.mark.parametrize("rule", ["softmax", "logits"])
def test_every_protocol_is_computed_anew_from_the_file(words: list, tmp_path: Path, rule: str) -> None:
    answer, _ = invoke(*words, *PROTOCOLS, "--rule", rule, "--save-scores", tmp_path / "v.npz")
    found = load(tmp_path / "v.npz")
    assert len(found.views) == 10 + 2 * 2 and not found.views.duplicated().any()  # the centre is in two protocols, and each scale
    crops, dense = found.where(form="crop"), found.where(form="dense", rule=rule)
    again = [crops.where(place="centre", mirrored=False), crops, dense.where(short=64), dense.where(short=72), dense]
    for row, views in zip(answer["results"], again, strict=True):
        scores = views.posterior(rule)[np.arange(18), views.labels]
        assert row["top1_error"] == pytest.approx(views.error(rule), abs=1e-4) and row["loss"] == pytest.approx(-np.log(scores).mean(), abs=2e-3)


def test_the_file_says_where_its_scores_come_from_and_names_no_folder(words: list, tmp_path: Path) -> None:
    broken = tmp_path / "photographs" / "val" / "b" / "001.png"
    broken.write_bytes(b"")
    invoke(*words, "--save-scores", tmp_path / "v.npz")
    found = load(tmp_path / "v.npz")
    assert len(found.names) == 17 and found.names[0] == "a/000.png" and "b/001.png" not in found.names
    assert [label for label, name in zip(found.labels, found.names, strict=True) if name[0] != "abc"[label]] == []
    about = found.about
    assert about["classes"] == ["a", "b", "c"] and about["weights"] == "w.pt" and about["protocols"][0]["resize"] == 72
    assert about["command"].startswith(f"resnet-nb evaluate {MODEL} --data folder --on test --protocol 1-crop") and "torch" in about["provenance"]
    assert str(tmp_path) not in str(about)
    assert not list(tmp_path.glob("v.npz.*"))


def test_an_ensemble_is_recorded_net_by_net(words: list, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="record each by itself"):
        invoke(*words, "--with", f"{MODEL}={tmp_path / 'w.pt'}", "--save-scores", tmp_path / "v.npz")
