"""Probes: each finds the fault that was planted, names the true setting, and finds nothing where nothing is wrong."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from coloured_pictures import coloured, saved, shaped, trained
from PIL import Image
from scipy.stats import binomtest
from torch import nn
from torchvision import transforms

from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation
from resnet_nb.diagnose.probes import COLUMNS, Diagnosis, confirm, giving, probe, verdict
from resnet_nb.diagnose.settings import IMAGENET, KINDS, Geometry, Setting, alternatives, same
from resnet_nb.errors import InputError

RIGHT = Normalisation.of_channels(*IMAGENET)
SOUND = Setting(RIGHT)
GEOMETRY = Geometry(resize=32, crop=28)  # crop fraction 0.875, bilinear, antialiased
PHOTOGRAPHS = Setting(RIGHT, GEOMETRY)
SHIFT = torch.tensor([3, 0, 1, 2, 7, 4, 5, 6])  # class i is numbered SHIFT[i]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A net that knows `coloured` images, normalised with ImageNet's constants: 4 to 5 % of error."""
    return trained(coloured(2_000, 0), RIGHT, 200)


@pytest.fixture(scope="module")
def images() -> Images:
    return coloured(400, 1)


@pytest.fixture(scope="module")
def shape_net() -> nn.Module:
    """A net that knows `shaped` pictures as `GEOMETRY` prepares them."""
    pictures, labels = shaped(1_600, 0)
    return trained(Images(torch.stack([GEOMETRY(picture) for picture in pictures]), torch.tensor(labels)), RIGHT, 300)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[int]]:
    return saved(tmp_path_factory.mktemp("pictures"), 160, 1)


def exchanged(images: Images) -> Images:
    return Images(images.images.flip(1), images.labels)


def contrast_lowered(net: nn.Module) -> nn.Module:
    """The same function at epsilon 1e-5, by maps a hundredth as large before the first batch normalisation, so that epsilon counts."""
    with torch.no_grad():
        net[0].weight *= 0.01
        net[1].running_mean *= 0.01
        net[1].running_var.add_(1e-5).mul_(1e-4).sub_(1e-5).clamp_(min=0)
    return net


def found(diagnosis: Diagnosis, kind: str) -> bool:
    """Whether the first fault found is one of `kind`, and is all that was found."""
    table = diagnosis.table
    names = table["setting"][(table["kind"] == kind) & (table["step"] == 1)]
    return len(diagnosis.changes) == 1 and diagnosis.changes[0] in set(names)


# Planted faults, small images


def test_exchanged_channels_are_found(net, images):
    """Here another order of the classes would explain it as well, having been fitted, and gives way."""
    diagnosis = probe(net, exchanged(images), SOUND)
    assert diagnosis.changes == ("red and blue exchanged",) and diagnosis.best.swapped
    assert verdict(diagnosis).startswith("The net scores best with red and blue exchanged: 95")
    assert len(diagnosis.alike) == 1 and "another order" in diagnosis.alike[0]


@pytest.mark.parametrize("factor", [255, 1 / 255])
def test_a_division_by_255_left_out_or_done_twice_is_found(net, images, factor):
    given = Setting(Normalisation(RIGHT.mean / factor, RIGHT.std / factor))
    diagnosis = probe(net, images, given, kinds=["scaling"])
    assert found(diagnosis, "scaling") and same(diagnosis.best, SOUND)


def test_pixels_in_minus_one_to_one_are_found_for_a_net_that_wants_them(images):
    wanted = Normalisation.of_channels([0.5] * 3, [0.5] * 3)
    diagnosis = probe(trained(coloured(2_000, 0), wanted, 150), images, Setting(Normalisation.of_channels([0.0] * 3)), kinds=["scaling"])
    assert diagnosis.changes == ("pixels in -1..1",)


@pytest.mark.parametrize("given", [([0.5] * 3, [0.5] * 3), ([0.0] * 3, [1.0] * 3), ([0.2, 0.3, 0.4], [0.2, 0.2, 0.2])])
def test_wrong_constants_are_found_and_equally_good_ones_named(net, images, given):
    diagnosis = probe(net, images, Setting(Normalisation.of_channels(*given)))
    assert found(diagnosis, "mean and std")
    assert "ImageNet's mean and std" in diagnosis.changes + diagnosis.alike  # CIFAR's are too near to be told apart
    assert "these pictures' mean alone" not in diagnosis.changes + diagnosis.alike


def test_a_mean_of_each_pixel_is_found(images):
    """Images of one background that a mean per channel leaves in."""
    draw = np.random.default_rng(5)
    background = torch.from_numpy(draw.integers(0, 120, (3, 16, 16)))

    def on(part: Images) -> Images:
        return Images((part.images // 2 + background).to(torch.uint8), part.labels)

    train = on(coloured(2_000, 0))
    pixel = Normalisation.measured(train, "pixel-mean")
    diagnosis = probe(trained(train, pixel, 200), on(coloured(1_000, 1)), Setting(RIGHT), kinds=["mean and std"])
    assert "each pixel's mean alone" in diagnosis.changes + diagnosis.alike


def test_a_wrong_epsilon_is_found(images):
    net = contrast_lowered(trained(coloured(2_000, 0), RIGHT, 200))
    for module in (net[1], net[4], net[7]):
        module.eps = 1e-3
    diagnosis = probe(net, images, SOUND)
    assert diagnosis.changes == ("epsilon 1e-05",)


@pytest.mark.parametrize("said", ["by the setting", "by the net's mode"])
def test_a_forgotten_evaluation_mode_is_found(net, images, said):
    """Bright images alone: by the statistics of their own batches they are neither bright nor dark."""
    bright = Images(images.images[images.labels > 3], images.labels[images.labels > 3])
    try:
        net.train(said == "by the net's mode")
        diagnosis = probe(net, bright, replace(SOUND, training=True) if said == "by the setting" else SOUND)
        assert net.training is (said == "by the net's mode")
    finally:
        net.eval()
    assert diagnosis.changes == ("evaluation mode",) and diagnosis.best.training is False


def test_another_order_of_the_classes_is_found_and_inverted(net, images):
    diagnosis = probe(net, Images(images.images, SHIFT[images.labels]), SOUND)
    assert found(diagnosis, "class order") and "8 of 8 outputs" in diagnosis.changes[0]
    assert diagnosis.best.order == tuple(SHIFT.tolist())
    assert diagnosis.comparison.images == 200 and "fitted on the other half" in verdict(diagnosis)


def test_an_order_is_scored_where_it_was_not_fitted(net, images):
    """With random labels an order fitted and scored on the same images would look better than chance."""
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 8, len(images)))
    row = probe(net, Images(images.images, labels), SOUND, kinds=["class order"]).table.iloc[1]
    assert row["images"] == 200 and not row["better"] and row["error_low"] <= 87.5 <= row["error_high"]


def test_outputs_that_no_image_tells_of_stay_where_they_are(images):
    """Labels at random among a thousand: 200 fitted images move two outputs each at most, and say nothing of the others."""
    wide = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1_000)).eval()
    labels = torch.from_numpy(np.random.default_rng(0).permutation(1_000)[: len(images)])
    ordered = probe(wide, Images(images.images, labels), SOUND, kinds=["class order"]).table.iloc[1]["setting"]
    assert 0 < int(ordered.split("(")[1].split(" of ")[0]) <= 2 * 200


def test_two_faults_are_found_one_after_the_other(net, images):
    given = Setting(Normalisation.of_channels([0.5] * 3, [0.5] * 3))
    diagnosis = probe(net, exchanged(images), given)
    assert len(diagnosis.changes) == 2 and "red and blue exchanged" in diagnosis.changes
    assert " and then " in verdict(diagnosis)
    assert diagnosis.comparison.difference == pytest.approx(diagnosis.table.iloc[1:].query("better").groupby("step")["difference"].min().sum())
    assert set(diagnosis.table["step"]) == {0, 1, 2, 3}


# Planted faults, photographs


@pytest.mark.parametrize(
    "fault, kind",
    [
        ({"squash": True}, "resize"),
        ({"resize": 28}, "resize"),
        ({"resize": 29}, "resize"),
        ({"interpolation": "bicubic"}, "interpolation"),
        ({"antialias": False}, "antialias"),
    ],
)
def test_a_wrong_geometry_is_found(shape_net, photographs, fault, kind):
    paths, labels = photographs
    diagnosis = probe(shape_net, paths, Setting(RIGHT, replace(GEOMETRY, **fault)), labels)
    assert found(diagnosis, kind) and diagnosis.best.geometry == GEOMETRY


def test_a_sound_geometry_gives_no_alarm(shape_net, photographs):
    paths, labels = photographs
    diagnosis = probe(shape_net, paths, PHOTOGRAPHS, labels)
    assert diagnosis.changes == () and same(diagnosis.best, PHOTOGRAPHS)
    assert set(diagnosis.table["kind"]) == {"yours", *KINDS}


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
def test_geometry_is_torchvisions(name, antialias):
    picture = shaped(1, 0)[0][0]
    mode = transforms.InterpolationMode(name)
    steps = [transforms.Resize(40, mode, antialias=antialias), transforms.CenterCrop(33)]
    pipeline = [*steps, transforms.PILToTensor()] if antialias else [transforms.PILToTensor(), *steps]
    assert torch.equal(Geometry(40, 33, interpolation=name, antialias=antialias)(picture), transforms.Compose(pipeline)(picture))


def test_a_squash_keeps_the_whole_picture():
    picture = Image.new("RGB", (90, 60))
    picture.paste((255, 255, 255), (0, 0, 45, 60))
    left, right = Geometry(30, 30, squash=True)(picture).split(15, dim=2)
    assert left[..., :-2].min() == 255 and right[..., 2:].max() == 0


def test_damaged_pictures_are_left_out_and_named(shape_net, photographs, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    paths, labels = [*photographs[0][:40], damaged], [*photographs[1][:40], 0]
    diagnosis = probe(shape_net, paths, PHOTOGRAPHS, labels, kinds=["resize"])
    assert len(diagnosis.unreadable) == 1 and "damaged.png" in diagnosis.unreadable[0]
    assert set(diagnosis.table["images"]) == {40}
    with pytest.raises(InputError, match="None of the 1 pictures can be read: .*damaged.png"):
        probe(shape_net, [damaged], PHOTOGRAPHS, [0])
    with pytest.raises(InputError, match="2 pictures or more, and 1 can be read: .*damaged.png"):
        probe(shape_net, [damaged, photographs[0][0]], PHOTOGRAPHS, [0, 0])


def test_a_picture_that_would_grow_beyond_all_bounds_is_refused():
    with pytest.raises(InputError, match="once resized from 60000x1"):
        Geometry(256, 224)(Image.new("RGB", (60_000, 1)))


# Sound set-ups


@pytest.mark.parametrize("seed", range(10, 20))
def test_a_sound_set_up_gives_no_alarm(net, seed):
    diagnosis = probe(net, coloured(400, seed), SOUND)
    assert diagnosis.changes == () and same(diagnosis.best, SOUND)
    assert diagnosis.tried == len(diagnosis.table) - 1 >= 15
    assert verdict(diagnosis).startswith(f"On 400 images none of {diagnosis.tried} other settings scores better than yours")


def test_chance_alone_gives_no_more_alarms_than_said(net, images):
    """Labels that have nothing to do with the images: whatever looks better is luck, and at 5 % a tenth of the trials would be much."""
    alarms = 0
    for seed in range(30):
        labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 8, len(images)))
        alarms += bool(probe(net, Images(images.images, labels), SOUND, level=0.05).changes)
    assert alarms <= 3


# What is reported


def test_the_table_corrects_by_the_settings_of_its_step(net, images):
    table = probe(net, exchanged(images), SOUND).table
    assert list(table.columns) == COLUMNS and list(table["kind"][:2]) == ["yours", "channels"]
    for _, step in table[1:].groupby("step"):
        assert step["p_corrected"].to_numpy() == pytest.approx(np.minimum(1, step["p"] * len(step)))
    for row in table[1:].itertuples():
        assert row.p == pytest.approx(binomtest(row.only_this, row.only_this + row.only_before).pvalue if row.only_this + row.only_before else 1)
        assert row.difference == pytest.approx(100 * (row.only_before - row.only_this) / row.images)


def test_the_errors_are_those_of_the_net(net, images):
    with torch.no_grad():
        wrong = (net(RIGHT(images.images)).argmax(1) != images.labels).double().mean()
        exchanged_wrong = (net(RIGHT(images.images.flip(1))).argmax(1) != images.labels).double().mean()
    table = probe(net, images, SOUND, kinds=["channels"]).table
    assert list(table["error"]) == pytest.approx([100 * wrong.item(), 100 * exchanged_wrong.item()])


def test_settings_that_give_the_measured_number_are_listed(net, images):
    diagnosis = probe(net, images, SOUND)
    assert "red and blue exchanged" in set(giving(diagnosis, 99.8)["setting"])
    assert "as given" in set(giving(diagnosis, 5.0)["setting"]) and "red and blue exchanged" not in set(giving(diagnosis, 5.0)["setting"])


def test_a_confirmation_uses_the_other_pictures(net):
    pictures = exchanged(coloured(1_000, 1))
    diagnosis = probe(net, pictures, SOUND, subset=300)
    confirmed = confirm(diagnosis, net, pictures)
    assert (confirmed.images, confirm(diagnosis, net, pictures, images=50).images) == (700, 50)
    assert confirmed.difference < -80 and confirmed.p < 1e-100
    with pytest.raises(InputError, match="smaller subset"):
        confirm(probe(net, pictures, SOUND, kinds=["channels"]), net, pictures)


def test_photographs_are_confirmed_too(shape_net, photographs):
    paths, labels = photographs
    diagnosis = probe(shape_net, paths, Setting(RIGHT, replace(GEOMETRY, squash=True)), labels, subset=100, kinds=["resize"])
    assert confirm(diagnosis, shape_net, paths, labels).images == 60


def test_a_probe_leaves_no_trace_and_is_repeatable(net, images):
    state, draws = {name: tensor.clone() for name, tensor in net.state_dict().items()}, torch.get_rng_state()
    tables = [probe(net, images, replace(SOUND, epsilon=1e-3)).table.drop(columns="seconds") for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in state.items())
    assert torch.equal(torch.get_rng_state(), draws) and not net.training and net[1].eps == 1e-5


def test_dropout_draws_the_same_for_every_probe(net, images):
    dropping = nn.Sequential(nn.Dropout2d(0.5), net)
    tables = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tables.append(probe(dropping, images, replace(SOUND, training=True), kinds=["mode"]).table)
    assert list(tables[0]["error"]) == list(tables[1]["error"]) and tables[0]["better"][1]


@pytest.mark.gpu
def test_probes_run_on_a_gpu(net, images):
    """With the net there, and the images there or not. A few predictions may differ from the CPU's, which adds in another order."""
    on_gpu = copy.deepcopy(net).cuda()
    expected = probe(net, exchanged(images), SOUND)
    for pictures in (exchanged(images), exchanged(images).to("cuda")):
        diagnosis = probe(on_gpu, pictures, SOUND)
        assert diagnosis.changes == expected.changes
        assert diagnosis.table["error"].to_numpy() == pytest.approx(expected.table["error"].to_numpy(), abs=2)


def test_grey_images_are_probed_for_what_applies_to_them(net):
    grey = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    part = coloured(64, 0)
    table = probe(grey, Images(part.images[:, :1], part.labels), Setting(Normalisation.of_channels([0.5], [0.5]))).table
    assert set(table["kind"]) == {"yours", "scaling", "mean and std", "mode", "class order"}  # no batch normalisation, no channels


def test_each_alternative_differs_from_the_others(net, images):
    others = [setting for _, _, setting in alternatives(PHOTOGRAPHS, net, images)]
    assert not any(same(a, b) for place, a in enumerate(others) for b in others[:place]) and not any(same(a, PHOTOGRAPHS) for a in others)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kinds": ["colour"]}, "no probe 'colour'"),
        ({"pictures": Images(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))}, "no pictures"),
        ({"setting": PHOTOGRAPHS}, "leave geometry and labels out"),
        ({"pictures": [Path("a.png")], "setting": SOUND, "labels": [0]}, "need a geometry"),
        ({"pictures": [Path("a.png")], "setting": PHOTOGRAPHS, "labels": [0, 1]}, "one label each"),
        ({"pictures": Images(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 8]))}, "from 0 to 8 and the net has 8 outputs"),
    ],
)
def test_what_does_not_fit_is_refused(net, images, change, words):
    with pytest.raises(InputError, match=words):
        probe(net, **{"pictures": images, "setting": SOUND} | change)


def test_impossible_geometries_are_refused():
    with pytest.raises(InputError, match="crop of 224 pixels does not fit into a short side of 200"):
        Geometry(200, 224)
    with pytest.raises(InputError, match="bilinear or bicubic"):
        Geometry(256, 224, interpolation="nearest")
