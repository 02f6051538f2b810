"""What a device can do at most, measured, and what a training step needs at the least, counted: a loop's speed as a share of both.

Bandwidth is that of copying a tensor much larger than any cache, one read and one write of it; arithmetic that of one large square matrix product
in the same precision. Both are the best of several, before and after what is timed, so that what other programs take is left out as far as it can be.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_nb.models import build_model, count_macs

TEN = tuple(f"{family}{depth}" for depth in (20, 32, 44, 56, 110) for family in ("plain", "resnet"))  # the paper's Figure 6 and Table 6
STEPS, BATCH = 64_000, 128  # section 4.2

FLOP_PER_MAC = 6  # two to a multiply-add; forward, gradient of the inputs, gradient of the weights
# How often a convolution's output, or something of its size, is read or written in a step, where the norm, the addition and ReLU are fused and no
# cache holds anything. Operation by operation it is about 19, since ReLU and the addition read and write by themselves; where caches help it is less.
PASSES = {
    "convolution": 2,  # its input is read, its output written
    "statistics": 1,  # of the norm: the output is read
    "norm, addition and ReLU": 2,  # the output is read, the next input written
    "their backward pass": 5,  # gradient and output are read for the norm's sums, and again to write the convolution's gradient
    "gradient of the input": 2,  # that gradient is read, the input's written
    "gradient of the weights": 2,  # that gradient and the input are read
}
SIZES = {"float32": 4, "bfloat16": 2}  # bytes of an activation

REPEATS = 7
COPIED = {"cpu": 2**29, "cuda": 2**32}  # bytes; caches are a tenth of it at most
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices
PRODUCTS = {"cpu": 1, "cuda": 10}  # in one go, so that starting them counts for nothing


@dataclass(frozen=True)
class Work:
    """What one image needs in training. flop: in convolutions and matrix products; activations: values that the convolutions put out."""

    flop: int
    activations: int

    def bytes(self, precision: str) -> int:
        """Read and written at the least, by PASSES: weights, which a batch shares, and the images themselves are left out."""
        return self.activations * SIZES[precision] * sum(PASSES.values())


def work_of(net: nn.Module, image: tuple[int, int, int] = (3, 32, 32)) -> Work:
    """The work of one image (C, H, W). The first layer's gradient of its input, for which nobody asks, is counted: under 1 % of ResNet-20."""
    outputs: list[int] = []
    shape = copy.deepcopy(net).to("meta").eval()
    for module in shape.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, arguments, output: outputs.append(output.numel()))
    with torch.no_grad():
        shape(torch.empty(1, *image, device="meta"))
    return Work(FLOP_PER_MAC * count_macs(net, image), sum(outputs))


@dataclass(frozen=True)
class Ceilings:
    """bandwidth: bytes a second, read and written; arithmetic: FLOP a second by kind; method: in words."""

    bandwidth: float
    arithmetic: dict[str, float]
    method: str

    def or_higher(self, other: "Ceilings") -> "Ceilings":
        """The higher of two measurements of one device, in each part."""
        arithmetic = {kind: max(speed, other.arithmetic[kind]) for kind, speed in self.arithmetic.items()}
        return Ceilings(max(self.bandwidth, other.bandwidth), arithmetic, self.method)

    def shares(self, work: Work, rate: float, precision: str, kind: str) -> tuple[float, float]:
        """The shares of arithmetic and of bandwidth that `rate` images a second need at the least; what lives in caches may pass the latter."""
        return rate * work.flop / self.arithmetic[kind], rate * work.bytes(precision) / self.bandwidth

    def seconds(self, work: Work, precision: str, kind: str) -> tuple[float, float]:
        """What the paper's run of STEPS batches takes at the least, by arithmetic and by bandwidth."""
        images = STEPS * BATCH
        return images * work.flop / self.arithmetic[kind], images * work.bytes(precision) / self.bandwidth


def kind_of(precision: str, device: torch.device) -> str:
    """What convolutions of a precision compute in: float32 ones on CUDA in TF32, unless torch is told otherwise."""
    return "TF32" if device.type == "cuda" and precision == "float32" and torch.backends.cudnn.allow_tf32 else precision


def measure(device: torch.device, precisions: Iterable[str]) -> Ceilings:
    """The ceilings of a device, for the kinds of arithmetic that `precisions` use and float32."""
    size, side = COPIED[device.type], SIDE[device.type]
    kinds = dict.fromkeys(["float32", *(kind_of(precision, device) for precision in precisions)])
    arithmetic = {kind: _products_per_second(kind, side, device) * 2 * side**3 for kind in kinds}
    method = f"copying {size / 2**20:,.0f} MiB (read and written once), and products of {side} x {side} matrices; each the best of {REPEATS}"
    return Ceilings(2 * size / _copy_seconds(size, device), arithmetic, method)


def _copy_seconds(size: int, device: torch.device) -> float:
    source = torch.zeros(size // 4, device=device)
    target = torch.ones_like(source)  # written once, so that its memory is there
    return _least_seconds(lambda: target.copy_(source), device)


def _products_per_second(kind: str, side: int, device: torch.device) -> float:
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def products() -> Tensor:
        for _ in range(PRODUCTS[device.type]):
            torch.mm(a, b, out=out)
        return out

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = kind == "TF32"
    try:
        return PRODUCTS[device.type] / _least_seconds(products, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _least_seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS + 1):
        synchronise(device)
        started = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])  # the first warms up


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def floor(ceilings: Ceilings, precision: str, kind: str, rates: dict[str, float]) -> list[dict]:
    """A row for each of the ten networks, and one of their sum: what the paper's run takes at the least, and at the rate measured (images/s).

    Keys: model; macs, forward, of one image; petaflop; arithmetic and bandwidth, in seconds; measured, in seconds, None without a rate.
    """
    rows = []
    for model in TEN:
        work = work_of(build_model(model))
        arithmetic, bandwidth = ceilings.seconds(work, precision, kind)
        measured = STEPS * BATCH / rates[model] if model in rates else None
        counted = {"model": model, "macs": work.flop // FLOP_PER_MAC, "petaflop": STEPS * BATCH * work.flop / 1e15}
        rows.append({**counted, "arithmetic": arithmetic, "bandwidth": bandwidth, "measured": measured})
    names = [name for name in rows[0] if name != "model"]
    columns = {name: [row[name] for row in rows] for name in names}
    return [*rows, {"model": "all ten", **{name: None if None in column else sum(column) for name, column in columns.items()}}]
