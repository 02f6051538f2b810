"""The trace of a run's layers, and what is kept beside a record."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from record_examples import training_record
from small_data import small_data
from torch import nn
from typer.testing import CliRunner

from resnet_nb import records
from resnet_nb.cli import app
from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.models.weights import load_weights, read_weights
from resnet_nb.probes import LayerTrace, trace_steps
from resnet_nb.probes.trace import angle, layers, responses
from resnet_nb.recipes import Recipe
from resnet_nb.records import kept, places
from resnet_nb.training.checkpoints import RunFolder, read_model
from resnet_nb.training.train import Fit, RunStopped, fit

RECIPE = Recipe("test", batch_size=16, iterations=40, rate=0.05, drops=(20, 30), warmup_iterations=0, curve_every=10, evaluations=2)


def train(folder: RunFolder | None = None, model: str = "plain8", **options: object) -> Fit:
    net = build_model(model, width=4, in_channels=1, classes=4)
    return fit(net, small_data(), RECIPE, device="cpu", folder=folder, progress=False, **options)


def table(done: Fit) -> pd.DataFrame:
    return pd.DataFrame(done.trace, columns=kept.TRACE_COLUMNS)


def test_steps_begin_with_each_and_end_with_the_last() -> None:
    assert trace_steps(5) == (0, 1, 2, 3, 4)
    steps = trace_steps(2_000)
    assert steps[:20] == tuple(range(20)) and steps[-1] == 1_999 and 50 < len(steps) < 60
    gaps = np.diff(steps[20:-1])
    assert (np.diff(gaps) >= -1).all() and len(trace_steps(64_000)) < 80


def test_a_traced_run_ends_with_the_bits_of_one_that_is_not() -> None:
    plain, traced = train(), train(trace=True)
    for (name, ours), theirs in zip(plain.net.state_dict().items(), traced.net.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert plain.trace is None and plain.curve == traced.curve
    assert set(table(traced)["iteration"]) == set(trace_steps(40))


def test_norms_step_and_angle_of_the_first_update_are_those_of_sgd_by_hand() -> None:
    """Before any velocity the step of a weight w is rate (gradient + decay w)."""
    rows = table(train(trace=True)).query("iteration == 0").set_index("layer")
    net = build_model("plain8", width=4, in_channels=1, classes=4).train()
    from resnet_nb.data.normalise import Normalisation
    from resnet_nb.training.batches import Batches

    images = small_data().train
    pixels, labels = Batches(images, RECIPE, Normalisation.measured(images, RECIPE.normalise), seed=0)(0)
    nn.functional.cross_entropy(net(pixels), labels).backward()
    for name, module in layers(net).items():
        weight, gradient = module.weight.detach(), module.weight.grad
        step = RECIPE.rate * (gradient + RECIPE.weight_decay * weight)
        new, row = weight - step, rows.loc[name]
        cosine = float((weight * new).sum() / (weight.norm() * new.norm()))
        assert row["weight_norm"] == pytest.approx(float(weight.norm()), rel=1e-5)
        assert row["gradient_norm"] == pytest.approx(float(gradient.norm()), rel=1e-3)
        assert row["relative_step"] == pytest.approx(float(step.norm() / weight.norm()), rel=1e-3)
        assert row["angle"] == pytest.approx(math.acos(min(1.0, cosine)), rel=1e-2, abs=1e-3)


def test_the_angle_of_tiny_turns_is_not_lost_to_rounding() -> None:
    one = torch.tensor([3.0, 4.0], dtype=torch.float64)
    for turn in (1e-9, 1e-4, 1.0, 3.0):
        rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64)
        assert angle(one, 7 * rotation @ one) == pytest.approx(turn, rel=1e-6)


@pytest.mark.parametrize("training", (True, False))
def test_responses_are_those_of_hooks_on_the_normalisation_and_leave_the_net_as_it_was(training: bool) -> None:
    net = build_model("resnet8", width=4, in_channels=1, classes=4).train(training)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = torch.randn(8, 1, 16, 16)
    found = responses(net, images)
    assert list(found) == list(layers(net)) and all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules()) and net.training == training
    seen = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.register_forward_hook(lambda _, __, output, name=name: seen.update({name.replace("bn", "conv"): float(output.detach().std())}))
    net(images)
    assert found == pytest.approx(seen, rel=1e-5)


def test_without_normalisation_the_response_is_the_convolutions_own() -> None:
    net = build_model("plain8", width=4, in_channels=1, classes=4, norm="none")
    images = torch.randn(8, 1, 16, 16)
    assert responses(net, images)["conv1"] == pytest.approx(float(net.conv1(images).detach().std()), rel=1e-5)


def test_a_trace_goes_on_where_a_run_was_stopped(tmp_path: Path) -> None:
    whole = train(trace=True)
    with RunFolder(tmp_path, {"trace": True}) as folder, pytest.raises(RunStopped):
        train(folder, trace=True, until=lambda iteration: iteration == 22)
    with RunFolder(tmp_path, {"trace": True}) as folder:
        resumed = train(folder, trace=True)
    assert resumed.resumed_at == [22] and resumed.trace == whole.trace


def test_angles_follow_from_relative_steps_where_steps_are_at_right_angles() -> None:
    """Behind batch normalisation the gradient is at right angles to the weights, so the first update turns by about the relative step."""
    net = build_model("resnet8", width=4, in_channels=1, classes=4).train()
    trace = LayerTrace(net, torch.randn(8, 1, 16, 16), 1)
    trace.before()
    at_first = responses(net, trace.images)
    nn.functional.cross_entropy(net(torch.randn(16, 1, 16, 16)), torch.arange(16) % 4).backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 0.01 * parameter.grad
    trace.after(0)
    rows = pd.DataFrame(trace.rows, columns=kept.TRACE_COLUMNS)
    assert dict(zip(rows["layer"], rows["response"], strict=True)) == at_first != responses(net, trace.images)  # of the weights before it
    for row in rows.query("layer != 'fc'").itertuples():
        assert row.angle == pytest.approx(math.atan(row.relative_step), rel=1e-3)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short traced run on the digits, filed with its weights; its record."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "results_dir", lambda: tmp_path / "results")
    words = "train plain8 --width 4 --iterations 5 --threads 1 --study a-study --trace --keep-weights"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "results" / "a-study").glob("*.json")
    return path


def test_trace_and_weights_lie_beside_the_record_and_are_verified(run: Path) -> None:
    assert records.verify() == []
    record = records.read_record(run)
    assert "--trace --keep-weights" in record["command"]
    found = records.load_trace("a-study", run.stem)
    assert list(found["iteration"].unique()) == [0, 1, 2, 3, 4] and found["layer"].nunique() == 8
    trace, weights = run.with_name(run.stem + kept.TRACE), run.with_name(run.stem + kept.WEIGHTS)
    for path in (trace, weights):
        content = path.read_bytes()
        path.write_bytes(content[:-40])
        assert [problem.kind for problem in records.verify()] == ["edited"]
        path.write_bytes(content)
    run.rename(run.with_suffix(".bak"))
    assert {problem.path for problem in records.verify() if problem.kind == "orphaned"} >= {trace, weights}


def test_kept_weights_are_the_runs_to_half_precision_and_evaluate_knows_them(run: Path, tmp_path: Path) -> None:
    path = run.with_name(run.stem + kept.WEIGHTS)
    (folder,) = (tmp_path / "runs").iterdir()
    final, half = read_weights(folder / "weights.pt"), read_weights(path)
    net = build_model("plain8", width=4, in_channels=1)
    load_weights(net, half)
    for name, tensor in final.items():
        if tensor.ndim > 1:
            assert torch.equal(half[name], tensor.half().float()), name
        elif tensor.ndim == 1:
            assert torch.equal(half[name], tensor), name
    ours, theirs = read_model(path), read_model(folder / "weights.pt")
    assert ours[0] == theirs[0] and torch.equal(ours[1].mean, theirs[1].mean) and torch.equal(ours[1].std, theirs[1].std)
    done = CliRunner().invoke(app, ["evaluate", "plain8", "--weights", str(path), "--data", "digits"])
    assert done.exit_code == 0, done.output


def test_the_same_weights_make_the_same_bytes(run: Path) -> None:
    net = {"conv1.weight": np.ones((2, 1, 3, 3), np.float32), "bn1.running_var": np.ones(2, np.float32), "bn1.num_batches_tracked": np.array(3)}
    one, two = (kept.weights_file(net, np.zeros((1, 1, 1), np.float32), {"name": "plain8"}) for _ in range(2))
    assert one == two


def test_a_traced_runs_folder_is_not_one_without(run: Path) -> None:
    """The trace of a run that is begun without one would lack its first iterations."""
    words = "train plain8 --width 4 --iterations 5 --threads 1".split()
    assert "its trace differs" in str(CliRunner().invoke(app, words).exception)
    assert CliRunner().invoke(app, [*words, "--trace"]).exit_code == 0


def test_weights_are_kept_in_a_study_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, f"train plain8 --width 4 --iterations 5 --keep-weights --out {tmp_path / 'run'}".split())
    assert isinstance(done.exception, InputError) and "--study" in str(done.exception) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", (b"", b"iteration,layer\n1,conv1\n", b"\xff\x00", b"a,b,c,d,e,f,g\n1,2,3,4,5,6,7\n"))
def test_a_damaged_trace_is_told_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.trace.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="restore it"):
        kept.read_trace(path)


@pytest.mark.parametrize("cut", (0, 10, 200))
def test_damaged_weights_are_told_in_a_sentence(run: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / f"x{kept.WEIGHTS}"
    content = run.with_name(run.stem + kept.WEIGHTS).read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(InputError, match="restore it"):
        kept.read_weights_file(path)


def test_a_record_of_another_kind_has_no_trace(tmp_path: Path) -> None:
    path = records.file_record(training_record(), "a-study", tmp_path)
    with pytest.raises(InputError, match="cannot be read as a trace"):
        records.load_trace("a-study", path.stem, tmp_path)
