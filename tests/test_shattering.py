"""Shattered gradients: finite differences, autograd, and the autocorrelations that were measured before and that the theory promises."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from resnet_nb.errors import InputError
from resnet_nb.probes import shattering
from resnet_nb.probes.shattering import autocorrelation, gradient, table

ROOT = Path(__file__).parents[1]


def value(layers: int, seed: int, x: np.ndarray, norm: str, shortcut: float | None, init: str, width: int) -> torch.Tensor:
    """The net again in torch, statistics detached, for autograd; x: (inputs,). Returns df/dx."""
    (first, offset), *others = [(torch.tensor(w), torch.as_tensor(b)) for w, b in shattering._weights(layers, seed, init, width)]
    given = torch.tensor(x, requires_grad=True)
    h = first @ given[None] + offset
    for weight, offset in others:
        if shortcut is not None and weight.shape[0] == 1:
            h = weight @ h
            break
        mean, spread = h.mean(1, keepdim=True).detach(), (h.var(1, keepdim=True, correction=0).detach() + 1e-5).sqrt()
        step = weight @ torch.relu((h - mean) / spread if norm == "batch" else h) + offset
        h = step if shortcut is None else h + shortcut * step
    return torch.autograd.grad(h.sum(), given)[0]


@pytest.mark.parametrize("norm", ("batch", "none"))
@pytest.mark.parametrize("shortcut", (None, 0.3))
@pytest.mark.parametrize("init", ("he", "textbook"))
def test_the_gradient_is_that_of_autograd(norm: str, shortcut: float | None, init: str) -> None:
    x = np.linspace(-2, 2, 32)  # an odd number has x = 0 among them, where every normalised unit of the first layer is at its kink
    found = gradient(4, 3, norm=norm, shortcut=shortcut, init=init, width=12, inputs=32)
    assert np.allclose(found, value(4, 3, x, norm, shortcut, init, 12).numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("init", "variance", "offsets"), [("he", 2 / 200, 0.0), ("textbook", 1 / 200, 1 / 200)])
def test_weights_have_the_variances_that_they_are_said_to_have(init: str, variance: float, offsets: float) -> None:
    """The autocorrelation of a plain net does not depend on a common scale of its weights: nothing else here would see it."""
    (first, offset), *inner, (last, _) = shattering._weights(5, 0, init, 200)
    assert [weight.shape for weight, _ in inner] == [(200, 200)] * 4 and last.shape == (1, 200)
    assert all(weight.var() == pytest.approx(variance, rel=0.03) and abs(weight.mean()) < 0.002 for weight, _ in inner)
    assert last.var() == pytest.approx(variance, rel=0.3)
    of_first = 1.0 if init == "he" else variance
    assert first.var() == pytest.approx(of_first, rel=0.3) and offset.var() == pytest.approx(of_first, rel=0.3)
    assert all(np.var(offset) == pytest.approx(offsets, rel=0.3) for _, offset in inner)


def test_by_itself_a_net_is_as_wide_and_seen_at_as_many_inputs_as_the_module_says() -> None:
    assert np.array_equal(gradient(2), gradient(2, norm="batch", shortcut=None, init="he", width=200, inputs=256)) and gradient(2).shape == (256,)
    assert not np.array_equal(gradient(2), gradient(2, seed=1)) and autocorrelation(1, seeds=1).shape == (31,)


def test_telling_nets_are_what_their_names_say() -> None:
    for name, net in shattering.TELLING.items():
        expected = {"layers": int(name.split()[0]), "norm": "batch" if "normalised" in name else "none"}
        if "residual" in name:
            expected["shortcut"] = 0.1 if "branch times 0.1" in name else 1.0
        assert net == (expected | {"init": "textbook"} if "textbook" in name else expected), name


def test_without_normalisation_the_gradient_is_that_of_finite_differences() -> None:
    """f is piecewise linear, so its slope between neighbouring inputs of a fine grid is the gradient but at the kinks."""
    (first, offset), *others = shattering._weights(3, 0, "he", 10)
    x = np.linspace(-2, 2, 4001)
    h = first * x + offset
    for weight, _ in others:
        h = weight @ np.maximum(h, 0)
    slopes = np.diff(h[0]) / np.diff(x)
    found = gradient(3, 0, norm="none", width=10, inputs=4001)
    assert np.isclose(slopes, found[:-1], rtol=1e-6, atol=1e-9).mean() > 0.98


def test_autocorrelations_are_means_of_each_nets_own() -> None:
    found = autocorrelation(3, seeds=2, lags=4, norm="none")
    each = []
    for seed in range(2):
        centred = gradient(3, seed, norm="none") - gradient(3, seed, norm="none").mean()
        full = np.correlate(centred, centred, "full")[len(centred) - 1 :]
        each.append(full[:5] / full[0])
    assert np.allclose(found, np.mean(each, axis=0)) and found[0] == 1


# lag 1 and lag 5, width 200, twenty seeds; here of six, so within 0.1 and 0.16 (without normalisation the nets differ more)
MEASURED = [
    ({"layers": 1, "norm": "none"}, 0.98, 0.90), ({"layers": 10, "norm": "none"}, 0.91, 0.69), ({"layers": 10}, 0.49, -0.05),
    ({"layers": 24}, -0.05, -0.01), ({"layers": 24, "norm": "none"}, 0.87, None), ({"layers": 24, "norm": "none", "init": "textbook"}, 0.93, None),
    ({"layers": 50, "shortcut": 0.1}, 0.94, 0.76), ({"layers": 50, "shortcut": 1.0}, 0.68, 0.13),
]  # fmt: skip


@pytest.mark.parametrize(("net", "near", "far"), MEASURED)
def test_what_was_measured_before_comes_out_again(net: dict, near: float, far: float | None) -> None:
    found = autocorrelation(seeds=6, lags=5, **net)
    assert found[1] == pytest.approx(near, abs=0.1)
    assert far is None or found[5] == pytest.approx(far, abs=0.16)


def test_the_table_has_a_row_for_each_telling_net(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shattering, "WIDTH", 10)
    found = table(seeds=1, lags=2)
    assert list(found.index) == list(shattering.TELLING) and (found[0] == 1).all() and list(found.columns) == [0, 1, 2]


@pytest.mark.parametrize("wrong", ({"layers": 0}, {"layers": 2, "norm": "layer"}, {"layers": 2, "init": "zero"}))
def test_other_nets_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match="at least 1 layer"):
        gradient(**wrong)


def test_the_module_itself_needs_no_torch() -> None:
    code = f"import runpy; runpy.run_path({str(ROOT / 'resnet_nb' / 'probes' / 'shattering.py')!r})['autocorrelation'](2, seeds=1)"
    search = os.pathsep.join(map(str, (ROOT / "tests" / "without_torch", ROOT)))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": search}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
