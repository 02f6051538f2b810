"""Nets that are trained and looked into: the tables are those of the probes on the trained net, in memory and from a run's folder."""

from pathlib import Path

import pandas as pd
from small_data import small_data

from resnet_nb.data.normalise import Normalisation
from resnet_nb.live.inside_experiment import run_and_probe, train_and_probe
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.probes.lesions import delete_each
from resnet_nb.recipes import Recipe
from resnet_nb.training.train import fit

RECIPE = Recipe("test", batch_size=16, iterations=6, rate=0.05, drops=(), warmup_iterations=0, curve_every=6, evaluations=1)


def test_every_net_and_seed_is_trained_and_probed() -> None:
    data = small_data()
    tables = train_and_probe(("plain8", "resnet8"), data, RECIPE, (0, 1), width=4, device="cpu")
    lesions = tables["lesions"]
    assert lesions.groupby(["family", "depth", "seed"]).size().to_dict() == {
        ("plain", 8, 0): 2, ("plain", 8, 1): 2, ("residual", 8, 0): 4, ("residual", 8, 1): 4,
    }  # fmt: skip
    assert set(tables["shares"]["family"]) == {"residual"} and len(tables["responses"]) == 4 * 7
    net = build_model("resnet8", width=4, in_channels=data.channels, classes=len(data.classes), seed=1)
    done = fit(net, data, RECIPE, 1, "cpu", progress=False)
    own = delete_each(net, done.normalisation(data.test.images), data.test.labels)
    theirs = lesions.query("model == 'resnet8' and seed == 1")[own.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(theirs, own)


def test_a_run_in_a_folder_is_probed_with_its_weights_and_not_trained_again(tmp_path: Path) -> None:
    data = small_data()
    first, again = (run_and_probe(("resnet8",), data, RECIPE, 3, device="cpu", out=tmp_path) for _ in range(2))
    (folder,) = tmp_path.iterdir()
    net = build_model("resnet8", in_channels=data.channels, classes=len(data.classes))
    load_weights(net, read_weights(folder / "weights.pt"))
    own = delete_each(net, Normalisation.measured(data.train, RECIPE.normalise)(data.test.images), data.test.labels)
    pd.testing.assert_frame_equal(first["lesions"][own.columns], own)
    pd.testing.assert_frame_equal(first["lesions"], again["lesions"])
