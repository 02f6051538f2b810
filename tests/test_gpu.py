"""What has to hold on a CUDA device: run with `pytest -m gpu` on a machine that has one; it takes about a minute."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_data import small_data

from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import device_name, driver_version, resolve_device
from resnet_nb.errors import RunError
from resnet_nb.models import build_model
from resnet_nb.recipes import Recipe
from resnet_nb.runs.studies import Study
from resnet_nb.runs.sweep import sweep
from resnet_nb.runs.train_command import answer_of
from resnet_nb.training.batches import Batches
from resnet_nb.training.checkpoints import RunFolder
from resnet_nb.training.step import BLOCK, WARM, Stepper, own_stream, sgd
from resnet_nb.training.train import Fit, fit

pytestmark = pytest.mark.gpu
RECIPE = Recipe("test", batch_size=16, iterations=12, rate=0.05, drops=(6, 9), warmup_iterations=0, curve_every=4, evaluations=3)


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Convolutions in float32 throughout, not in TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def train(device: str, folder: RunFolder | None = None, stop_at: int | None = None, recipe: Recipe = RECIPE, **options: object) -> Fit:
    def stop(curve) -> None:  # noqa: ANN001
        if curve.running[-1][0] == stop_at:
            raise KeyboardInterrupt

    net = build_model("resnet8", width=4, in_channels=1, classes=4)
    return fit(net, small_data(), recipe, device=device, folder=folder, checkpoint_seconds=0, progress=False, on_point=stop, **options)


def test_auto_takes_the_gpu_and_knows_its_name() -> None:
    device = resolve_device("auto")
    assert device.type == "cuda" and device_name(device) and driver_version(device)


def test_cpu_and_gpu_see_the_same_batches() -> None:
    data = small_data()
    made = []
    for device in ("cpu", "cuda"):
        images = data.train.to(device)
        made.append(Batches(images, RECIPE, Normalisation.measured(images, RECIPE.normalise), seed=0))
    for step in range(20):
        (ours, labels), (theirs, their_labels) = (batches(step) for batches in made)
        assert torch.equal(labels, their_labels.cpu())
        torch.testing.assert_close(ours, theirs.cpu(), rtol=1e-6, atol=1e-6)


def test_the_first_steps_agree_with_the_cpus(full_float32: None) -> None:
    losses = [[loss for _, loss, _ in train(device, iterations=8).curve.running] for device in ("cpu", "cuda")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_deterministic_run_repeats_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    whole, again = (train("cuda", deterministic=True) for _ in range(2))
    with RunFolder(tmp_path, {}) as folder, pytest.raises((KeyboardInterrupt, RunError)):
        train("cuda", folder, stop_at=8, deterministic=True)
    with RunFolder(tmp_path, {}) as folder:
        resumed = train("cuda", folder, deterministic=True)
    assert resumed.resumed_at and resumed.exact
    for other in (again, resumed):
        assert all(torch.equal(a, b) for a, b in zip(whole.net.state_dict().values(), other.net.state_dict().values(), strict=True))


def test_a_run_that_may_differ_says_so() -> None:
    assert not train("cuda").exact and train("cpu").exact


def stepper(recipe: Recipe, **options: bool) -> Stepper:
    """What takes the steps of a small net on the GPU."""
    net = build_model("resnet8", width=4, in_channels=1, classes=4).to("cuda", memory_format=torch.channels_last).train()
    images = small_data().train.to(torch.device("cuda"))
    batches = Batches(images, recipe, Normalisation.measured(images, recipe.normalise), seed=0)
    return Stepper(net, sgd(net, recipe), batches, recipe, **options)


def state(taken: Stepper) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in (*taken.net.state_dict().values(), taken.sums)]).cpu()


TWENTY = RECIPE.replaced(iterations=20, drops=(10, 15))


@pytest.mark.parametrize(
    "changes", ({}, {"momentum_form": "torch", "decay_on": "all"}, {"clip_norm": 0.5, "step_limit": 0.01}, {"warmup_iterations": 6})
)
def test_twenty_steps_of_a_graph_equal_those_taken_without_over_drops_of_the_rate(changes: dict, full_float32: None) -> None:
    recipe = TWENTY.replaced(**changes)
    graph, without = stepper(recipe, graph=True), stepper(recipe)
    for step in range(20):
        graph(step)
        without(step)
    assert graph.graph is not None and graph.graph.graph is not None
    torch.testing.assert_close(state(graph), state(without), rtol=1e-3, atol=1e-4)


def test_a_graphs_run_resumes_after_its_capture_and_a_drop_of_the_rate(full_float32: None, tmp_path: Path) -> None:
    whole = train("cuda", recipe=TWENTY)
    with RunFolder(tmp_path, {}) as folder, pytest.raises((KeyboardInterrupt, RunError)):
        train("cuda", folder, stop_at=12, recipe=TWENTY)
    with RunFolder(tmp_path, {}) as folder:
        assert isinstance(folder.load_checkpoint()["optimiser"]["param_groups"][0]["lr"], float)
        resumed = train("cuda", folder, recipe=TWENTY)
    assert resumed.resumed_at == [11] and not resumed.exact
    for ours, theirs in zip(whole.net.state_dict().values(), resumed.net.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_capture_that_another_thread_ends_is_tried_again() -> None:
    taken, calls = stepper(RECIPE, graph=True), []
    take = taken.graph.take

    def wait() -> None:
        with contextlib.suppress(RuntimeError):  # which this thread gets as well
            torch.cuda.synchronize()

    def disturbed(plan: torch.Tensor) -> None:
        take(plan)
        calls.append(plan)
        if len(calls) == WARM + 1:
            other = threading.Thread(target=wait)
            other.start()
            other.join()

    taken.graph.take = disturbed
    for step in range(WARM + 3):
        taken(step)
    assert taken.graph is not None and len(calls) == WARM + 2 and torch.isfinite(state(taken)).all()


@pytest.mark.parametrize("graph", (True, False))
def test_no_step_waits_for_the_device(graph: bool) -> None:
    taken = stepper(RECIPE, graph=graph)
    for step in range(WARM + 1):
        taken(step)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(WARM + 1, BLOCK + 5):  # over the end of a block, where the next plan is moved
            taken(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(state(taken)).all()


def test_two_nets_side_by_side_end_as_each_alone(full_float32: None) -> None:
    recipes = TWENTY, TWENTY.replaced(rate=0.02)
    alone, together = ([stepper(recipe, graph=True) for recipe in recipes] for _ in range(2))

    def twenty(taken: Stepper) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            for step in range(20):
                taken(step)

    torch.cuda.synchronize()  # what the nets are made of comes from another stream
    for taken in alone:
        twenty(taken)
    torch.cuda.synchronize()
    threads = [threading.Thread(target=twenty, args=(taken,)) for taken in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.cuda.synchronize()
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.graph is not None and ours.graph.graph is not None
        torch.testing.assert_close(state(ours), state(theirs), rtol=1e-3, atol=1e-4)


def test_bfloat16_trains_nearly_as_float32_and_keeps_its_weights_in_it() -> None:
    whole, half = (train("cuda", recipe=TWENTY.replaced(precision=precision)) for precision in ("float32", "bfloat16"))
    losses = [[loss for _, loss, _ in done.curve.running] for done in (whole, half)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.1)
    assert {tensor.dtype for tensor in half.net.state_dict().values()} == {torch.float32, torch.int64}


def test_a_compiled_steps_graph_agrees_with_the_step(full_float32: None) -> None:
    graph, without = stepper(TWENTY, graph=True, compiled=True), stepper(TWENTY)
    for step in range(20):
        graph(step)
        without(step)
    assert graph.graph is not None
    torch.testing.assert_close(state(graph), state(without), rtol=1e-3, atol=1e-3)


def test_lanes_of_one_process_end_as_each_run_alone(tmp_path: Path) -> None:
    recipe = "quick-digits,iterations=40,drops=20,curve_every=10,evaluations=2"
    nets = ("plain8", "resnet8", "plain14", "resnet14", "resnet8-B")
    common = ("--width", "4", "--recipe", recipe, "--device", "cuda", "--deterministic")
    together, alone = (
        [("train", net, *common, "--out", str(tmp_path / where / net)) for net in nets] for where in ("together", "alone")
    )  # fmt: skip
    assert {outcome.kind for outcome in sweep(Study("a-study", tuple(together)), jobs=3)} == {"done"}
    for words in alone:
        assert answer_of(words)[1] == ""
    for net in nets:
        ours, theirs = (torch.load(tmp_path / where / net / "weights.pt", weights_only=True) for where in ("together", "alone"))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_lane_that_runs_out_of_memory_ends_no_other(tmp_path: Path) -> None:
    recipe = "quick-digits,iterations=60,drops=40,curve_every=10,evaluations=2"
    large = ("plain8", "--width", "128", "--recipe", f"{recipe},batch_size=300000")  # 10 GB an activation
    nets = [large, *(("resnet8", "--width", "4", "--recipe", recipe, "--seed", str(seed)) for seed in range(6))]
    words = tuple(("train", *net, "--device", "cuda", "--out", str(tmp_path / str(place))) for place, net in enumerate(nets))
    first, *others = sweep(Study("a-study", words), jobs=3)
    assert (first.kind, "Out of memory" in first.said) == ("failed", True)
    assert {outcome.kind for outcome in others} == {"done"}
    for place in range(1, 7):
        losses = json.loads((tmp_path / str(place) / "record.json").read_text())["curve"]["loss"]
        assert losses[-1] < losses[0]


def test_graphs_of_one_thread_are_captured_on_one_stream_and_no_other_threads() -> None:
    def lane(found: list) -> None:
        with torch.cuda.stream(own_stream(torch.device("cuda"))):
            for _ in range(3):
                taken = stepper(RECIPE, graph=True)
                for number in range(WARM + 2):
                    taken(number)
                found.append((torch.cuda.current_stream().cuda_stream, taken.graph.stream.cuda_stream))
            torch.cuda.current_stream().synchronize()

    found: list[list] = [[], [], []]
    threads = [threading.Thread(target=lane, args=(own,)) for own in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(set(own)) == 1 and len(own) == 3 for own in found)
    assert len({stream for own in found for stream in own[0]}) == 6
