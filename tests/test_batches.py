"""Batches depend on (seed, iteration) alone and hold what pad, crop, mirror and normalise would make image by image."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_data import images
from torchvision.transforms import v2

from resnet_nb.batches import Batches
from resnet_nb.draws import CROP, ORDER, permutation, words
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import Recipe


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
    assert words(0, ORDER, 0, 2).tolist() != words(0, CROP, 0, 2).tolist()


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
    from resnet_nb.errors import InputError

    recipe = Recipe("test")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.rate = 1.0
    for field in ("momentum_form", "decay_on", "normalise", "border", "statistics"):
        with pytest.raises(InputError, match=field):
            dataclasses.replace(recipe, **{field: "nonsense"})
