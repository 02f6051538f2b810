"""Views lie where torchvision's crops do, and a protocol is what its fields say or is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torchvision.transforms.functional as pictures
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models import Inception_V3_Weights, ResNet50_Weights, ViT_H_14_Weights
from torchvision.transforms.functional import _compute_resized_output_size as torchvisions_size

from resnet_nb.errors import InputError
from resnet_nb.protocols import Preprocessing, Protocol, box
from resnet_nb.protocols.geometry import NAMES, resized_size

PAIRED = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]  # where in torchvision's TenCrop our views are: we pair each crop with its own mirror image


@given(st.integers(20, 90), st.integers(20, 90), st.integers(1, 20), st.integers(0, 3))
def test_the_ten_views_are_those_of_torchvisions_ten_crop(height: int, width: int, crop: int, pad: int) -> None:
    numbered = torch.arange(1, 1 + height * width).view(1, height, width)
    theirs = pictures.ten_crop(pictures.pad(numbered, pad), crop)
    protocol = Protocol("10-crop", crop=crop, pad=pad)
    padded = np.pad(numbered[0].numpy(), pad)
    for view, place in zip(protocol.views(), PAIRED, strict=True):
        top, left, *size = box(view, height, width, crop, pad)
        ours = padded[top + pad : top + pad + size[0], left + pad : left + pad + size[1]]
        assert np.array_equal(ours[:, ::-1] if view.mirrored else ours, theirs[place][0].numpy())


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 800))
def test_the_short_side_is_resized_to_torchvisions_size(height: int, width: int, short: int) -> None:
    assert list(resized_size(height, width, short)) == torchvisions_size((height, width), [short])
    assert resized_size(height, width, None) == (height, width)


def test_the_papers_sizes() -> None:
    one, ten, dense, several = (Protocol.paper(name) for name in NAMES)
    assert (one.resize, one.crop, len(one.views())) == (256, 224, 1) and one.views()[0].place == "centre"
    assert (ten.resize, ten.crop, len(ten.views())) == (256, 224, 10) and ten.rule == "softmax"
    assert dense.scales == (256,) and [view.mirrored for view in dense.views()] == [False, True]
    assert [view.short for view in several.views()] == [224, 224, 256, 256, 384, 384, 480, 480, 640, 640]


def test_pixels_are_those_of_all_views() -> None:
    assert Protocol.paper("10-crop").pixels(480, 640) == 10 * 224**2
    assert Protocol.paper("multi-scale").pixels(480, 480) == 2 * sum(side**2 for side in (224, 256, 384, 480, 640))
    assert Protocol.paper("dense").pixels(480, 640) == 2 * 256 * 341


def test_views_come_in_reading_order_then_the_centre_then_mirrored() -> None:
    names = [("mirrored " if view.mirrored else "") + view.place for view in Protocol.cifar("10-crop").views()]
    five = ["top left", "top right", "bottom left", "bottom right", "centre"]
    assert names == five + [f"mirrored {name}" for name in five]


def test_without_mirrors_half_the_views_are_left() -> None:
    for name in NAMES[1:]:
        protocol = Protocol.paper(name)
        assert replace(protocol, mirror=False).views() == tuple(view for view in protocol.views() if not view.mirrored)


def test_cifar_pictures_are_seen_whole_padded_or_enlarged() -> None:
    one, ten, dense, several = (Protocol.cifar(name) for name in NAMES)
    assert box(one.views()[0], 32, 32, one.crop, one.pad) == (0, 0, 32, 32)
    assert {box(view, 32, 32, ten.crop, ten.pad)[:2] for view in ten.views()} == {(-4, -4), (-4, 4), (4, -4), (4, 4), (0, 0)}
    assert (dense.scales, several.scales) == ((40,), (32, 40, 48)) and one.resize is ten.resize is None


def test_weights_bring_their_own_sizes_and_filter() -> None:
    two = Protocol.for_weights("10-crop", ResNet50_Weights.IMAGENET1K_V2)
    assert (two.resize, two.crop, two.interpolation) == (232, 224, "bilinear")
    assert Protocol.for_weights("1-crop", ResNet50_Weights.IMAGENET1K_V1) == Protocol.paper("1-crop")
    assert Protocol.for_weights("multi-scale", ResNet50_Weights.IMAGENET1K_V1) == Protocol.paper("multi-scale")
    assert Protocol.for_weights("multi-scale", ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1).scales[0] == 518
    assert Preprocessing.of(Inception_V3_Weights.IMAGENET1K_V1)[:2] == (342, 299)
    config = timm.create_model("resnet50.a1_in1k").pretrained_cfg
    theirs = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config)).transforms[0]
    assert Preprocessing.of(config)[:3] == (theirs.size, 224, theirs.interpolation.value)


@pytest.mark.parametrize("weights", [None, {"input_size": (3, 224, 224)}, {"input_size": (3, 224, 224), "crop_pct": 1, "crop_mode": "squash"}])
def test_weights_that_name_no_square_centre_crop_are_refused(weights: object) -> None:
    with pytest.raises(InputError, match="--resize and --crop"):
        Preprocessing.of(weights)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("default", [Protocol.paper, Protocol.cifar])
def test_a_protocol_survives_json(name: str, default) -> None:  # noqa: ANN001
    protocol = replace(default(name), rule="logits", resizer="tensor", interpolation="bicubic")
    assert Protocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": "12-crop"}, "Unknown protocol"),
        ({}, "no name"),
        ({"name": "1-crop", "size": 3}, "unknown field 'size'"),
        ({"name": "1-crop", "rule": "pooled"}, "Unknown rule"),
        ({"name": "1-crop", "resize": 200}, "less than the crop"),
        ({"name": "1-crop", "crop": 0}, "crop of 0"),
        ({"name": "1-crop", "crop": 8.5}, "whole number"),
        ({"name": "10-crop", "scales": [256]}, "not scales"),
        ({"name": "10-crop", "interpolation": "lanczos"}, "Unknown interpolation"),
        ({"name": "10-crop", "resizer": "cv2"}, "Unknown resizer"),
        ({"name": "dense"}, "0 scales"),
        ({"name": "dense", "scales": [224, 256]}, "2 scales"),
        ({"name": "multi-scale", "scales": [256, 256]}, "twice"),
        ({"name": "multi-scale", "scales": [192, 256]}, "no window"),
        ({"name": "dense", "scales": [256], "resize": 256}, "leave"),
    ],
)
def test_what_makes_no_protocol_is_refused(values: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Protocol.from_dict(values)


def test_one_global_average_needs_no_window() -> None:
    assert Protocol("dense", scales=(192,), rule="pooled").crop == 224


def test_a_picture_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(InputError, match="31x40 pixels"):
        box(Protocol.cifar("1-crop").views()[0], 40, 31, 32)
