"""A grown net begins with the shallower net's function, and such a run is repeated by its command alone."""

from pathlib import Path

import pytest
import torch
from small_data import small_data

from resnet_nb import grow, records, runs
from resnet_nb.data import Data
from resnet_nb.errors import InputError
from resnet_nb.evaluate import scores
from resnet_nb.models import build_model, parse
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import get_recipe
from resnet_nb.train import fit

RECIPE = get_recipe("quick-digits,iterations=6,drops=none,curve_every=2,evaluations=2,batch_size=16")


@pytest.fixture(autouse=True)
def short_first_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shallow net's own recipe is a short one here."""
    monkeypatch.setattr(grow, "get_recipe", lambda data: RECIPE)


def grown(family: str, data: Data) -> torch.nn.Module:
    spec = parse(f"{family}20")
    return grow.build(f"{family}8", spec, data, width=4, seed=1, device="cpu", trained=True, progress=False)


@pytest.mark.parametrize("family", ("plain", "resnet"))
def test_it_computes_what_the_shallow_net_computes_in_both_modes(family: str) -> None:
    data = small_data()
    shallow = fit(build_model(f"{family}8", width=4, in_channels=1, classes=4, seed=1), data, RECIPE, 1, "cpu", progress=False)
    net = grown(family, data)
    assert len(net.layer1) == 3
    images = data.train.images
    torch.testing.assert_close(scores(net, images, shallow.normalisation), scores(shallow.net, images, shallow.normalisation))
    normalised = Normalisation.measured(data.train, "pixel-mean")(images)
    with torch.no_grad():
        torch.testing.assert_close(net.train()(normalised), shallow.net.train()(normalised), rtol=1e-3, atol=1e-4)


def test_a_grown_run_records_how_it_began_and_repeats(tmp_path: Path) -> None:
    planned = runs.plan("plain20", RECIPE, 1, width=4, init="grown:plain8")
    first, second = (runs.train(planned, small_data(), tmp_path / name, device="cpu", progress=False)[0] for name in "ab")
    assert first["model"]["init"] == "grown:plain8" and "--init grown:plain8" in first["command"]
    assert records.run_name(first).count("grown-plain8") == 1
    assert first["curve"] == second["curve"] and first["final"] == second["final"]


@pytest.mark.parametrize(("model", "init"), [("plain20", "grown:resnet8"), ("plain8", "grown:plain20"), ("resnet20-B", "grown:resnet8")])
def test_a_net_grows_from_its_own_kind_alone(model: str, init: str) -> None:
    with pytest.raises(InputError, match="grown from a net of its own kind"):
        grow.shallow_net(init, model)
