"""`resnet-nb evaluate` under the four protocols: sizes, paired tests, ensembles, unreadable pictures, and runs that were killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_examples import CONSTANTS, MODEL, SIZES, class_folders, invoke, small_net, weights_file

from resnet_nb.data import load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.data.photographs.imagenet import photographs as collection
from resnet_nb.errors import InputError
from resnet_nb.findings.paired import bootstrap_difference, mcnemar
from resnet_nb.models import build_model
from resnet_nb.protocols import Preprocessing, Protocol, run, scoring_runs
from resnet_nb.protocols.choices import Choices, choose, photographs, small_images, title
from resnet_nb.protocols.evaluate import error_rates
from resnet_nb.records.views import load
from resnet_nb.stats import wilson_interval
from resnet_nb.testing.members import Given, Weights, find_weights
from resnet_nb.testing.pretrained import Published

PROTOCOLS = ["--protocol", "1-crop,10-crop,dense,multi-scale", "--scales", "64,72"]
USED = Normalisation.of_channels([0.45] * 3, [0.25] * 3)


@pytest.fixture
def words(tmp_path: Path) -> list:
    """The command, up to its protocols, on photographs."""
    weights = weights_file(tmp_path / "w.pt", small_net())
    root = class_folders(tmp_path / "photographs")
    return ["evaluate", MODEL, "--weights", weights, "--data", "folder", "--data-root", root, "--width", 4, "--device", "cpu", *SIZES, *CONSTANTS]


def test_each_row_is_what_the_protocol_in_it_gives(words: list) -> None:
    answer, _ = invoke(*words, *PROTOCOLS)
    assert [(row["protocol"], row["settings"]["scales"]) for row in answer["results"]] == [
        ("1-crop", []), ("10-crop", []), ("dense", [64]), ("dense", [72]), ("multi-scale", [64, 72]),
    ]  # fmt: skip
    protocols = [Protocol.from_dict(row["settings"]) for row in answer["results"]]
    found = collection("folder", words[words.index("--data-root") + 1])
    (chunk,) = run(small_net(), found.paths, protocols, USED, device="cpu")
    right = []
    for row, result in zip(answer["results"], chunk.results, strict=True):
        order = np.argsort(-result.scores, axis=1)
        right.append(order[:, 0] == found.labels)
        assert row["wrong"] == (~right[-1]).sum() and row["images"] == 18 and row["top5_error"] == 0
        assert row["top1_interval"] == pytest.approx(wilson_interval(row["wrong"], 18), abs=1e-4)
        assert row["loss"] == pytest.approx(-np.log(result.scores[range(18), found.labels]).mean(), abs=1e-5)
    assert len({row["loss"] for row in answer["results"]}) == 5
    for place, row in enumerate(answer["comparisons"]):
        test = mcnemar(right[place], right[place + 1])
        assert (row["only_a"], row["only_b"], row["p"]) == (test.only_a, test.only_b, test.p)
        assert row["interval"] == pytest.approx(bootstrap_difference(right[place], right[place + 1]), abs=1e-4)
    assert [(row["a"], row["b"]) for row in answer["comparisons"]][1:3] == [("10-crop", "dense at 64"), ("dense at 64", "dense at 72")]


def test_the_whole_image_alone_is_measured_as_in_training_and_beside_others_to_rounding(tmp_path: Path) -> None:
    net = small_net("plain8", in_channels=1, classes=10)
    command = ["evaluate", "plain8", "--width", 4, "--weights", weights_file(tmp_path / "w.pt", net), "--mean", "0.3", "--device", "cpu"]
    (alone,) = invoke(*command)[0]["results"]
    own = error_rates(net, load_data("digits").test, Normalisation.of_channels([0.3]))
    assert (alone["wrong"], alone["loss"]) == (own.wrong, round(own.loss, 6)) and alone["settings"]["crop"] == 16
    answer = invoke(*command, "--protocol", "1-crop,10-crop,multi-scale")[0]
    assert answer["results"][0]["wrong"] == own.wrong and answer["results"][0]["loss"] == pytest.approx(own.loss, abs=1e-5)
    assert answer["results"][1]["settings"]["pad"] == 2 and answer["results"][2]["settings"]["scales"] == [16, 20, 24]


def test_a_mirrored_view_alone_is_mirrored_whatever_else_is_said(tmp_path: Path) -> None:
    net = small_net("plain8", in_channels=1, classes=10)
    command = ["evaluate", "plain8", "--width", 4, "--weights", weights_file(tmp_path / "w.pt", net), "--mean", "0.3", "--device", "cpu", "--mirror"]
    alone, batched = (invoke(*command, *more)[0]["results"][0] for more in ([], ["--batch", 4]))
    images = load_data("digits").test
    normalised = Normalisation.of_channels([0.3])(images.images)
    with torch.no_grad():
        scores = net.eval()(normalised).softmax(1) + net(normalised.flip(3)).softmax(1)
    wrong = int((scores.argmax(1) != images.labels).sum())
    assert alone["wrong"] == batched["wrong"] == wrong and alone["loss"] == pytest.approx(batched["loss"], abs=1e-5)


def test_an_ensemble_averages_the_members_scores(words: list, tmp_path: Path) -> None:
    second = weights_file(tmp_path / "second.pt", small_net("imagenet:resnet18-A", 1, width=64))
    answer, _ = invoke(*words, "--with", f"imagenet:resnet18-A={second}", "--protocol", "10-crop")
    protocol = Protocol.from_dict(answer["results"][0]["settings"])
    found = collection("folder", words[words.index("--data-root") + 1])
    nets = [small_net(), small_net("imagenet:resnet18-A", 1, width=64)]
    scores = [next(run(net, found.paths, [protocol], USED, device="cpu")).results[0].scores for net in nets]
    assert answer["results"][0]["loss"] == pytest.approx(-np.log(np.mean(scores, axis=0)[range(18), found.labels]).mean(), abs=1e-4)
    assert answer["ensemble"][0]["model"]["name"] == "imagenet:resnet18-A"


def test_unreadable_pictures_are_named_counted_and_left_out(words: list, tmp_path: Path) -> None:
    broken = tmp_path / "photographs" / "val" / "b" / "001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    answer, errors = invoke(*words)
    assert answer["results"][0]["images"] == 17 and [row["name"] for row in answer["unreadable"]] == [str(broken)]
    assert str(broken) in errors and "1 picture was not read" in errors
    for path in (tmp_path / "photographs" / "val").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="None of the 18 pictures can be read"):
        invoke(*words)


class Killed(BaseException):
    pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list:
    """Chunks of 4 photographs; lists the numbers of those that are scored."""
    numbers = []

    def counting(*arguments: object, **options: object):
        for chunk in run(*arguments, **options):
            if "kill" in numbers and len(numbers) == 3:
                raise Killed
            numbers.append(chunk.number)
            yield chunk

    monkeypatch.setitem(scoring_runs.CHUNK, "cpu", 4)
    monkeypatch.setattr(scoring_runs, "run", counting)
    return numbers


def test_a_killed_run_goes_on_without_scoring_a_finished_picture_again(words: list, tmp_path: Path, opened: list) -> None:
    whole, _ = invoke(*words, *PROTOCOLS)
    assert opened == [0, 1, 2, 3, 4]
    opened[:] = ["kill"]
    command = [*words, *PROTOCOLS, "--out", tmp_path / "out"]
    with pytest.raises(Killed):
        invoke(*command)
    assert opened == ["kill", 0, 1]
    kept = tmp_path / "out" / "chunks" / "test"
    assert sorted(path.name for path in kept.glob("*.npz")) == ["000000.npz", "000001.npz"]
    with pytest.raises(InputError, match="finished chunks of another command .differing in protocols."):
        invoke(*words, "--out", tmp_path / "out")
    (kept / "000001.npz").write_bytes(b"half a chu")  # a damaged one is scored again
    (kept / "000000 copy.npz").write_bytes(b"")  # what somebody else put there is no chunk
    opened.clear()
    answer, _ = invoke(*command)
    assert opened == [1, 2, 3, 4] and answer == whole
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]


def test_other_weights_are_another_command(words: list, tmp_path: Path, opened: list) -> None:
    opened[:] = ["kill"]
    with pytest.raises(Killed):
        invoke(*words, "--out", tmp_path / "out")
    weights_file(tmp_path / "w.pt", small_net(seed=5))
    with pytest.raises(InputError, match="differing in members"):
        invoke(*words, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--resize", 80], "protocols"), (["--crop", 32], "protocols"), (["--scales", "64,80"], "protocols"), (["--pad", "1"], "protocols"),
        (["--no-mirror"], "protocols"), (["--rule", "logits"], "protocols"), (["--interpolation", "bicubic"], "protocols"),
        (["--resizer", "tensor"], "protocols"), (["--mean", "0.4,0.4,0.4"], "normalisations"), (["--precision", "bfloat16"], "precision"),
        (["--save-scores", "v.npz"], "scores of views"), ("another chunk", "chunk"),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_not_gone_on_with_by_a_command_that_would_give_other_scores(
    more: list | str, differs: str, words: list, tmp_path: Path, opened: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened[:] = ["kill"]
    command = [*words, *PROTOCOLS, "--out", tmp_path / "out"]
    with pytest.raises(Killed):
        invoke(*command)
    opened.clear()
    if more == "another chunk":  # as on another device, whose chunks are of another size
        monkeypatch.setitem(scoring_runs.CHUNK, "cpu", 6)
        more = []
    with pytest.raises(InputError, match=f"differing in {differs}"):
        invoke(*command, *more)
    assert opened == []


def test_the_order_of_the_pictures_outlives_a_damaged_chunk(words: list, tmp_path: Path, opened: list) -> None:
    invoke(*words, "--save-scores", tmp_path / "a.npz")
    whole = load(tmp_path / "a.npz")
    opened[:] = ["kill"]
    command = [*words, "--save-scores", tmp_path / "b.npz"]
    with pytest.raises(Killed):
        invoke(*command)
    (tmp_path / "b.npz.chunks" / "000000.npz").write_bytes(b"half a chu")
    opened.clear()
    invoke(*command)
    assert opened == [0, 2, 3, 4]
    again = load(tmp_path / "b.npz")
    assert again.names == whole.names and np.array_equal(again.logits, whole.logits)


def test_a_folder_with_other_files_is_left_alone(words: list, tmp_path: Path) -> None:
    kept = tmp_path / "out" / "chunks" / "test"
    kept.mkdir(parents=True)
    (kept / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="no finished chunks"):
        invoke(*words, "--out", tmp_path / "out")
    assert (kept / "thesis.tex").read_text() == "all of it"


def test_lower_precision_counts_the_predictions_that_it_flips(words: list) -> None:
    (row,) = invoke(*words, "--precision", "bfloat16")[0]["results"]
    assert row["precision"] == "bfloat16" and row["compared_in_float32"] == 18 and 0 <= row["flipped"] <= 18


def test_defaults_are_the_weights_own_sizes_then_the_papers() -> None:
    made_for = Preprocessing(232, 224, "bicubic", (0.5,) * 3, (0.5,) * 3)
    one, dense = choose(["1-crop", "dense"], photographs(made_for), Choices())
    assert (one.resize, one.crop, one.interpolation) == (232, 224, "bicubic") and dense.scales == (232,)
    assert choose(["multi-scale"], photographs(None), Choices())[0] == Protocol.paper("multi-scale")
    for name in ("1-crop", "10-crop", "dense", "multi-scale"):
        assert choose([name], small_images(32, 32), Choices()) == (Protocol.cifar(name),)


def test_options_set_the_sizes_and_rules_of_the_protocols_that_have_them() -> None:
    options = Choices(resize=300, scales=(288, 320), mirror=False, rule="pooled", interpolation="bicubic")
    ten, *dense, several = choose(["10-crop", "dense", "multi-scale"], photographs(None), options)
    assert ten == replace(Protocol.paper("10-crop"), resize=300, interpolation="bicubic")
    assert [one.scales for one in dense] == [(288,), (320,)] and several.scales == (288, 320)
    assert {(one.rule, one.mirror) for one in (*dense, several)} == {("pooled", False)}


def test_crops_are_padded_as_asked_and_one_crop_may_have_its_mirror_image() -> None:
    one, *tens = choose(["1-crop", "10-crop"], small_images(32, 32), Choices(pads=(2, 4), mirror=True))
    assert [ten.pad for ten in tens] == [2, 4] and [view.mirrored for view in one.views()] == [False, True]
    assert [title(protocol) for protocol in (one, *tens)] == ["1-crop, mirrored", "10-crop, padded 2", "10-crop, padded 4"]


def test_published_weights_come_with_their_sizes_and_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    made_for = Preprocessing(232, 224, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    published = Published("torchvision:resnet18", "IMAGENET1K_V1", torch.nn.Linear(1, 1), made_for, ("a", "b"), "somewhere")
    monkeypatch.setattr("resnet_nb.testing.members.published_weights", lambda model, name: published)
    found: Weights = find_weights("torchvision:resnet18", "DEFAULT", Given())
    assert found.name == "IMAGENET1K_V1" and found.preprocessing == made_for and found.net is published.net
    assert found.normalisation.mean.view(-1).tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert find_weights("torchvision:resnet18", "DEFAULT", Given(mean="0.5,0.5,0.5")).kind == "given"


def test_a_public_checkpoint_brings_its_constants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_file(tmp_path / "x.th", build_model("resnet20"))
    monkeypatch.setattr("resnet_nb.testing.members.fetch", lambda name: tmp_path / "x.th")
    found = find_weights("resnet20", "akamaster:resnet20", Given())
    assert found.normalisation.mean.view(-1).tolist() == pytest.approx([0.485, 0.456, 0.406])
    with pytest.raises(InputError, match="weights of a resnet56, not of a resnet20"):
        find_weights("resnet20", "akamaster:resnet56", Given())


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--protocol", "11-crop"], "choose from 1-crop, 10-crop, dense, multi-scale"),
        (["--protocol", "dense,dense"], "twice"),
        (["--scales", "64,72"], "for dense and multi-scale"),
        (["--no-mirror"], "for dense and multi-scale"),
        (["--protocol", "10-crop", "--mirror"], "for 1-crop"),
        (["--pad", "4"], "for 10-crop"),
        (["--protocol", "10-crop", "--pad", "few"], "not a list of pixels"),
        (["--protocol", "dense", "--scales", "small"], "not a list of pixels"),
        (["--protocol", "1-crop,dense", "--scales", "32"], "no window of a 64-pixel crop fits"),
        (["--resize", "32"], "raise --resize"),
        (["--rule", "sum"], "softmax, logits"),
        (["--precision", "int8"], "float32, tf32"),
        (["--with", "resnet20"], "write MODEL=WEIGHTS"),
        (["--split", "45k/5k"], "leave --split and --image-size out"),
        (["--data", "imagenet-a"], "imagenetv2"),
        (["--save-scores", "views.txt"], "end in .npz"),
        (["--save-scores", "v.npz", "--on", "test,train"], "one net on one part"),
        (["--data-root", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(more: list, expected: str, words: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=expected) as raised:
        invoke(*words, *more)
    assert "\n" not in str(raised.value) and str(raised.value).endswith((".", ")")), str(raised.value)
