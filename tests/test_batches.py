"""Batches depend on (seed, iteration) alone and hold what pad, crop, mirror and normalise would make image by image."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_data import images
from torchvision.transforms import v2

from resnet_nb.data import Images
from resnet_nb.data.draws import CROP, ORDER, SCALE, permutation, words
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.recipes import Recipe
from resnet_nb.training.batches import CHUNK, Batches


def make(recipe: Recipe, count: int = 50, channels: int = 3, side: int = 8, seed: int = 0) -> tuple[Batches, Normalisation]:
    data = images(count, channels, side)
    normalisation = Normalisation.measured(data, recipe.normalise)
    return Batches(data, recipe, normalisation, seed), normalisation


@pytest.mark.parametrize("normalise", ("pixel-mean", "channel-mean", "channel-mean-std"))
@pytest.mark.parametrize("border", ("mean", "black"))
@pytest.mark.parametrize("channels", (1, 3))
def test_one_gather_equals_pad_crop_mirror_image_by_image(normalise: str, border: str, channels: int) -> None:
    recipe = Recipe("test", batch_size=16, normalise=normalise, border=border)
    batches, normalisation = make(recipe, channels=channels)
    data = images(50, channels, 8)
    for step in (0, 1, 7):
        pixels, labels = batches(step)
        for n, (index, top, left, mirrored) in enumerate(zip(batches.indices(step), *batches.crops(step), strict=True)):
            image = data.images[index : index + 1]
            if border == "mean":  # zeros after the subtraction
                padded = F.pad(normalisation(image), (4, 4, 4, 4))
            else:  # zeros before it, in an image whose mean outside is its channels' mean
                mean = normalisation.mean.expand(channels, 8, 8).mean((1, 2), keepdim=True)
                outside = ((0 - mean) / normalisation.std).expand(channels, 16, 16).unsqueeze(0).clone()
                outside[:, :, 4:12, 4:12] = normalisation(image)
                padded = outside
            crop = padded[:, :, top : top + 8, left : left + 8]
            expected = crop.flip(3) if mirrored else crop
            torch.testing.assert_close(pixels[n : n + 1], expected, rtol=0, atol=1e-5)
            assert labels[n] == data.labels[index]


def test_a_batch_without_augmentation_equals_torchvisions_pipeline() -> None:
    recipe = Recipe("test", batch_size=16, normalise="channel-mean-std", pad=0, flip=False)
    batches, normalisation = make(recipe)
    usual = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(normalisation.mean.view(-1).tolist(), normalisation.std.view(-1).tolist())]
    )
    pixels, _ = batches(0)
    torch.testing.assert_close(pixels, usual(images(50, 3).images[batches.indices(0)]), rtol=1e-5, atol=1e-5)


@given(count=st.integers(1, 70), size=st.integers(1, 40), seed=st.integers(0, 2**40))
def test_every_epoch_shows_every_image_once(count: int, size: int, seed: int) -> None:
    batches, _ = make(Recipe("test", batch_size=size), count, seed=seed)
    steps = -(-3 * count // size)
    drawn = np.concatenate([batches.indices(step) for step in range(steps)])
    for epoch in range(3):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_batches_can_be_asked_for_in_any_order() -> None:
    batches, _ = make(Recipe("test", batch_size=16))
    forward = [batches(step) for step in range(9)]
    for step in (8, 0, 5, 4):
        again = batches(step)
        assert torch.equal(again[0], forward[step][0]) and torch.equal(again[1], forward[step][1])


def test_batches_ignore_global_random_state_and_differ_between_seeds() -> None:
    recipe = Recipe("test", batch_size=16)
    torch.manual_seed(1)
    np.random.seed(1)
    first = make(recipe)[0](3)[0]
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(make(recipe)[0](3)[0], first)
    assert not torch.equal(make(recipe, seed=1)[0](3)[0], first)


def test_every_offset_and_both_mirrors_are_drawn_evenly() -> None:
    batches, _ = make(Recipe("test", batch_size=1000))
    drawn = [batches.crops(step) for step in range(9)]
    for axis in (0, 1):
        counts = np.bincount(np.concatenate([crop[axis] for crop in drawn]), minlength=9)
        assert len(counts) == 9 and (abs(counts - 1000) < 5 * 1000**0.5).all()
    assert abs(np.concatenate([crop[2] for crop in drawn]).mean() - 0.5) < 0.03


def test_draws_are_the_words_that_numpy_guarantees() -> None:
    """Fixed values: were they to change, no recorded run could be repeated."""
    assert words(0, ORDER, 0, 2).tolist() == [11203925021116910928, 9292188272879797859]
    assert permutation(0, ORDER, 0, 8).tolist() == [3, 7, 4, 2, 1, 6, 5, 0]
    assert words(0, SCALE, 0, 2).tolist() == [17495607693066393980, 3587705599893938604]
    assert words(0, ORDER, 0, 2).tolist() != words(0, CROP, 0, 2).tolist()


@pytest.mark.parametrize(
    ("recipe", "digest"),
    [
        (Recipe("test", batch_size=16), "c5aff62b45bbaf5a7b7c67f628b42ce2a7b65a80a11a15a9ef08555aa5eb48ed"),
        (
            Recipe("test", batch_size=16, normalise="channel-mean-std", pad=2),
            "777bf8873d2fea1730b60dff032ca9ba0a049541c9eaec11a8cb9b73cd42d2e2",
        ),
    ],
)
def test_batches_without_scales_are_what_they_were_to_the_last_bit(recipe: Recipe, digest: str) -> None:
    """Fixed values, those of the first recorded runs."""
    pixels = torch.from_numpy((np.arange(50 * 3 * 8 * 8) * 37 % 251).astype(np.uint8).reshape(50, 3, 8, 8))
    data = Images(pixels, torch.arange(50) % 10)
    batches = Batches(data, recipe, Normalisation.measured(data, recipe.normalise), seed=3)
    found = hashlib.sha256()
    for step in range(7):
        for tensor in batches(step):
            found.update(tensor.contiguous().numpy().tobytes())
    assert found.hexdigest() == digest


def scaled(**fields: object) -> Recipe:
    return Recipe("test", **{"batch_size": 16, "normalise": "channel-mean-std", "pad": 2, "scales": (8, 10, 13), **fields})


def by_hand(image: np.ndarray, side: int, top: int, left: int, mirrored: int, mean: np.ndarray, std: np.ndarray, recipe: Recipe) -> np.ndarray:
    """One (C, H, W) uint8 image with Pillow and NumPy alone: enlarged, normalised, padded, cropped, mirrored."""
    height, width = image.shape[1:]
    size = width * side // min(height, width), height * side // min(height, width)
    enlarged = np.stack([np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)) for channel in image])
    around = ((0, 0), (recipe.pad,) * 2, (recipe.pad,) * 2)
    if recipe.border == "black":
        enlarged = np.pad(enlarged, around)
    floats = (enlarged.astype(np.float32) - 255 * mean) * (1 / (255 * std))
    padded = floats if recipe.border == "black" else np.pad(floats, around)
    crop = padded[:, top : top + height, left : left + width]
    return crop[:, :, ::-1] if mirrored else crop


@pytest.mark.parametrize("normalise", ("channel-mean", "channel-mean-std"))
@pytest.mark.parametrize("border", ("mean", "black"))
@pytest.mark.parametrize("width", (8, 12))
@pytest.mark.parametrize("channels", (1, 3))
def test_one_gather_equals_pillows_enlarging_and_numpys_crop_image_by_image(normalise: str, border: str, width: int, channels: int) -> None:
    recipe = scaled(normalise=normalise, border=border)
    whole = images(50, channels, width)
    data = Images(whole.images[:, :, :8], whole.labels)
    normalisation = Normalisation.measured(data, normalise)
    batches = Batches(data, recipe, normalisation, seed=0)
    for step in (0, 1, 7):
        pixels, labels = batches(step)
        drawn = zip(batches.indices(step), batches.sides(step), *batches.crops(step), strict=True)
        expected = [
            by_hand(data.images[n].numpy(), recipe.scales[s], *crop, normalisation.mean.numpy(), normalisation.std.numpy(), recipe)
            for n, s, *crop in drawn
        ]
        # exact; black is subtracted as the mean of a whole image's means, which are equal but for its rounding
        np.testing.assert_allclose(pixels.numpy(), np.stack(expected), rtol=0, atol=0 if border == "mean" else 2e-6)
        assert torch.equal(labels, data.labels[batches.indices(step)])


def test_all_sides_and_all_their_offsets_are_drawn_evenly() -> None:
    batches, _ = make(scaled(batch_size=1000, scales=(9, 12, 15)))  # 6, 9 and 12 offsets: with one draw for both, two in three would be missing
    steps = range(12)
    sides = np.concatenate([batches.sides(step) for step in steps])
    assert (abs(np.bincount(sides, minlength=3) - 4000) < 5 * 4000**0.5).all()
    for axis in (0, 1):
        offsets = np.concatenate([batches.crops(step)[axis] for step in steps])
        for place, side in enumerate((9, 12, 15)):
            counts = np.bincount(offsets[sides == place])
            each = 4000 / (side + 2 * 2 - 8 + 1)
            assert len(counts) == side + 2 * 2 - 8 + 1 and (abs(counts - each) < 5 * each**0.5).all()


def test_scales_change_neither_the_order_nor_the_mirrors_and_the_images_own_side_changes_nothing() -> None:
    plain, with_scales, own = (make(scaled(scales=scales))[0] for scales in ((), (8, 10, 13), (8,)))
    for step in range(5):
        assert np.array_equal(with_scales.indices(step), plain.indices(step)) and np.array_equal(with_scales.crops(step)[2], plain.crops(step)[2])
        assert torch.equal(own(step)[0], plain(step)[0])
    assert not torch.equal(with_scales(0)[0], plain(0)[0])


def test_many_images_are_enlarged_in_parts_that_follow_one_another() -> None:
    batches, _ = make(scaled(scales=(8, 10), pad=1), count=CHUNK + 5)
    data = images(CHUNK + 5, 3, 8).images
    held = batches.pixels.view(len(data), -1, 3)[:, 100:].view(-1, 12, 12, 3)  # after the 10x10 pixels of the first side
    for n in (0, CHUNK - 1, CHUNK, CHUNK + 4):
        enlarged = Image.fromarray(data[n].permute(1, 2, 0).numpy()).resize((10, 10), Image.Resampling.BILINEAR)
        assert np.array_equal(held[n, 1:-1, 1:-1].numpy(), np.asarray(enlarged))


def test_a_side_less_than_the_images_own_is_refused() -> None:
    with pytest.raises(InputError, match="scales begins with 7, less than the images' 8x8 pixels: give their own side or more"):
        make(scaled(scales=(7, 8)))


def test_channels_lie_last_in_memory() -> None:
    pixels, _ = make(Recipe("test", batch_size=16))[0](0)
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_the_pixel_mean_makes_the_training_images_zero_on_average() -> None:
    data = images(50, 3)
    for kind in ("pixel-mean", "channel-mean", "channel-mean-std"):
        floats = Normalisation.measured(data, kind)(data.images)
        dims = (0,) if kind == "pixel-mean" else (0, 2, 3)
        assert floats.mean(dims).abs().max() < 1e-6
        if kind == "channel-mean-std":
            torch.testing.assert_close(floats.std(dims, correction=0), torch.ones(3), rtol=1e-4, atol=1e-4)


def test_recipes_are_frozen_and_their_choices_checked() -> None:
    recipe = Recipe("test")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.rate = 1.0
    for field in ("momentum_form", "decay_on", "normalise", "border", "statistics"):
        with pytest.raises(InputError, match=field):
            dataclasses.replace(recipe, **{field: "nonsense"})


@pytest.mark.parametrize("recipe", (Recipe("test", batch_size=16), scaled(), scaled(batch_size=70, flip=False, border="black")))
def test_a_plans_rows_give_the_batches_drawn_image_by_image(recipe: Recipe) -> None:
    batches, _ = make(recipe)
    plan = batches.plan(2, 5)
    assert plan.shape == (5, 4, recipe.batch_size) and plan.dtype == torch.int64
    for row, step in zip(plan, range(2, 7), strict=True):
        sides, (tops, lefts, mirrored) = batches.sides(step), batches.crops(step)
        widths = 8 + 2 * recipe.pad if not recipe.scales else np.array(recipe.scales)[sides] + 2 * recipe.pad
        before = np.concatenate([[0], np.cumsum((np.array(recipe.scales or [8]) + 2 * recipe.pad) ** 2)])[sides]
        assert np.array_equal(row[0], batches.indices(step)) and np.array_equal(row[1], before + tops * widths + lefts)
        assert (row[2].numpy() == widths).all() and np.array_equal(row[3], mirrored)
        for found, expected in zip(batches.gather(row), batches(step), strict=True):
            assert torch.equal(found, expected)


@given(count=st.integers(1, 70), size=st.integers(1, 40), first=st.integers(0, 30), steps=st.integers(1, 12))
def test_a_block_is_planned_as_its_steps_are_one_by_one(count: int, size: int, first: int, steps: int) -> None:
    batches, _ = make(Recipe("test", batch_size=size), count)
    assert torch.equal(batches.plan(first, steps), torch.cat([batches.plan(step, 1) for step in range(first, first + steps)]))
