"""Training takes the steps that the recipe describes, keeps the curve that it promises, and goes on exactly where it stopped."""

import dataclasses
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_data import small_data
from torch import nn

from resnet_nb import records
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError, RunError
from resnet_nb.files import write_atomically
from resnet_nb.models import build_model
from resnet_nb.protocols.evaluate import average_statistics, error_rates
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.runs import runs
from resnet_nb.training import conditions, train
from resnet_nb.training import step as step_module
from resnet_nb.training.batches import Batches
from resnet_nb.training.checkpoints import RunFolder, read_model
from resnet_nb.training.curve import Curve
from resnet_nb.training.train import fit

RECIPE = Recipe("test", batch_size=16, iterations=12, rate=0.05, drops=(6, 9), pad=1, warmup_iterations=0, curve_every=4, evaluations=3)


def net(seed: int = 0) -> nn.Module:
    return build_model("resnet8", width=4, in_channels=1, classes=4, seed=seed)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


def hand_trained(recipe: Recipe, steps: int, seed: int = 0) -> nn.Module:
    """The same training again with its formulas written out: velocity, decay, schedule."""
    model, data = net(), small_data()
    batches = Batches(data.train, recipe, Normalisation.measured(data.train, recipe.normalise), seed)
    velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    model.train()
    for step in range(steps):
        rate = recipe.rate_at(step)
        images, labels = batches(step)
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        with torch.no_grad():
            for name, p in model.named_parameters():
                decays = recipe.decay_on == "all" or "conv" in name or name == "fc.weight"
                gradient = p.grad + (recipe.weight_decay * p if decays else 0)
                if recipe.momentum_form == "caffe":  # v = m v + rate g; w = w - v
                    velocity[name] = recipe.momentum * velocity[name] + rate * gradient
                    p -= velocity[name]
                else:  # v = m v + g; w = w - rate v
                    velocity[name] = recipe.momentum * velocity[name] + gradient
                    p -= rate * velocity[name]
    return model


@pytest.mark.parametrize("momentum_form", ("caffe", "torch"))
@pytest.mark.parametrize("decay_on", ("weights", "all"))
def test_ten_steps_are_those_of_the_formulas(momentum_form: str, decay_on: str) -> None:
    recipe = dataclasses.replace(RECIPE, momentum_form=momentum_form, decay_on=decay_on, weight_decay=0.1)
    done = fit(net(), small_data(), recipe, device="cpu", iterations=10, progress=False)
    torch.testing.assert_close(weights(done.net), weights(hand_trained(recipe, 10)), rtol=1e-4, atol=1e-5)


def test_the_two_momentum_forms_differ_only_after_a_change_of_rate() -> None:
    forms = [dataclasses.replace(RECIPE, momentum_form=form) for form in ("caffe", "torch")]
    at = {steps: [weights(fit(net(), small_data(), r, device="cpu", iterations=steps, progress=False).net) for r in forms] for steps in (6, 10)}
    torch.testing.assert_close(*at[6], rtol=1e-5, atol=1e-6)
    assert (at[10][0] - at[10][1]).abs().max() > 1e-3


def test_the_papers_schedule() -> None:
    recipe = get_recipe("paper-cifar")
    shallow, deep = recipe.for_depth(20), recipe.for_depth(110)
    assert [shallow.rate_at(s) for s in (0, 31_999, 32_000, 47_999, 48_000, 63_999)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert [deep.rate_at(s) for s in (0, 399, 400, 31_999, 32_000)] == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01])
    assert recipe.evaluate_every == 4_000 and (recipe.batch_size, recipe.iterations, recipe.weight_decay) == (128, 64_000, 1e-4)


def test_recipes_agree_with_the_facts() -> None:
    from resnet_nb.published import fact

    paper = get_recipe("paper-cifar")
    assert paper.batch_size == fact("q.batch").value and paper.iterations == fact("q.stop").value
    assert list(paper.drops) == fact("q.drops").value and paper.rate == fact("q.lr").value[0]
    assert paper.momentum == fact("q.momentum").value and paper.weight_decay == fact("q.wd").value
    warmup = fact("q.warmup110").value
    assert (paper.warmup_rate, paper.warmup_iterations) == (warmup["lr"], warmup["about_iterations"])
    short = get_recipe("short-cifar")
    assert (short.iterations, short.drops) == (2_000, (1_000, 1_500))
    same = {"name", "iterations", "drops", "evaluations"}
    assert {f.name for f in dataclasses.fields(Recipe) if getattr(short, f.name) != getattr(paper, f.name)} == same


def test_truncating_a_run_never_rescales_it() -> None:
    whole = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    part = fit(net(), small_data(), RECIPE, device="cpu", iterations=8, progress=False)
    assert part.curve.running == whole.curve.running[:2]
    assert part.iterations == 8 and whole.iterations == 12


def test_the_curve_holds_what_it_promises() -> None:
    done = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    assert [step for step, *_ in done.curve.running] == [4, 8, 12]
    assert [step for step, *_ in done.curve.evaluated] == [4, 8, 12]
    last = done.curve.evaluated[-1]
    assert last == (12, done.train.top1_error, None, done.test.top1_error)
    again = error_rates(done.net, small_data().test, done.normalisation)
    assert again == done.test and done.train.images == 96 and done.test.images == 40


def test_a_run_depends_on_its_seed_and_on_no_global_state() -> None:
    results = []
    for state, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(state)
        np.random.seed(state)
        results.append(weights(fit(net(), small_data(), RECIPE, seed, "cpu", iterations=4, progress=False).net))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


class Stopped(Exception):
    pass


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the step after `step` fail as a killed process would: nothing is saved any more."""
    real, taken = step_module.take_step, []

    def counted(*arguments: object) -> None:
        if len(taken) == step:
            raise Stopped
        taken.append(1)
        real(*arguments)

    monkeypatch.setattr(step_module, "take_step", counted)


@pytest.mark.parametrize("step", (1, 5, 6, 7, 11))
def test_a_resumed_run_ends_with_the_same_weights_and_curve(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    whole = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    with RunFolder(tmp_path, {"run": 1}) as folder, monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(step, patch)
        fit(net(), small_data(), RECIPE, device="cpu", folder=folder, checkpoint_seconds=0, progress=False)
    with RunFolder(tmp_path, {"run": 1}) as folder:
        assert "resuming" not in capsys.readouterr().err
        resumed = fit(net(seed=99), small_data(), RECIPE, device="cpu", folder=folder)
    assert f"resuming at iteration {step}" in capsys.readouterr().err
    assert torch.equal(weights(resumed.net), weights(whole.net))
    assert resumed.curve == whole.curve and resumed.resumed_at == [step] and resumed.exact


def test_a_run_that_is_stopped_at_every_step_ends_as_one_that_is_not(tmp_path: Path) -> None:
    whole = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    asked = []

    def at_once(step: int) -> bool:
        asked.append(step)
        return True

    for step in range(1, RECIPE.iterations):
        with RunFolder(tmp_path, {"run": 1}) as folder, pytest.raises(train.RunStopped, match=f"at iteration {step} of 12: the same command") as stop:
            fit(net(seed=step - 1), small_data(), RECIPE, device="cpu", folder=folder, progress=False, until=at_once)
        assert (stop.value.iteration, stop.value.iterations) == (step, 12)
    with RunFolder(tmp_path, {"run": 1}) as folder:  # no step is left after the last, so it is not stopped there
        done = fit(net(seed=99), small_data(), RECIPE, device="cpu", folder=folder, progress=False, until=at_once)
    assert asked == list(range(1, 13)) and done.resumed_at == list(range(1, 12)) and done.exact
    assert torch.equal(weights(done.net), weights(whole.net)) and done.curve == whole.curve


def test_a_record_names_the_conditions_of_earlier_parts_that_were_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = runs.plan("resnet8", RECIPE, width=4)
    for until, commit in ((3, "a" * 40), (5, "b" * 40), (7, "b" * 40)):
        monkeypatch.setattr(conditions, "source_state", lambda commit=commit: {"commit": commit, "modified": False})
        with pytest.raises(train.RunStopped):
            runs.train(planned, small_data(), tmp_path, device="cpu", progress=False, until=lambda step, until=until: step == until)
    record, _, _ = runs.train(planned, small_data(), tmp_path, device="cpu", progress=False)
    assert [(part["until"], part["commit"]) for part in record["provenance"]["earlier"]] == [(3, "a" * 40)]
    assert record["provenance"]["resumed_at"] == [3, 5, 7] and not record["provenance"]["deterministic"]
    records.validate(record)


def test_a_stopped_run_says_what_goes_on(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"run": 1}, fresh=True) as folder, pytest.raises(train.RunStopped, match="the same command without --fresh goes on"):
        fit(net(), small_data(), RECIPE, device="cpu", folder=folder, progress=False, until=lambda step: True)
    with pytest.raises(train.RunStopped, match="without a folder nothing was kept"):
        fit(net(), small_data(), RECIPE, device="cpu", progress=False, until=lambda step: True)


def test_without_the_momentum_the_resumed_run_would_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation of the test above: a checkpoint that forgot the velocities is noticed."""
    whole = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    with RunFolder(tmp_path, {"run": 1}) as folder, monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(5, patch)
        fit(net(), small_data(), RECIPE, device="cpu", folder=folder, checkpoint_seconds=0, progress=False)
    with RunFolder(tmp_path, {"run": 1}) as folder:
        state = folder.load_checkpoint()
        state["optimiser"]["state"] = {}
        folder.save_checkpoint(state)
        resumed = fit(net(), small_data(), RECIPE, device="cpu", folder=folder, progress=False)
    assert not torch.equal(weights(resumed.net), weights(whole.net))


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_an_interrupted_run_leaves_a_checkpoint(number: int, tmp_path: Path) -> None:
    points = []

    def interrupt(curve: Curve) -> None:
        points.append(len(curve.running))
        if len(points) == 1:
            os.kill(os.getpid(), number)

    with RunFolder(tmp_path, {"run": 1}) as folder:
        with pytest.raises(RunError, match="Interrupted at iteration 4: the same command goes on"):
            fit(net(), small_data(), RECIPE, device="cpu", folder=folder, progress=False, on_point=interrupt)
        assert folder.load_checkpoint()["step"] == 4


def test_fit_runs_outside_the_main_thread_too() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(net(), small_data(), RECIPE, device="cpu", iterations=2, progress=False)))
    thread.start()
    thread.join()
    assert found[0].iterations == 2


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(RunError, match="between iterations 1 and 4: training diverged"):
        broken = net()
        nn.init.constant_(broken.fc.weight, float("nan"))
        fit(broken, small_data(), RECIPE, device="cpu", progress=False)


def test_a_run_that_diverges_keeps_no_checkpoint_of_it_and_ends_there_each_time(tmp_path: Path) -> None:
    """The first update overflows: the loss is finite at iteration 1 and at no other."""
    recipe = dataclasses.replace(RECIPE, rate=1e30, warmup_iterations=0, drops=())
    for _ in range(3):
        with RunFolder(tmp_path, {"run": 1}) as folder:
            with pytest.raises(RunError, match="not finite between iterations 1 and 2: training diverged; choose a smaller rate or a warm-up"):
                fit(net(), small_data(), recipe, device="cpu", folder=folder, checkpoint_seconds=0, progress=False)
            state = folder.load_checkpoint()
        assert state["step"] == 1 and state["sums"].isfinite().all()
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == ["checkpoint.pt", "run.json"]
    with RunFolder(tmp_path, {"run": 1}) as folder, pytest.raises(RunError, match="training diverged"):  # nor does it stop to be continued
        fit(net(), small_data(), recipe, device="cpu", folder=folder, progress=False, until=lambda step: True)


@pytest.mark.parametrize("error", (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")))
def test_running_out_of_memory_names_the_remedy(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(step_module, "take_step", raises)
    with pytest.raises(RunError, match="smaller --width"):
        fit(net(), small_data(), RECIPE, device="cpu", progress=False)


def test_the_warm_ups_error_is_recorded() -> None:
    recipe = dataclasses.replace(RECIPE, warmup_iterations=4)
    done = fit(net(), small_data(), recipe, device="cpu", progress=False)
    assert done.warmup_error == done.curve.running[0][2]
    assert fit(net(), small_data(), RECIPE, device="cpu", iterations=4, progress=False).warmup_error is None


def test_average_statistics_are_those_of_the_batches() -> None:
    model = net()
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(16, 1, 8, 8, generator=generator) for _ in range(5)]
    model.train()(batches[0] * 3)  # moving statistics that must be forgotten
    average_statistics(model, batches)
    first = [model.conv1(batch) for batch in batches]
    torch.testing.assert_close(model.bn1.running_mean, torch.stack([x.mean((0, 2, 3)) for x in first]).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.bn1.running_var, torch.stack([x.var((0, 2, 3)) for x in first]).mean(0), rtol=1e-4, atol=1e-5)
    assert model.bn1.momentum == 0.1
    done = fit(net(), small_data(), dataclasses.replace(RECIPE, statistics="average"), device="cpu", progress=False)
    moving = fit(net(), small_data(), RECIPE, device="cpu", progress=False)
    assert not torch.equal(done.net.bn1.running_mean, moving.net.bn1.running_mean)
    assert torch.equal(done.net.conv1.weight, moving.net.conv1.weight)


def test_evaluation_leaves_the_net_as_it_was() -> None:
    model = net().train()
    model.layer1.eval()
    before, modes = weights(model), [m.training for m in model.modules()]
    data = small_data()
    error_rates(model, data.test, Normalisation.measured(data.train, "pixel-mean"))
    assert torch.equal(weights(model), before) and [m.training for m in model.modules()] == modes


def test_errors_equal_a_count_by_hand() -> None:
    data = small_data()
    normalisation = Normalisation.measured(data.train, "pixel-mean")
    model = net().eval()
    with torch.no_grad():
        scores = torch.stack([model(normalisation(image.unsqueeze(0)))[0] for image in data.test.images])
    found = error_rates(model, data.test, normalisation)
    assert found.wrong == sum(int(s.argmax()) != int(label) for s, label in zip(scores, data.test.labels, strict=True))
    assert found.top5_error == 0 and found.loss == pytest.approx(F.cross_entropy(scores, data.test.labels).item(), rel=1e-5)


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"model": "plain20", "seed": 0}):
        with pytest.raises(InputError, match="Another process"), RunFolder(tmp_path, {"model": "plain20", "seed": 0}):
            pass
    with pytest.raises(InputError, match="another run .its seed"), RunFolder(tmp_path, {"model": "plain20", "seed": 1}):
        pass
    with RunFolder(tmp_path, {"model": "plain20", "seed": 1}, fresh=True):
        pass
    with pytest.raises(InputError, match="is a file"), RunFolder(tmp_path / "run.json", {}):
        pass


def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {}) as folder:
        for content in (b"", b"PK\x03\x04 half a file", b"not a checkpoint"):
            (tmp_path / "checkpoint.pt").write_bytes(content)
            with pytest.raises(InputError, match="checkpoint.pt is damaged: start the run again with --fresh"):
                folder.load_checkpoint()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="run.json is damaged"), RunFolder(tmp_path, {}):
        pass


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path, {}) as folder:
        folder.save_checkpoint({"step": 1})

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="checkpoint.pt: No space left on device; free some space"):
            folder.save_checkpoint({"step": 2})
        monkeypatch.undo()
        assert folder.load_checkpoint() == {"step": 1}
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*.part"))


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "first")
    write_atomically(path, "second")
    assert path.read_text() == "second" and [p.name for p in path.parent.iterdir()] == ["file.txt"]
    with pytest.raises(RunError, match="Cannot write"):
        write_atomically(path / "below-a-file", "x")


def test_weights_without_a_description_have_none(tmp_path: Path) -> None:
    assert read_model(tmp_path / "weights.pt") is None
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        read_model(tmp_path / "weights.pt")


def test_crops_and_mirrors_differ_from_step_to_step() -> None:
    batches = Batches(small_data().train, RECIPE.replaced(pad=4), Normalisation.measured(small_data().train, "pixel-mean"), 0)
    first, second = batches.crops(0), batches.crops(1)
    assert all((ours != theirs).any() for ours, theirs in zip(first, second, strict=True))


def test_a_run_with_a_split_is_evaluated_on_all_three_parts() -> None:
    from resnet_nb.data import Images

    whole = small_data()
    held = Images(whole.train.images[:16], whole.train.labels[:16])
    data = dataclasses.replace(whole, validation=held, train=Images(whole.train.images[16:], whole.train.labels[16:]))
    done = fit(net(), data, RECIPE, device="cpu", progress=False)
    assert done.train.images == 80 and done.validation.images == 16
    assert done.validation == error_rates(done.net, held, done.normalisation)
    assert [point[2] for point in done.curve.evaluated][-1] == done.validation.top1_error


def test_top_5_counts_the_five_best_of_many_classes() -> None:
    data = small_data(classes=10)
    model = build_model("resnet8", width=4, in_channels=1, classes=10)
    normalisation = Normalisation.measured(data.train, "pixel-mean")
    with torch.no_grad():
        ranked = model.eval()(normalisation(data.test.images)).argsort(1, descending=True)
    expected = sum(int(label) not in row[:5].tolist() for row, label in zip(ranked, data.test.labels, strict=True))
    assert 0 < error_rates(model, data.test, normalisation).wrong_top5 == expected


def test_a_run_that_changed_its_machine_is_not_called_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path, {"run": 1}) as folder, monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(5, patch)
        fit(net(), small_data(), RECIPE, device="cpu", folder=folder, checkpoint_seconds=0, progress=False)
    with RunFolder(tmp_path, {"run": 1}) as folder:
        state = folder.load_checkpoint()
        state["conditions"]["device"], state["seconds"] = "cpu, another processor", 1000.0
        folder.save_checkpoint(state)
        resumed = fit(net(), small_data(), RECIPE, device="cpu", folder=folder, progress=False)
    assert not resumed.exact and resumed.seconds > 1000 and resumed.started == state["started"]


def test_a_checkpoint_of_another_run_or_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"seed": 0}) as folder:
        folder.save_checkpoint({"weights": torch.zeros(5000)})
    (tmp_path / "run.json").unlink()
    with pytest.raises(InputError, match="run.json is missing"), RunFolder(tmp_path, {"seed": 7}):
        pass
    write_atomically(tmp_path / "run.json", '{"seed": 7}')
    with RunFolder(tmp_path, {"seed": 7}) as folder, pytest.raises(InputError, match="is of another run"):
        folder.load_checkpoint()
    content = bytearray((tmp_path / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "checkpoint.pt").write_bytes(content)
    write_atomically(tmp_path / "run.json", '{"seed": 0}')
    with RunFolder(tmp_path, {"seed": 0}) as folder, pytest.raises(InputError, match="is damaged"):
        folder.load_checkpoint()


def test_fresh_removes_what_an_earlier_run_left_and_nothing_else(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"seed": 0}) as folder:
        folder.save_checkpoint({"step": 1})
    (tmp_path / "notes.txt").write_text("mine")
    with RunFolder(tmp_path, {"seed": 1}, fresh=True) as folder:
        assert folder.load_checkpoint() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "notes.txt", "run.json"]


def one_step(changes: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A net before and after one step of a recipe with these changes, without weight decay."""
    recipe = get_recipe(f"quick-digits,weight_decay=0,batch_size=16,rate=1.0,curve_every=1,{changes}")
    before = net()
    return before, fit(net(), small_data(), recipe, device="cpu", iterations=1, progress=False).net


def test_a_limited_step_is_the_same_step_shortened_for_each_convolution() -> None:
    (before, free), (_, limited) = one_step("step_limit=0"), one_step("step_limit=0.02")
    start, full = dict(before.named_parameters()), dict(free.named_parameters())
    shortened = 0
    for name, parameter in limited.named_parameters():
        step, whole = parameter - start[name], full[name] - start[name]
        if parameter.ndim == 4 and whole.norm() > 0.02 * start[name].norm():
            shortened += 1
            torch.testing.assert_close(step, whole * (0.02 * start[name].norm() / whole.norm()), rtol=1e-3, atol=1e-6)
        else:
            torch.testing.assert_close(step, whole)
    assert shortened > 2


def test_a_clipped_gradient_is_the_same_one_with_the_norm_asked_for() -> None:
    (before, free), (_, clipped) = one_step("clip_norm=0"), one_step("clip_norm=0.01")
    start = dict(before.named_parameters())
    norm = sum((parameter - start[name]).square().sum() for name, parameter in free.named_parameters()).sqrt()
    assert norm > 0.01  # at rate 1 a first step is the gradient
    full = dict(free.named_parameters())
    for name, parameter in clipped.named_parameters():
        torch.testing.assert_close(parameter - start[name], (full[name] - start[name]) * 0.01 / norm, rtol=1e-3, atol=1e-6)


def test_kept_norms_are_those_before_the_step_and_its_direction_is_free() -> None:
    (before, free), (_, kept) = one_step("keep_norms=false"), one_step("keep_norms=true")
    start, full = dict(before.named_parameters()), dict(free.named_parameters())
    grown = 0
    for name, parameter in kept.named_parameters():
        if parameter.ndim == 4:
            grown += full[name].norm() > 1.0005 * start[name].norm()
            torch.testing.assert_close(parameter, full[name] * (start[name].norm() / full[name].norm()))
        else:
            torch.testing.assert_close(parameter, full[name])
    assert grown > 2
