"""`resnet-nb diagnose`: a table from two numbers, and a planted fault found on one's own net."""

from pathlib import Path

import pytest
from coloured_pictures import coloured, trained
from evaluate_examples import invoke, small_net, weights_file
from PIL import Image
from typer.testing import CliRunner

from resnet_nb import cli
from resnet_nb.data.normalise import Normalisation
from resnet_nb.diagnose import diagnosing, matching
from resnet_nb.errors import InputError


def test_two_numbers_give_the_causes_that_fit_in_the_order_of_checking() -> None:
    answer, _ = invoke("diagnose", "resnet20", "--measured", 9.1, "--published", 8.27, "--data", "cifar10")
    table = matching(9.1, 8.27, model="resnet20", data="cifar10")
    assert [row["number"] for row in answer["causes"]] == table["number"].tolist() and answer["gap"] == 0.83
    only, _ = invoke("diagnose", "--measured", 9.1, "--published", 8.27, "--group", "training")
    assert {row["group"] for row in only["causes"]} == {"training"}
    said = CliRunner().invoke(cli.app, ["diagnose", "--measured", "9.1", "--published", "8.27"]).stdout
    assert said.startswith("measured 9.1 %, published 8.27 %, a gap of +0.83 points") and "    test: " in said and "    source: " in said


def test_a_planted_fault_is_named_and_confirmed_on_other_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The net saw red first, and its user hands it blue first."""
    images = coloured(600, 1)
    used = Normalisation.of_channels([0.5] * 3, [0.25] * 3)
    net = trained(coloured(1_600, 0), used, 120)
    for place, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
        folder = tmp_path / "data" / "test" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.flip(0).permute(1, 2, 0).numpy()).save(folder / f"{place}.png")
    (tmp_path / "data" / "train").symlink_to(tmp_path / "data" / "test")
    monkeypatch.setattr(diagnosing, "build", lambda *_, **__: net)
    words = ["--data", "folder", "--data-root", tmp_path / "data", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--device", "cpu"]
    answer, _ = invoke("diagnose", "resnet8", "--weights", weights_file(tmp_path / "w.pt", small_net("resnet8")), *words, "--subset", 300)
    assert answer["probes"]["changes"] == ["red and blue exchanged"] and "red and blue exchanged" in answer["probes"]["verdict"]
    assert answer["probes"]["confirmed"]["images"] == 300 and answer["probes"]["confirmed"]["p"] < 1e-3
    assert answer["measured"] == answer["probes"]["error"] and "causes" not in answer


def test_probes_and_causes_are_told_together(tmp_path: Path) -> None:
    weights = weights_file(tmp_path / "w.pt", small_net("plain8", in_channels=1, classes=10))
    words = ["diagnose", "plain8", "--weights", weights, "--width", 4, "--data", "digits", "--mean", "0.3", "--published", 60, "--device", "cpu"]
    answer, _ = invoke(*words, "--probes", "scaling,mode", "--subset", 100)
    assert {row["kind"] for row in answer["probes"]["settings"]} == {"yours", "scaling", "mode"}
    assert answer["gap"] == pytest.approx(answer["probes"]["error"] - 60) and isinstance(answer["causes"], list)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "Give --measured and --published"),
        (["--measured", "9"], "Give --measured and --published"),
        (["--measured", "9", "--published", "800"], "no top-1 error in percent"),
        (["--measured", "9", "--published", "8", "--group", "luck"], "comparison, test pipeline, training"),
        (["--measured", "9", "--published", "8", "--protocol", "2-crop"], "Unknown protocol"),
        (["--weights", "w.pt"], "needs the model's name and --data"),
        (["plain8", "--weights", "/nowhere/w.pt", "--data", "digits"], "no weights file"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(words: list, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        invoke("diagnose", *words)
