"""The weights' gradient of a narrow 3x3 convolution: what torch calls (cuDNN) against a Triton kernel of ours, by itself and in whole steps.

    python benchmarks/weight_gradients.py [--rounds 7] [--model resnet20 resnet56] [--steps 300]

A candidate, not a part of the package: on one H200 these gradients were 40 % of a step (docs/gpu.md), and what a kernel of our own would save of
that has not been measured. It becomes one if this says that steps are faster. Needs a GPU with Triton; the tests run the kernel in Triton's
interpreter, which shows that it is right and nothing about its speed.

The gradient of channel k and c at tap (i, j) is the sum over all N x H x W places of gradient[n, y, x, k] * images[n, y + i - 1, x + j - 1, c]: a
product of two tall thin matrices, 131,072 places by 16 channels in the first stage, whose result is tiny. So the places are shared out; each
program multiplies its share for the three taps of one row of the kernel, and the shares' sums are added up at the end, always in one order.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch
import triton
import triton.language as tl
from ceilings import BATCH, STEPS
from loops import random_images, steps_of
from steps import seconds_a_step
from torch import Tensor, nn

from resnet_nb.devices import device_name, resolve_device

STAGES = ((16, 32), (32, 16), (64, 8))  # channels and side of the nets' three stages
AT_ONCE = 64  # places in one product
PROGRAMS = 264  # shares of the places: two for each of an H200's 132 multiprocessors, times three rows
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@triton.jit
def _shares(
    gradient, images, sums, places, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, C: tl.constexpr, SHARE: tl.constexpr,
    AT_ONCE: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    """One share of the places and one row of taps; gradient and images are (N, H, W, channels), sums is (shares, 3, 3, K, C)."""
    share, row = tl.program_id(0), tl.program_id(1)
    k, c = tl.arange(0, K), tl.arange(0, C)
    left, middle, right = tl.zeros((K, C), tl.float32), tl.zeros((K, C), tl.float32), tl.zeros((K, C), tl.float32)
    for start in range(share * SHARE, (share + 1) * SHARE, AT_ONCE):
        place = start + tl.arange(0, AT_ONCE)
        y, x = (place // W) % H, place % W
        inside = (place < places) & (y + row >= 1) & (y + row <= H)
        # K x places: what the place passes back to each output channel
        back = tl.load(gradient + place[None, :] * K + k[:, None], mask=inside[None, :], other=0.0)
        at = images + (place + (row - 1) * W)[:, None] * C + c[None, :]
        left += tl.dot(back, tl.load(at - C, mask=(inside & (x >= 1))[:, None], other=0.0), input_precision=PRODUCT)
        middle += tl.dot(back, tl.load(at, mask=inside[:, None], other=0.0), input_precision=PRODUCT)
        right += tl.dot(back, tl.load(at + C, mask=(inside & (x <= W - 2))[:, None], other=0.0), input_precision=PRODUCT)
    to = sums + ((share * 3 + row) * 3) * K * C + k[:, None] * C + c[None, :]
    tl.store(to, left)
    tl.store(to + K * C, middle)
    tl.store(to + 2 * K * C, right)


def ours(gradient: Tensor, images: Tensor, *, product: str = "tf32") -> Tensor:
    """The weights' gradient (K, C, 3, 3), float32, of a 3x3 convolution with stride 1 and padding 1.

    gradient: (N, K, H, W) of its output, and images: (N, C, H, W), its input, both channels-last and of one dtype; K and C are powers of two from
    16 up. product: "tf32", as cuDNN multiplies float32 by default, or "ieee".
    """
    (n, k, h, w), c = gradient.shape, images.shape[1]
    places = n * h * w
    share = AT_ONCE * triton.cdiv(places, AT_ONCE * PROGRAMS)
    shares = triton.cdiv(places, share)
    sums = torch.empty(shares, 3, 3, k, c, device=images.device)
    rows = [tensor.permute(0, 2, 3, 1).contiguous() for tensor in (gradient, images)]  # no copy of what is channels-last
    _shares[shares, 3](*rows, sums, places, h, w, k, c, share, AT_ONCE, product)
    return sums.sum(0).permute(2, 3, 0, 1)


def theirs(gradient: Tensor, images: Tensor) -> Tensor:
    """The same by torch, in the tensors' dtype."""
    return _backward(gradient, images, images.new_empty(gradient.shape[1], images.shape[1], 3, 3), (False, True, False))[1]


def _backward(gradient: Tensor, images: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    return torch.ops.aten.convolution_backward(gradient, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)


class Convolution(torch.autograd.Function):
    """A 3x3 convolution whose weights' gradient is `ours`."""

    @staticmethod
    def forward(context, images: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(images, weight)
        return nn.functional.conv2d(images, weight, padding=1)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        images, weight = context.saved_tensors
        passed = _backward(gradient, images, weight, (True, False, False))[0] if context.needs_input_grad[0] else None
        return passed, ours(gradient, images).to(weight.dtype)


@contextmanager
def own_gradients() -> Iterator[None]:
    """Inside the block, the convolutions that `ours` can take have that gradient."""
    real = nn.Conv2d._conv_forward

    def convolved(self: nn.Conv2d, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.shape[1] < 16 or weight.shape[2:] != (3, 3) or self.stride != (1, 1) or bias is not None:
            return real(self, images, weight, bias)
        if torch.is_autocast_enabled(images.device.type):
            images, weight = images.bfloat16(), weight.bfloat16()
        return Convolution.apply(images, weight)

    torch._dynamo.reset()  # what was compiled before holds the other gradient
    nn.Conv2d._conv_forward = convolved
    try:
        yield
    finally:
        nn.Conv2d._conv_forward = real
        torch._dynamo.reset()


def random_pair(channels: int, side: int, dtype: torch.dtype, device: torch.device, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """A convolution's output gradient and its input, channels-last."""
    generator = torch.Generator().manual_seed(0)
    pair = (torch.randn(batch, channels, side, side, generator=generator) for _ in range(2))
    gradient, images = (tensor.to(device, dtype, memory_format=torch.channels_last) for tensor in pair)
    return gradient, images


def difference(found: Tensor, gradient: Tensor, images: Tensor) -> float:
    """Greatest difference from the gradient in float64, over that one's greatest entry."""
    exact = theirs(gradient.double(), images.double())
    return ((found - exact).abs().max() / exact.abs().max()).item()


def microseconds(call: Callable[[], object], rounds: int, times: int = 100) -> list[float]:
    """Of one call, in each round; after ten that are not timed."""
    took = []
    for _ in range(10):
        call()
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(times):
            call()
        end.record()
        torch.cuda.synchronize()
        took.append(1000 * begin.elapsed_time(end) / times)
    return took


def report(models: list[str], device: torch.device, rounds: int, steps: int, say: Callable[[str], None]) -> None:
    for channels, side in STAGES:
        for name, dtype in PRECISIONS.items():
            gradient, images = random_pair(channels, side, dtype, device)
            for call in (theirs, ours):
                far = difference(call(gradient, images), gradient, images)
                took = microseconds(lambda call=call, pair=(gradient, images): call(*pair), rounds)
                spread = f"{median(took):7.1f} ({min(took):.1f} to {max(took):.1f}) µs"
                say(f"{channels:3} channels, {side:2} x {side:2}, {name:8} {call.__name__:7} {spread}, off by {far:.0e} of the greatest")
    images = random_images().to(device)
    for model in models:
        for name in PRECISIONS:
            for path in ("graph", "compiled-graph"):
                usual = seconds_a_step(steps_of(model, images, device, name, path), device, steps)
                with own_gradients():
                    own = seconds_a_step(steps_of(model, images, device, name, path), device, steps)
                times = f"{1000 * usual:.3f} ms a step, with ours {1000 * own:.3f} ({STEPS * own:.0f} s a run)"
                say(f"{model:9} {name:8} {path:14} {times}: {usual / own:.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    device = resolve_device("cuda")
    print(f"{device_name(device)}, batch {BATCH}, torch {torch.__version__}, Triton {triton.__version__}")
    report(options.model, device, options.rounds, options.steps, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
