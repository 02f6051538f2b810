"""Nets at initialisation as tables, and how those are recorded."""

import numpy as np
import pytest
import torch
from small_data import small_data

from resnet_nb import records
from resnet_nb.errors import InputError
from resnet_nb.findings.vanishing import theory
from resnet_nb.live import gradient_runs
from resnet_nb.live.gradient_runs import TELLING, WAYS, Setting, births, branches, denormals_flushed, first_images, traced
from resnet_nb.models import build_model
from resnet_nb.probes.atlas import atlas, over_seeds
from resnet_nb.recipes import Recipe
from resnet_nb.records import places
from resnet_nb.training.train import fit


def test_births_are_the_atlases_of_the_nets_over_seeds() -> None:
    data = small_data()
    found = births([Setting("plain"), Setting("residual", "none", "glorot", "tanh")], (8,), data, (0, 1), width=4, count=8)
    images, labels = first_images(data, 8)
    nets = [Setting("residual", "none", "glorot", "tanh").build(8, data, seed, 4) for seed in (0, 1)]
    own = found.query("family == 'residual' and rows == 'layers' and activation == 'tanh' and norm == 'none' and init == 'glorot' and depth == 8")
    expected = over_seeds([atlas(net, images, labels) for net in nets])
    assert np.allclose(own[expected.columns.drop("layer")].to_numpy(float), expected.drop(columns="layer").to_numpy(float))
    assert found.groupby("rows").size().to_dict() == {"blocks": 6, "layers": 16} and found.query("rows == 'blocks'")["weight_norm"].isna().all()


def test_the_images_are_drawn_over_all_classes_and_the_same_each_time() -> None:
    one, other = first_images(small_data(), 12), first_images(small_data(), 12)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and len(one[1].unique()) > 1 and one[1].dtype == torch.int64


def test_every_way_to_be_born_gives_each_blocks_share() -> None:
    found = branches(8, small_data(), (0,), width=4, count=8)
    assert list(dict.fromkeys(found["way"])) == list(WAYS) and (found.groupby("way").size() == 3).all()
    silent = found.groupby("way")["share"].max() == 0
    assert set(silent[silent].index) == {"zero last scale", "SkipInit", "Fixup"}


def test_denormals_are_as_before_afterwards() -> None:
    tiny = torch.tensor([1e-40])
    with denormals_flushed():
        inside = float((tiny * 1).sum())
    assert float(tiny * 1) > 0 and inside in (0.0, float(tiny))  # some processors cannot flush them


def test_most_telling_nets_have_a_theory() -> None:
    known = [theory(setting.family, setting.norm, setting.init, setting.activation) for setting in TELLING]
    assert sum(value is not None for value in known) >= 10


def test_shattering_is_recorded_with_its_story(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path)
    gradient_runs.record_shattering(1)
    found = records.load_table("gradients", "shattering")
    assert (found["0"] == 1).all() and "record_shattering()" in found.attrs["about"]["command"] and records.verify() == []


def test_weights_that_are_not_those_evaluated_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="not the file that was evaluated"):
        gradient_runs.trained(tmp_path, small_data())


def test_traced_runs_are_those_of_fit() -> None:
    recipe = Recipe("test", batch_size=16, iterations=40, rate=0.05, drops=(), warmup_iterations=0, curve_every=10, evaluations=2)
    runs = {"as it is": ("plain8", recipe), "norms kept": ("plain8", recipe.replaced(keep_norms=True))}
    found = traced(runs, small_data(), 3, width=4, device="cpu")
    own = fit(build_model("plain8", width=4, in_channels=1, classes=4), small_data(), recipe, device="cpu", iterations=3, trace=True, progress=False)
    assert list(dict.fromkeys(found["change"])) == list(runs) and len(found) == 2 * len(own.trace)
    assert np.allclose(found.query("change == 'as it is'")["angle"], [row[5] for row in own.trace], rtol=1e-4)
    kept = found.query("change == 'norms kept' and layer == 'layer1.0.conv1'")["weight_norm"]
    assert kept.max() / kept.min() < 1.0001
