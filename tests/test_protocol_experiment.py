"""The live experiment of the protocol dispute scores as the protocols do, and its score map is the dense form before the mean."""

import numpy as np
import pytest
import torch

from resnet_nb.data import Images, load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.live import protocol_experiment as experiment
from resnet_nb.models import build_model
from resnet_nb.protocols import Protocol, run
from resnet_nb.records.views import Views


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return build_model("resnet8", in_channels=1, width=4).eval()


@pytest.fixture(scope="module")
def normalisation() -> Normalisation:
    return Normalisation.of_channels([0.3])


def test_the_mean_over_a_score_map_is_the_dense_score(net: torch.nn.Module, normalisation: Normalisation) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)
    votes = experiment.score_map(net, image, normalisation, 16)
    protocol = Protocol("dense", crop=16, scales=(24,), mirror=False)
    (chunk,) = run(net, torch.from_numpy(image)[None, None], [protocol], normalisation, device="cpu")
    assert votes.shape == (10, 3, 3) and votes.mean((1, 2)) == pytest.approx(chunk.results[0].scores[0], abs=1e-5)


def test_live_views_are_those_of_a_run(net: torch.nn.Module, normalisation: Normalisation) -> None:
    images = Images(torch.randint(0, 256, (7, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)), torch.arange(7))
    ten = Protocol("10-crop", crop=16, pad=2)
    found = experiment.live_views(net, images, [ten], normalisation, "resnet8")
    (chunk,) = run(net, images.images, [ten], normalisation, device="cpu")
    assert found.posterior() == pytest.approx(chunk.results[0].scores, abs=1e-5)
    assert found.views["place"].nunique() == 5 and found.labels.tolist() == list(range(7))


def test_a_digit_lies_on_the_canvas_where_it_was_put() -> None:
    canvas = experiment.on_canvas(np.full((16, 16), 9, np.uint8), 20, 4)
    assert canvas.shape == (40, 40) and canvas.sum() == 9 * 256 and canvas[20, 4] == canvas[35, 19] == 9


def test_both_nets_are_trained_alike_but_for_the_sizes_and_seen_under_the_same_views() -> None:
    found = experiment.digits_experiment(model="resnet8", width=2, iterations=8)
    one, several = found.one_size, found.several_sizes
    assert isinstance(one, Views) and one.views.equals(several.views) and one.names == several.names
    assert sorted(set(one.views["short"])) == [0, 16, 20, 24] and found.votes.shape == (10, 7, 7)
    assert not np.allclose(one.logits, several.logits)
    rungs = experiment.four_protocols(one)
    assert {name: rung.passes for name, rung in rungs.items()} == {
        "1-crop": 1, "10-crop": 10, "dense at 20": 2, "multi-scale": 6, "10-crop, no mirrors": 5, "dense at 20, no mirrors": 1,
        "multi-scale, no mirrors": 3,
    }  # fmt: skip
    assert found.label == int(load_data("digits").test.labels[0]) and (found.canvas > 0).any()
