"""Training on photographs: what a batch holds is planned, what is read is what was planned, and what is measured can be measured again."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_examples import CHANGES, RECIPE, photo_data, photo_net, weights, write_photographs
from PIL import Image
from torchvision.transforms import v2
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app, main
from resnet_nb.data.photographs.training import evenly, training_photographs
from resnet_nb.errors import InputError
from resnet_nb.published import fact
from resnet_nb.recipes import get_recipe
from resnet_nb.training import photo_training
from resnet_nb.training.photo_batches import Item, PhotoPlan, Reader, measured, read
from resnet_nb.training.photo_training import fit

trained = partial(fit, device="cpu", workers=0, progress=False)
MODEL = ["imagenet:resnet18", "--width", "2"]
SMALL = ["imagenet:resnet18", "--data", "folder", "--recipe", f"paper-imagenet,{CHANGES}"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


def test_the_recipe_agrees_with_the_facts() -> None:
    paper = get_recipe("paper-imagenet")
    assert (paper.batch_size, paper.iterations, paper.crop) == (fact("r.batch").value, fact("r.max_iter").value, fact("r.crop").value)
    assert (paper.rate, paper.momentum, paper.weight_decay) == tuple(fact(f"r.{name}").value for name in ("lr0", "momentum", "weight_decay"))
    assert paper.short_sides == (256, 480) and (paper.normalise, paper.colour, paper.decay_on) == ("pixel-mean", "pca", "weights")
    epochs = [drop * paper.batch_size / 1_281_167 for drop in paper.drops]
    assert epochs == pytest.approx([30, 60, 90], abs=0.1)  # as fb.resnet.torch
    assert paper.rate_at(0) == paper.rate_at(149_999) == 0.1 and get_recipe(None, "imagenet") is paper


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("paper-imagenet,short_sides=none", "short_sides is none: the least, at least the crop's 224"),
        ("paper-imagenet,short_sides=200+480", "short_sides is 200[+]480: the least"),
        ("paper-imagenet,short_sides=256x480", "like 256[+]480"),
        ("paper-imagenet,pad=4", "write pad=0"),
        ("paper-cifar,colour=pca", "for photographs: add crop=224"),
        ("paper-imagenet,colour=grey", "choose one of none, pca"),
    ],
)
def test_a_recipe_for_photographs_that_cannot_be_is_refused(changes: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        get_recipe(changes)


def test_a_plan_draws_every_image_once_an_epoch_and_all_else_uniformly() -> None:
    recipe = get_recipe("paper-imagenet,batch_size=50,crop=112,short_sides=128+131")
    colours = np.diag([3.0, 2.0, 1.0])
    items = [item for step in range(80) for item in PhotoPlan(1000, recipe, 3, colours)(step)]
    for epoch in range(4):
        assert sorted(item.image for item in items[1000 * epoch : 1000 * (epoch + 1)]) == list(range(1000))
    assert [item.image for item in items[:1000]] != [item.image for item in items[1000:2000]]
    counts = np.bincount([item.short for item in items])[128:]
    assert len(counts) == 4 and (abs(counts - 1000) < 5 * np.sqrt(750)).all()
    assert abs(sum(item.mirrored for item in items) - 2000) < 5 * np.sqrt(1000)
    for place in ("top", "left"):
        assert (abs(np.bincount([getattr(item, place) % 5 for item in items]) - 800) < 5 * np.sqrt(640)).all()
    shifts = np.array([item.colour for item in items])
    assert shifts.std(0) == pytest.approx([0.3, 0.2, 0.1], rel=0.06) and abs(shifts.mean(0)).max() < 5 * 0.3 / np.sqrt(4000)
    assert abs(np.corrcoef(shifts.T) - np.eye(3)).max() < 0.08


def test_a_plan_depends_on_seed_and_step_alone() -> None:
    plan = PhotoPlan(25, RECIPE, 0)
    later = plan(7)
    assert PhotoPlan(25, RECIPE, 0)(7) == later and PhotoPlan(25, RECIPE, 1)(7) != later and plan(8) != later


def test_a_crop_is_that_of_the_whole_picture_resized(root: Path) -> None:
    data = photo_data(root)
    reader = Reader(data.train, 16)
    for item in PhotoPlan(25, RECIPE, 0)(0) + PhotoPlan(25, RECIPE, 0)(1):
        pixels, label, _ = reader[item]
        with Image.open(data.train.paths[item.image]) as picture:
            whole = np.asarray(v2.functional.resize(picture.convert("RGB"), item.short))
        top, left = item.top % (whole.shape[0] - 15), item.left % (whole.shape[1] - 15)
        expected = whole[top : top + 16, left : left + 16]
        expected = expected[:, ::-1] if item.mirrored else expected
        assert abs(pixels.astype(int) - expected.astype(int)).max() <= 1 and label == data.train.labels[item.image]


def test_a_centre_crop_is_torchvisions(root: Path) -> None:
    data = photo_data(root)
    reader, transform = Reader(data.test, 16), v2.Compose([v2.Resize(18), v2.CenterCrop(16)])
    for place, path in enumerate(data.test.paths):
        with Image.open(path) as picture:
            assert (reader[Item(place, 18)][0] == np.asarray(transform(picture.convert("RGB")))).all()


def test_workers_read_what_this_process_reads(root: Path) -> None:
    reader, plan = Reader(photo_data(root).train, 16), PhotoPlan(25, RECIPE, 0)
    alone, shared = (list(read(reader, [plan(step) for step in range(3)], workers)) for workers in (0, 2))
    assert all(torch.equal(a, b) for one, other in zip(alone, shared, strict=True) for a, b in zip(one[:3], other[:3], strict=True))


@pytest.mark.parametrize("kind", ("pixel-mean", "channel-mean", "channel-mean-std"))
def test_mean_deviation_and_colours_are_those_of_the_centre_crops(kind: str, root: Path) -> None:
    data = photo_data(root)
    reader = Reader(data.train, 16)
    crops = np.stack([reader[Item(place, 18)][0] for place in range(25)]) / 255
    normalisation, colours = measured(data.train, replace(RECIPE, normalise=kind), 0)
    axes = 0 if kind == "pixel-mean" else (0, 1, 2)
    expected = crops.mean(axes).transpose(2, 0, 1) if kind == "pixel-mean" else crops.mean(axes).reshape(3, 1, 1)
    assert normalisation.mean.numpy() == pytest.approx(expected, rel=1e-5)
    deviation = crops.std((0, 1, 2)) if kind == "channel-mean-std" else np.ones(3)
    assert normalisation.std.flatten().numpy() == pytest.approx(deviation, rel=1e-5)
    covariance = np.cov(crops.reshape(-1, 3).T, bias=True)
    scales = np.linalg.norm(colours, axis=0)
    assert colours / scales @ np.diag(scales) @ (colours / scales).T == pytest.approx(covariance, rel=1e-6)  # vectors times their variances


def test_a_colour_is_added_in_0_to_1_before_the_division(root: Path) -> None:
    from resnet_nb.training.photo_training import PhotoRun
    from resnet_nb.training.ranks import ALONE

    run = PhotoRun(photo_net(), photo_data(root), replace(RECIPE, normalise="channel-mean-std"), 0, torch.device("cpu"), 8, False, ALONE, 0)
    (batch,) = run.read(run.reader, iter([run.plan(0)]))
    mean, std = run.normalisation.mean, run.normalisation.std
    expected = (batch.images / 255 + batch.colours.view(-1, 3, 1, 1) - mean) / std
    torch.testing.assert_close(run.placed(batch)[0], expected, rtol=1e-5, atol=1e-5)
    assert batch.colours.abs().max() > 0


def test_evenly_spaced_places_cover_every_class() -> None:
    assert evenly(10, 3).tolist() == [0, 3, 6] and evenly(3, 10).tolist() == [0, 1, 2]
    assert len(set(evenly(1_281_167, 50_000).tolist())) == 50_000


def test_a_stopped_run_ends_as_one_that_is_not(root: Path, tmp_path: Path) -> None:
    words = ["train", *MODEL, "--data", "folder", "--data-root", str(root), "--recipe", f"paper-imagenet,{CHANGES}", "--device", "cpu"]
    whole = trained(photo_net(), photo_data(root), RECIPE)
    for _ in range(2):
        ran = CliRunner().invoke(app, [*words, "--workers", "0", "--out", str(tmp_path / "run"), "--max-minutes", "1e-6"])
        assert ran.exit_code == 0 and "the same command goes on" in ran.output, ran.output
    ran = CliRunner().invoke(app, [*words, "--workers", "1", "--out", str(tmp_path / "run")])
    assert ran.exit_code == 0, ran.output
    record = records.read_record(tmp_path / "run" / "record.json")
    records.validate(record)
    assert record["provenance"]["resumed_at"] == [1, 2] and record["provenance"]["deterministic"] and "ranks" not in record["provenance"]
    kept = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    assert torch.equal(torch.cat([tensor.double().flatten() for tensor in kept.values()]), weights(whole.net))
    assert record["curve"]["loss"] == [round(loss, 6) for _, loss, _ in whole.curve.running]
    assert record["data"]["train_evaluated"] == 7 and record["recipe"]["short_sides"] == [18, 32] and "--image-size" not in record["command"]
    tested = ["evaluate", *MODEL, "--weights", str(tmp_path / "run" / "weights.pt"), "--data", "folder", "--data-root", str(root), "--json"]
    ran = CliRunner().invoke(app, [*tested, "--device", "cpu"])
    (row,) = json.loads(ran.stdout)["results"]
    assert (row["top1_error"], row["settings"]["resize"], row["settings"]["crop"]) == (record["final"]["test_error"], 18, 16)
    assert row["images"] == 7


def test_three_steps_are_those_of_plain_gradient_descent(root: Path) -> None:
    recipe, data, net = replace(RECIPE, rate=0.005), photo_data(root), photo_net(norm="none")
    normalisation, colours = measured(data.train, recipe, 0)
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [{"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0}]
    optimiser = torch.optim.SGD([{"params": kernels}, *others], lr=recipe.rate, momentum=0.9, weight_decay=1e-4)
    plan = PhotoPlan(25, recipe, 0, colours)
    for batch in read(Reader(data.train, 16), [plan(step) for step in range(3)], 0):
        images = batch.images / 255 - normalisation.mean + batch.colours.view(-1, 3, 1, 1)
        loss = torch.nn.functional.cross_entropy(net.train()(images), batch.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    done = trained(photo_net(norm="none"), data, recipe, iterations=3)
    torch.testing.assert_close(weights(done.net), weights(net), rtol=1e-4, atol=1e-6)


def test_each_step_is_taken_at_the_schedules_rate(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, real = [], photo_training.take_step

    def noted(net: torch.nn.Module, optimiser: torch.optim.SGD, *rest: object) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        real(net, optimiser, *rest)

    monkeypatch.setattr(photo_training, "take_step", noted)
    trained(photo_net(), photo_data(root), RECIPE)
    assert rates == pytest.approx([0.02] * 6 + [0.002] * 2)


def test_a_picture_that_cannot_be_read_ends_the_run_with_its_name(root: Path, tmp_path: Path) -> None:
    damaged = write_photographs(tmp_path) / "train" / "class0" / "000.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    with pytest.raises(InputError, match=r"000\.jpg"):
        trained(photo_net(), photo_data(tmp_path), RECIPE)


def test_imagenette_is_trained_with_ten_classes(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for wnid in ("n01440764", "n02102040", "n03888257"):
            path = tmp_path / "imagenette2-160" / part / wnid / f"{wnid}_1.JPEG"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(path)
    data = training_photographs("imagenette", tmp_path, 112)
    assert len(data.classes) == 10 and data.train.labels.tolist() == data.test.labels.tolist() == [0, 1, 9]
    assert data.classes[0] == "tench" and data.classes[9] == "parachute"


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["imagenet:resnet18", "--data", "imagenet", "--recipe", "paper-cifar"], {}, "imagenet holds photographs"),
        (["imagenet:resnet18", "--data", "digits", "--recipe", "paper-imagenet"], {}, "no collection of photographs to train on"),
        (["resnet20", "--data", "imagenet"], {}, "resnet20 is a net for 32x32 pixels"),
        (["imagenet:resnet18", "--data", "imagenet", "--split", "45k/5k"], {}, "leave --split"),
        (["imagenet:resnet18", "--data", "imagenet"], {}, "training images are not in"),
        (["resnet8", "--data", "digits"], {"WORLD_SIZE": "2"}, "the recipe quick-digits is for one process"),
        (SMALL, {"WORLD_SIZE": "4"}, "4 processes cannot share a batch of 6"),
        ([*SMALL, "--device", "mps"], {"WORLD_SIZE": "2"}, "write cuda, cpu"),
    ],
)
def test_wrong_usage_is_one_sentence(words: list, environment: dict, said: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["resnet-nb", "train", *words, "--data-root", str(root)])
    with pytest.raises(SystemExit) as ended:
        main()
    sentence = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and said.lower() in sentence.lower() and "\n" not in sentence and sentence.endswith("."), sentence
