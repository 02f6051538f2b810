"""The experiments that notebooks call give what their runs give one by one."""

from pathlib import Path

import pytest
import torch
from small_data import small_data

from resnet_nb.experiments import first_losses, run_depths, train_depths
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe
from resnet_nb.train import fit

RECIPE = Recipe("test", batch_size=16, iterations=6, rate=0.05, drops=(3, 5), pad=0, flip=False, curve_every=2, evaluations=2)


def test_train_depths_has_a_row_for_each_net_of_each_pair() -> None:
    table = train_depths((8, 14), small_data(), RECIPE, 3, width=4, device="cpu")
    assert table[["family", "depth", "seed"]].values.tolist() == [
        ["plain", 8, 3], ["residual", 8, 3], ["plain", 14, 3], ["residual", 14, 3]
    ]  # fmt: skip
    alone = fit(build_model("resnet14", width=4, in_channels=1, classes=4, seed=3), small_data(), RECIPE.for_depth(14), 3, "cpu", progress=False)
    row = table.iloc[3]
    assert (row["train_error"], row["test_error"]) == (alone.train.top1_error, alone.test.top1_error)


def test_run_depths_keeps_what_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = run_depths((8,), small_data(), RECIPE, device="cpu", out=tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    again = run_depths((8,), small_data(), RECIPE, device="cpu", out=tmp_path)
    assert len(stamps) == 2 and first.equals(again)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}


def test_first_losses_are_those_of_a_run_and_of_the_seed_alone() -> None:
    torch.manual_seed(5)
    losses = first_losses("plain8", small_data(), RECIPE, 1, steps=4, width=4)
    torch.manual_seed(6)
    assert losses == first_losses("plain8", small_data(), RECIPE, 1, steps=4, width=4) and len(losses) == 4
    net = build_model("plain8", width=4, in_channels=1, classes=4, seed=1)
    whole = fit(net, small_data(), RECIPE.replaced(curve_every=1), 1, "cpu", iterations=4, progress=False)
    assert losses == [loss for _, loss, _ in whole.curve.running]
