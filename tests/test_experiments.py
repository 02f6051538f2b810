"""The experiments that notebooks call give what their runs give one by one."""

from pathlib import Path

import pytest
import torch
from small_data import small_data

from resnet_nb.data import load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.live.experiments import first_losses, run_depths, train_depths, train_grown
from resnet_nb.live.side_by_side import side_by_side
from resnet_nb.models import build_model, parse
from resnet_nb.protocols.evaluate import average_statistics, batch_mode_error, error_rates, three_errors
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.runs import grow
from resnet_nb.training.train import fit

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


def test_a_grown_net_trained_on_is_the_run_that_its_parts_make_and_its_three_errors_are_of_the_same_weights(monkeypatch) -> None:
    data = small_data()
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # here, where the recipe can be a short one
    monkeypatch.setattr(grow, "get_recipe", lambda data: RECIPE)
    monkeypatch.setattr("resnet_nb.live.experiments.get_recipe", lambda data: RECIPE)
    table = train_grown([("plain14", "plain8", 0.05), ("resnet14", "resnet8", 0.01)], data, 5, 2, points=(2, 5), width=4, device="cpu")
    assert table.groupby(["family", "rate"]).size().to_dict() == {("plain", 0.05): 5, ("residual", 0.01): 5}
    net = grow.build("plain8", parse("plain14"), data, width=4, seed=2, device="cpu", progress=False)
    recipe = RECIPE.replaced(iterations=5, drops=(), curve_every=1, evaluations=1)
    alone = fit(net, data, recipe, 2, "cpu", progress=False)
    plain = table[table["family"] == "plain"]
    assert plain["error"].tolist() == [error for _, _, error in alone.curve.running]
    assert plain["evaluation_mode"].notna().tolist() == [False, True, False, False, True]
    last = plain.iloc[-1]
    assert last["evaluation_mode"] == alone.train.top1_error
    assert last["batch_statistics"] == batch_mode_error(net, data.train, alone.normalisation)


def test_the_three_errors_leave_the_net_as_it_was_and_are_what_they_say() -> None:
    data, net = small_data(), build_model("plain8", width=4, in_channels=1, classes=4, seed=1)
    fit(net, data, RECIPE.replaced(rate=0.3), 1, "cpu", progress=False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    normalisation = Normalisation.measured(data.train, "pixel-mean")
    in_batches, anew, as_it_stands = three_errors(net, data.train, normalisation, size=len(data.train))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert as_it_stands == error_rates(net, data.train, normalisation).top1_error
    whole = normalisation(data.train.images)
    assert in_batches == 100 * (net.train()(whole).argmax(1) != data.train.labels).float().mean().item()
    average_statistics(net, [whole])
    assert anew == error_rates(net, data.train, normalisation).top1_error
    assert len({in_batches, as_it_stands}) == 2  # after six steps the running statistics are still mostly those they began with


def test_images_in_order_of_their_classes_are_mixed_into_batches() -> None:
    data, net = load_data("digits"), build_model("plain8", width=8, in_channels=1)
    assert (data.train.labels.diff() < 0).sum() == 0  # in order, as they lie
    done = fit(net, data, get_recipe("quick-digits,iterations=60,drops=none,evaluations=1"), device="cpu", progress=False)
    in_batches, anew, _ = three_errors(net, data.train, done.normalisation)
    assert in_batches < 8 and anew < 8  # 1.5 and 1.4; in the images' own order 58 and 1.2
    assert batch_mode_error(net, data.train, done.normalisation) == in_batches


def square(number: int, tensor: torch.Tensor) -> torch.Tensor:
    if number == 13:
        raise ValueError("thirteen")
    return number * tensor + torch.get_num_threads() - 1


def test_jobs_side_by_side_come_back_in_order_and_a_failure_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [(number, torch.tensor([2.0])) for number in (3, 1, 2)]
    assert [result.item() for result in side_by_side(square, jobs, "cpu")] == [6, 2, 4]
    with pytest.raises(ValueError, match="thirteen"):
        side_by_side(square, [*jobs, (13, torch.tensor(1.0))], "cpu")
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert [result.item() for result in side_by_side(square, jobs, "cpu")] == [6, 2, 4]
