"""`resnet-nb predict`: the likeliest classes and the views that voted for them are those of the net on the crops themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_examples import CONSTANTS, MODEL, SIZES, class_folders, invoke, small_net, weights_file
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from typer.testing import CliRunner

from resnet_nb import cli
from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.protocols import Protocol
from resnet_nb.testing.predict import lines, view_box

NAMES = "ant\nbee\ncow\n"


@pytest.fixture
def words(tmp_path: Path) -> list:
    (tmp_path / "names.txt").write_text(NAMES)
    weights = weights_file(tmp_path / "w.pt", small_net())
    return ["predict", MODEL, "--weights", weights, "--width", 4, "--device", "cpu", "--classes", tmp_path / "names.txt", *SIZES, *CONSTANTS]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return class_folders(tmp_path, 1) / "val" / "a" / "000.png"


def test_votes_and_scores_are_those_of_torchvisions_ten_crops(words: list, picture: Path) -> None:
    (found,) = invoke(*words, picture)[0]["pictures"]
    steps = [transforms.Resize(72), transforms.TenCrop(64)]
    crops = transforms.Compose(steps)(Image.open(picture))
    norm = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.45] * 3, [0.25] * 3)])
    with torch.no_grad():
        scores = small_net()(torch.stack([norm(crop) for crop in crops])).softmax(1).numpy()[[0, 1, 2, 3, 4, 6, 5, 8, 7, 9]]  # mirrors by place
    assert [view["label"] for view in found["views"]] == scores.argmax(1).tolist()
    assert [view["score"] for view in found["views"]] == pytest.approx(scores.max(1), abs=1e-5)
    mean = scores.mean(0)
    assert [row["label"] for row in found["classes"]] == np.argsort(-mean).tolist()
    assert [row["score"] for row in found["classes"]] == pytest.approx(sorted(mean, reverse=True), abs=1e-5)
    assert {row["class"]: row["votes"] for row in found["classes"]} == {
        name: [view + 1 for view in range(10) if scores[view].argmax() == label] for label, name in enumerate(NAMES.split())
    }


@given(st.integers(64, 300), st.integers(64, 300))
def test_every_box_lies_in_the_picture_and_has_the_crops_share_of_it(width: int, height: int) -> None:
    protocol = Protocol("10-crop", 72, 64)
    for view in protocol.views():
        left, top, wide, tall = view_box(view, protocol, width, height)
        assert left >= 0 and top >= 0 and left + wide <= width + 1e-9 and top + tall <= height + 1e-9
        assert (tall if height <= width else wide) == pytest.approx(min(width, height) * 64 / 72)


@pytest.mark.parametrize("protocol", ["1-crop", "10-crop", "multi-scale"])
def test_the_figure_is_drawn(words: list, picture: Path, tmp_path: Path, protocol: str) -> None:
    more = ["--scales", "64,80"] if protocol == "multi-scale" else []
    words = [word for word in words if word not in ("--resize", "72")] if more else words
    invoke(*words, picture, "--protocol", protocol, *more, "--figure", tmp_path / "f.png")
    pixels = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    assert pixels.shape[1] > 1000 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_what_cannot_be_read_is_named_and_the_rest_predicted(words: list, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    result = CliRunner().invoke(cli.app, [*map(str, words), str(picture), str(tmp_path / "broken.jpg")], catch_exceptions=False)
    assert result.exit_code == 1 and "broken.jpg" in result.stderr and result.stdout.startswith(f"{picture} (10-crop, 10 views)\n")
    assert " of 10 views: " in result.stdout


def test_public_cifar_weights_know_the_names_and_the_size_of_their_images(tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_file(tmp_path / "x.th", build_model("resnet20"))
    monkeypatch.setattr("resnet_nb.testing.members.fetch", lambda name: tmp_path / "x.th")
    answer, _ = invoke("predict", "resnet20", picture, "--weights", "akamaster:resnet20", "--protocol", "1-crop", "--device", "cpu")
    assert answer["protocol"]["resize"] == answer["protocol"]["crop"] == 32
    assert {row["class"] for row in answer["pictures"][0]["classes"]} < set("airplane automobile bird cat deer dog frog horse ship truck".split())
    assert lines(answer)[1].endswith("1 of 1 views: all")


def test_bad_input_is_one_sentence(words: list, picture: Path, tmp_path: Path) -> None:
    for more, expected in (
        ([picture, picture, "--figure", "f.png"], "shows one picture"),
        ([picture, "--figure", "f.docx"], "ends in .png"),
        ([tmp_path / "absent.png"], "no picture .*absent.png"),
        ([tmp_path], "is a folder"),
        ([picture, "--protocol", "1-crop,dense"], "name one"),
        ([picture, "--classes", tmp_path / "w.pt"], "cannot be read"),
    ):
        with pytest.raises(InputError, match=expected):
            invoke(*words, *more)
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    with pytest.raises(InputError, match="2 names and the net 3 classes"):
        invoke(*words, picture)
    grey = weights_file(tmp_path / "grey.pt", small_net("plain8", in_channels=1))
    with pytest.raises(InputError, match="1 channel"):
        invoke("predict", "plain8", picture, "--weights", grey, "--width", 4, "--mean", "0.3")
