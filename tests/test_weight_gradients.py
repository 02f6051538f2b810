"""The candidate kernel of benchmarks/weight_gradients.py computes the gradient, by itself and in a net; its speed is nobody's claim."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# Triton decides as it is imported whether it interprets, so each question is put to a process of its own
DIFFERENCES = """
found = []
for channels, side, batch, dtype in ((16, 12, 3, torch.float32), (32, 7, 2, torch.float32), (64, 4, 1, torch.float32), (16, 8, 2, torch.float16)):
    pair = weight_gradients.random_pair(channels, side, dtype, torch.device("cpu"), batch)
    found.append(weight_gradients.difference(weight_gradients.ours(*pair, product="ieee"), *pair))
print(json.dumps(found))
"""
A_NET = """
from resnet_nb.models import build_model

def gradients():
    net = build_model("resnet8", width=16, seed=0).to(memory_format=torch.channels_last)
    net(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    return {name: weight.grad for name, weight in net.named_parameters()}

usual, calls, real = gradients(), [], weight_gradients.ours
weight_gradients.ours = lambda *pair: calls.append(0) or real(*pair, product="ieee")
with weight_gradients.own_gradients():
    own = gradients()
for name in usual:
    torch.testing.assert_close(own[name], usual[name], rtol=1e-4, atol=1e-5)
after = len(calls)
gradients()
print(json.dumps([after, len(calls)]))
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton, which comes with torch for CUDA")


def asked(code: str) -> list:
    words = [sys.executable, "-c", f"import json, torch, weight_gradients\n{code}"]
    places = os.pathsep.join([str(BENCHMARKS), str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(words, env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": places}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_triton
def test_the_kernel_computes_the_weights_gradient_at_any_channels_and_sides() -> None:
    *single, half = asked(DIFFERENCES)
    assert len(single) == 3 and max(single) < 1e-6 and half < 2e-3


@needs_triton
def test_a_net_has_the_same_gradients_with_it_and_leaves_it_behind() -> None:
    """ResNet-8 has six 3x3 convolutions with 16 channels or more at the input, two of which halve the image and stay torch's."""
    assert asked(A_NET) == [4, 4]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_the_kernel_computes_it_on_a_gpu(dtype: str) -> None:
    import torch
    import weight_gradients

    for channels, side in weight_gradients.STAGES:
        pair = weight_gradients.random_pair(channels, side, getattr(torch, dtype), torch.device("cuda"))
        theirs = weight_gradients.difference(weight_gradients.theirs(*pair), *pair)
        assert weight_gradients.difference(weight_gradients.ours(*pair), *pair) < max(2 * theirs, 2e-3)
