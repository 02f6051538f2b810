"""Redundancy of nets that are trained here, kept with their records or public, and the recorded tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_data import small_data
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.data import load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.findings.verdicts import redundancy as verdicts
from resnet_nb.live import redundancy_runs
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.probes import redundancy
from resnet_nb.recipes import Recipe
from resnet_nb.records import places
from resnet_nb.training.train import fit

RECIPE = Recipe("test", batch_size=16, iterations=10, rate=0.05, drops=(), warmup_iterations=0, curve_every=5, evaluations=1)
OPTIONS = {"width": 4, "device": "cpu"}


def test_nets_are_measured_before_and_after_training() -> None:
    data = small_data()
    table = redundancy_runs.trained(("plain14", "resnet14"), (0, 1), data, RECIPE, **OPTIONS)
    assert table.groupby(["model", "seed", "when"]).ngroups == 8 and set(table["source"]) == {"small"}
    net = build_model("resnet14", width=4, in_channels=1, classes=4, seed=1)
    images = Normalisation.measured(data.train, RECIPE.normalise)(redundancy_runs.drawn(data))
    of_one = table.query("model == 'resnet14' and seed == 1")
    pd.testing.assert_frame_equal(of_one.query("when == 'initial'")[redundancy(net, images).columns].reset_index(drop=True),
                                  redundancy(net, images, batch_statistics=True))  # fmt: skip
    done = fit(net, data, RECIPE, 1, "cpu", progress=False)
    after = of_one.query("when == 'trained'")
    found = redundancy(done.net.eval(), images)
    pd.testing.assert_frame_equal(after[found.columns].reset_index(drop=True), found, rtol=1e-3, atol=1e-4)
    assert after["test_error"].unique().tolist() == [done.test.top1_error]
    assert verdicts.judge(table.query("when == 'trained'"))["pairs"].eq(2).all()


def test_images_are_drawn_without_replacement_and_from_all_classes() -> None:
    data = small_data()
    data = replace(data, test=replace(data.test, images=torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)))
    some, again, other = (redundancy_runs.drawn(data, 30, seed).flatten().tolist() for seed in (0, 0, 1))
    assert len(set(some)) == 30 and some == again != other and sorted(redundancy_runs.drawn(data).flatten().tolist()) == list(range(40))


def test_a_gauge_moves_measures_and_no_answer() -> None:
    table = redundancy_runs.gauge("plain14", small_data(), RECIPE, width=4, factors=(1, 30))
    assert table["largest_change"].tolist()[0] == 0 and table["largest_change"].max() < 1e-4
    assert table["test_error"].nunique() == 1
    assert abs(np.diff(table["effective_rank"])[0]) > 0.02
    for column in ("scaled_rank", "correlation", "unexplained"):
        assert np.diff(table[column])[0] == pytest.approx(0, abs=1e-3)


def test_kept_weights_are_measured_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    digits = load_data("digits")
    for words in ("plain8 --keep-weights --seed 3", "resnet8"):
        done = CliRunner().invoke(app, f"train {words} --width 4 --iterations 5 --threads 1 --study a-study".split())
        assert done.exit_code == 0, done.output
    table = redundancy_runs.kept("a-study", digits)
    (record,) = [one for one in records.load_study("a-study") if one["model"]["name"] == "plain8"]
    assert table[["source", "model", "family", "depth", "seed"]].drop_duplicates().values.tolist() == [["a-study", "plain8", "plain", 8, 3]]
    assert table["test_error"].unique().tolist() == [record["final"]["test_error"]]
    net = build_model("plain8", width=4, in_channels=1)
    (file,) = (tmp_path / "results" / "a-study").glob("*.weights.npz")
    load_weights(net, read_weights(file))
    images = Normalisation.measured(digits.train, record["recipe"]["normalise"])(redundancy_runs.drawn(digits))
    found = redundancy(net.eval(), images)
    pd.testing.assert_frame_equal(table[found.columns], found, rtol=1e-3)
    assert redundancy_runs.kept("a-study", replace(digits, fingerprint="another")) is None
    assert redundancy_runs.kept("no-study", digits) is None


def test_public_weights_are_those_that_were_evaluated(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "net.pt"
    file.write_bytes(b"weights")
    weights = {"repository": "owner/name", "commit": "0" * 40, "path": "models/net.pt", "sha256": checksum(file)}
    assert redundancy_runs._checked(tmp_path, weights) == file
    assert redundancy_runs._checked(tmp_path / "models", weights) == file  # the files alone
    file.write_bytes(b"others")
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="owner/name"):
            redundancy_runs._checked(place, weights)
    data = replace(small_data(), fingerprint=records.load_study("public-checkpoints")[0]["data"]["fingerprint"])
    with pytest.raises(InputError, match="check out"):
        redundancy_runs.public({"akamaster": tmp_path}, data)


# the recorded tables


@pytest.mark.parametrize("name", ["digits", "public", "gauge", "approximation"])
def test_recorded_tables_say_how_they_were_made(name: str) -> None:
    about = records.load_table("redundancy", name).attrs["about"]
    assert about["provenance"]["modified"] is False and "resnet_nb import" in about["command"]


def test_public_nets_give_what_an_independent_script_gave() -> None:
    """Two nets of 56 layers, measured once with other code on 300 to 1,000 images (CKA there by the usual, biased estimate, which is higher)."""
    table = records.load_table("redundancy", "public").query("source == 'wooyeolBaek' and depth == 56 and block > 0")
    table = table.assign(rank=table["effective_rank"] * table["channels"]).groupby(["family", "kind", "stage"])[["rank", "correlation", "cka"]].mean()
    expected = {  # stages 1, 2, 3: effective rank and correlation of states; CKA of states and of branches
        "plain": ([10.3, 19, 34], [0.19, 0.16, 0.13], [0.94, 0.97, 0.94], [0.92, 0.96, 0.92]),
        "residual": ([6.3, 20, 46], [0.23, 0.11, 0.07], [0.97, 0.99, 0.97], [0.81, 0.62, 0.66]),
    }
    for family, (ranks, correlations, states, branches) in expected.items():
        state = table.loc[family, "state"]
        assert state["rank"].to_numpy() == pytest.approx(ranks, rel=0.06)
        assert state["correlation"].to_numpy() == pytest.approx(correlations, abs=0.035)
        assert state["cka"].to_numpy() == pytest.approx(states, abs=0.08)
        assert (np.array(branches) - table.loc[family, "branch"]["cka"].to_numpy()).max() < 0.2
    order = table["cka"].unstack("family").query("kind != 'change'")
    assert (order.loc["state", "residual"] > order.loc["state", "plain"]).all()
    assert (order.loc["branch", "residual"] < order.loc["branch", "plain"]).all()
