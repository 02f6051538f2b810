"""A step is a function of tensors that lie on the device, equals the step written out, and can be taken in several ways that agree."""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest
import torch
import torch.nn.functional as F
from small_data import small_data
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_nb import records
from resnet_nb.data import load_data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.runs import runs
from resnet_nb.training import step as step_module
from resnet_nb.training.batches import Batches
from resnet_nb.training.step import BLOCK, Stepper, rate_in, set_rate, sgd, take_step
from resnet_nb.training.train import fit

# each with the norm of all parameters after 30 steps, as the package gave it before the step had a module of its own
VARIANTS = {
    "momentum_form=caffe": 14.082629,
    "momentum_form=torch": 13.993026,
    "decay_on=all": 14.080517,
    "clip_norm=0.5": 13.990079,
    "step_limit=0.002": 13.972303,
    "warmup_iterations=5": 14.007239,
    "pad=2,flip=true,border=black": 13.985800,
    "normalise=channel-mean,scales=16+20+24,pad=1": 13.974197,
    "normalise=channel-mean-std,clip_norm=1.0,step_limit=0.05,momentum_form=torch": 13.986709,
    "momentum=0": 13.982253,
}


def variant(changes: str) -> Recipe:
    return get_recipe(f"quick-digits,iterations=30,drops=10+20,batch_size=32,{changes}")


def parts(recipe: Recipe, data: object = None, **options: bool) -> tuple[nn.Module, Stepper]:
    """A net and what takes its steps, on small data unless other is given."""
    data = data or small_data()
    net = build_model("resnet8", width=4, in_channels=data.channels, classes=len(data.classes), seed=0).to(memory_format=torch.channels_last).train()
    batches = Batches(data.train, recipe, Normalisation.measured(data.train, recipe.normalise), seed=3)
    return net, Stepper(net, sgd(net, recipe), batches, recipe, **options)


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in net.state_dict().values()])


def written_out(net: nn.Module, batches: Batches, recipe: Recipe, steps: int) -> torch.Tensor:
    """The steps as a plain loop with torch's own parts; returns the sums of loss and share of wrong answers."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1 or recipe.decay_on == "all"], "weight_decay": recipe.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1 and recipe.decay_on != "all"], "weight_decay": 0},
    ]
    optimiser = torch.optim.SGD(groups, recipe.rate_at(0), recipe.momentum, fused=True)
    kernels, sums = [p for p in net.parameters() if p.ndim == 4], torch.zeros(2)
    for step in range(steps):
        old, rate = optimiser.param_groups[0]["lr"], recipe.rate_at(step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        for state in optimiser.state.values():
            if rate != old and recipe.momentum_form == "caffe" and state.get("momentum_buffer") is not None:
                state["momentum_buffer"] *= old / rate
        images, labels = batches(step)
        scores = net(images)
        loss = F.cross_entropy(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
        before = [kernel.detach().clone() for kernel in kernels]
        optimiser.step()
        with torch.no_grad():
            for kernel, start in zip(kernels, before, strict=True) if recipe.step_limit else ():
                moved = kernel - start
                share = moved.norm() / (recipe.step_limit * start.norm())
                if share > 1:
                    kernel.copy_(start + moved / share)
        sums += torch.stack([loss.detach(), (scores.argmax(1) != labels).float().mean()])
    return sums


@pytest.mark.parametrize("changes", VARIANTS)
def test_thirty_steps_are_the_plain_loops_to_the_last_bit(changes: str) -> None:
    recipe = variant(changes)
    data = load_data("digits")
    net, stepper = parts(recipe, data)
    start = copy.deepcopy(net)
    for step in range(30):
        stepper(step)
    assert torch.equal(written_out(start, stepper.batches, recipe, 30), stepper.sums)
    assert torch.equal(weights(net), weights(start))
    with torch.no_grad():  # not to the last bit: another processor adds in another order
        assert float(sum(p.double().square().sum() for p in net.parameters()) ** 0.5) == pytest.approx(VARIANTS[changes], rel=1e-4)


def test_steps_go_on_across_blocks_and_from_any_step() -> None:
    recipe = variant("pad=1")
    net, stepper = parts(recipe)
    plans = []
    stepper._take = lambda plan: plans.append(plan.clone())
    steps = [BLOCK - 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 7, 3]
    for step in steps:
        stepper(step)
    for step, plan in zip(steps, plans, strict=True):
        assert torch.equal(plan, stepper.batches.plan(step, 1)[0])


class NothingFromTheHost(TorchDispatchMode):
    """Refuses what a CUDA graph cannot hold: numbers read back, shapes that depend on values, random draws, tensors that come from the host."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "rand", "bernoulli", "normal_", "uniform_", "_pin_memory", "lift_fresh")

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # noqa: ANN001, ANN204
        name = function.overloadpacket.__name__
        assert not name.startswith(self.FORBIDDEN), f"a graph cannot hold {name}"
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("changes", ("momentum_form=caffe", "clip_norm=0.5,step_limit=0.002", "normalise=channel-mean,scales=8+10,pad=1"))
def test_a_step_reads_nothing_back_and_draws_nothing(changes: str) -> None:
    _, stepper = parts(variant(changes))
    stepper(0)
    plan = stepper.batches.plan(1, 1)[0]
    with NothingFromTheHost():
        stepper._take(plan)


def test_what_a_graph_cannot_hold_is_noticed() -> None:
    """The mutation of the test above."""
    for forbidden in (lambda: torch.ones(1).item(), lambda: torch.rand(1), lambda: torch.ones(2).nonzero(), lambda: torch.tensor([1.0])):
        with pytest.raises(AssertionError, match="a graph cannot hold"), NothingFromTheHost():
            forbidden()


@pytest.mark.parametrize("momentum_form", ("caffe", "torch"))
def test_a_rate_in_a_tensor_gives_the_same_steps_and_leaves_a_number_behind(momentum_form: str) -> None:
    recipe = variant(f"momentum_form={momentum_form}")
    (net, stepper), (other, in_tensor) = (parts(recipe) for _ in range(2))
    rate = torch.zeros((), dtype=torch.float64)  # float32 on a GPU, where the kernel asks for it
    for step in range(15):  # over a drop of the rate
        stepper(step)
        set_rate(in_tensor.optimiser, recipe.rate_at(step), recipe.momentum_form)
        rate.fill_(recipe.rate_at(step))
        with rate_in(rate, in_tensor.optimiser):
            take_step(other, in_tensor.optimiser, *in_tensor.batches(step), in_tensor.sums, recipe)
    assert torch.equal(weights(net), weights(other))
    groups = [s.optimiser.state_dict()["param_groups"] for s in (stepper, in_tensor)]
    assert groups[0] == groups[1] and isinstance(groups[1][0]["lr"], float)


class StandInGraph:
    """A CUDA graph's stand-in on a CPU: capturing notes the call without running it, a replay runs it on the very tensors that it was noted with."""

    capturing = None

    def replay(self) -> None:
        stepper, plan, rate = self.noted
        with rate_in(rate, stepper.optimiser):
            take_step(stepper.net, stepper.optimiser, *stepper.batches.gather(plan), stepper.sums, stepper.recipe)

    @classmethod
    @contextmanager
    def capture(cls, graph: "StandInGraph", **_: object) -> Iterator[None]:
        cls.capturing = graph
        yield
        cls.capturing = None

    @classmethod
    def take(cls, stepper: Stepper, plan: torch.Tensor) -> None:
        if cls.capturing:
            cls.capturing.noted = stepper, plan, stepper.optimiser.param_groups[0]["lr"]
        else:
            take_step(stepper.net, stepper.optimiser, *stepper.batches.gather(plan), stepper.sums, stepper.recipe)


@pytest.mark.parametrize("changes", ("momentum_form=caffe", "momentum_form=torch,clip_norm=0.5", "step_limit=0.002", "warmup_iterations=2"))
def test_a_replayed_step_sees_each_steps_own_plan_and_rate(changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Stream", "stream", "current_stream", "device"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandInGraph)
    monkeypatch.setattr(torch.cuda, "graph", StandInGraph.capture)
    monkeypatch.setattr(Stepper, "_take", lambda stepper, plan: StandInGraph.take(stepper, plan))
    recipe = variant(changes)
    (net, stepper), (other, without) = parts(recipe, graph=True), parts(recipe)
    for step in range(15):  # over a drop of the rate, and the warm-up's end
        stepper(step)
        without(step)
    torch.testing.assert_close(weights(net), weights(other), rtol=1e-5, atol=1e-6)  # the rate is rounded to float32
    torch.testing.assert_close(stepper.sums, without.sums, rtol=1e-6, atol=0)
    assert stepper.graph.graph is not None and isinstance(stepper.optimiser.param_groups[0]["lr"], float)


def test_where_no_graph_can_be_captured_training_goes_on_without(monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # noqa: ANN001
    recipe, tried = variant("pad=1"), []

    def fails(graph: object, plan: torch.Tensor) -> None:
        tried.append(plan)
        raise step_module._CaptureError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step_module._Graph, "__call__", fails)
    (net, stepper), (other, without) = parts(recipe, graph=True), parts(recipe)
    for step in range(3):
        stepper(step)
        without(step)
    assert len(tried) == 1 and torch.equal(weights(net), weights(other))
    assert "No CUDA graph can be made of this net's step (operation not permitted" in capsys.readouterr().err


def test_bfloat16_differs_a_little_repeats_itself_and_keeps_weights_and_loss_in_float32() -> None:
    data = load_data("digits")
    whole, half, again = (fit(parts(r, data)[0], data, r, 0, "cpu", progress=False) for r in map(variant, ("pad=0", *["precision=bfloat16"] * 2)))
    assert torch.equal(weights(half.net), weights(again.net)) and half.curve == again.curve
    assert {tensor.dtype for tensor in half.net.state_dict().values()} == {torch.float32, torch.int64}
    losses = [[loss for _, loss, _ in done.curve.running] for done in (whole, half)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_the_forward_pass_is_in_bfloat16_only_where_the_recipe_says_so() -> None:
    for precision in ("float32", "bfloat16"):
        net, stepper = parts(variant(f"precision={precision}"))
        found = []
        net.layer2[0].conv1.register_forward_hook(lambda module, inputs, output, found=found: found.append(output.dtype))
        stepper(0)
        assert found == [getattr(torch, precision)] and stepper.sums.dtype == torch.float32


def test_a_records_recipe_names_the_precision_only_where_it_is_not_float32(tmp_path) -> None:  # noqa: ANN001
    assert "precision" not in variant("precision=float32").as_dict()
    planned = runs.plan("resnet8", get_recipe("quick-digits,iterations=20,drops=none,precision=bfloat16"), width=4)
    record, _, _ = runs.train(planned, small_data(), tmp_path, device="cpu", progress=False)
    records.validate(record)
    assert record["recipe"]["precision"] == "bfloat16" and "precision=bfloat16" in record["command"]
    with pytest.raises(InputError, match="precision is 'float16': choose one of float32, bfloat16"):
        get_recipe("quick-digits,precision=float16")


def test_a_compiled_run_is_the_same_up_to_rounding() -> None:
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    recipe = variant("pad=1").replaced(iterations=12)
    whole, compiled = (fit(parts(recipe)[0], small_data(), recipe, 0, "cpu", compiled=choice, progress=False) for choice in (False, True))
    torch.testing.assert_close(weights(compiled.net), weights(whole.net), rtol=1e-4, atol=1e-5)
    assert compiled.net.state_dict().keys() == whole.net.state_dict().keys() and not torch.equal(weights(compiled.net), weights(whole.net))
