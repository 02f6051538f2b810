"""What has to hold on a CUDA device: run with `pytest -m gpu` on a machine that has one; it takes about a minute."""

from pathlib import Path

import pytest
import torch
from small_data import small_data

from resnet_nb.batches import Batches
from resnet_nb.checkpoints import RunFolder
from resnet_nb.devices import device_name, driver_version, resolve_device
from resnet_nb.errors import RunError
from resnet_nb.models import build_model
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import Recipe
from resnet_nb.train import Fit, fit

pytestmark = pytest.mark.gpu
RECIPE = Recipe("test", batch_size=16, iterations=12, rate=0.05, drops=(6, 9), warmup_iterations=0, curve_every=4, evaluations=3)


def train(device: str, folder: RunFolder | None = None, stop_at: int | None = None, **options: object) -> Fit:
    def stop(curve) -> None:  # noqa: ANN001
        if curve.running[-1][0] == stop_at:
            raise KeyboardInterrupt

    net = build_model("resnet8", width=4, in_channels=1, classes=4)
    return fit(net, small_data(), RECIPE, device=device, folder=folder, checkpoint_seconds=0, progress=False, on_point=stop, **options)


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


def test_the_first_steps_agree_with_the_cpus() -> None:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        losses = [[loss for _, loss, _ in train(device, iterations=8).curve.running] for device in ("cpu", "cuda")]
    finally:
        torch.backends.cudnn.allow_tf32 = before
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
