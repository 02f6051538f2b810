"""One training step as a function of tensors that lie on the device, and the ways to take it: operation by operation, or as one CUDA graph.

A step of a CIFAR net is hundreds of kernels of a few microseconds each, and launching one from the host takes about as long; a graph of them is
launched as one. What a graph holds has fixed addresses and no host input, so the batch comes from a row of a plan, the rate lies in a tensor, and
loss and wrong answers are added up on the device.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.models.compiled import compiled_blocks
from resnet_nb.recipes import Recipe
from resnet_nb.training.batches import Batches
from resnet_nb.training.progress import Progress

BLOCK = 100  # steps that are planned at a time: 0.4 MB at 128 images a batch
WARM = 3  # steps before a graph is captured, in which libraries choose their kernels and the velocities come to be
AHEAD = 8  # steps that the host may be ahead of the device: where a stream's queue is full, the lane that waits for room holds the others up
ATTEMPTS = 3  # to capture a graph: a lane that synchronises the device meanwhile ends the attempt
CAPTURING = threading.Lock()  # of all graphs of the process: beginning one, and a library's first call, synchronise the device, which another forbids
_own = threading.local()


def take_step(net: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, sums: Tensor, recipe: Recipe) -> None:
    """One update on one batch; its loss and share of wrong answers are added to `sums` (2,), so that nothing waits for the device.

    images: (batch, C, H, W) float32, labels: (batch,) int64. The net's parameters are float32 whatever the recipe's precision; where they, images and
    sums are float64, so is all that is computed (the reference values).
    """
    with _precision(images.device, recipe):
        scores = net(images)
    scores = scores.float() if recipe.precision == "bfloat16" else scores
    loss = F.cross_entropy(scores, labels)
    optimiser.zero_grad()
    loss.backward()
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
    if recipe.step_limit or recipe.keep_norms:
        _bounded_step(net, optimiser, recipe)
    else:
        optimiser.step()
    sums += torch.stack([loss.detach(), (scores.argmax(1) != labels).float().mean()])


class Stepper:
    """Takes the steps of one run, on the images' device and its current stream.

    graph: after WARM steps, take each as one CUDA graph. The rate is then rounded to float32; nothing else is computed differently. Where no
        graph can be captured, that is said and the steps go on without.
    compiled: let torch.compile fuse each block's forward and backward pass, which changes rounding and takes some seconds for each kind of block.

    sums: (2,) float32 on the device, to which each step adds its loss and share of wrong answers; whoever reads them zeroes them in place.
    Weights and the optimiser's state may be loaded until the first step is taken and not later, since a graph has their addresses.
    """

    def __init__(
        self, net: nn.Module, optimiser: torch.optim.Optimizer, batches: Batches, recipe: Recipe, *, graph: bool = False, compiled: bool = False
    ):
        self.net, self.compiled = net, compiled
        self.compiling = compiled  # as the first step is taken
        self.optimiser, self.batches, self.recipe = optimiser, batches, recipe
        self.sums = torch.zeros(2, device=batches.pixels.device)
        self.first, self.block = 0, torch.empty(0)
        self.graph = _Graph(self._take, optimiser) if graph else None

    def __call__(self, step: int) -> None:
        """Take the update number `step`, counted from 0, at the schedule's rate. Steps may come in any order; one after another they are fast."""
        set_rate(self.optimiser, self.recipe.rate_at(step), self.recipe.momentum_form)
        if not self.first <= step < self.first + len(self.block):
            self.first, self.block = step, self.batches.plan(step, BLOCK)
        plan = self.block[step - self.first]
        if self.graph is not None:
            try:
                self.graph(plan)
                return
            except _CaptureError as error:
                Progress.say(f"No CUDA graph can be made of this net's step ({error}): training goes on without, and takes longer.")
                self.graph = None
        with CAPTURING if self.compiling else nullcontext():  # compiling synchronises the device too
            self._take(plan)
        self.compiling = False

    def _take(self, plan: Tensor) -> None:
        with compiled_blocks(self.net) if self.compiled else nullcontext():
            take_step(self.net, self.optimiser, *self.batches.gather(plan), self.sums, self.recipe)


class _CaptureError(Exception):
    """Says why a step could not be captured; no step was taken."""


class _Graph:
    """A step as one CUDA graph. The first WARM calls take steps as they are, on the stream where the next call captures one; then it is replayed."""

    def __init__(self, take: Callable[[Tensor], None], optimiser: torch.optim.Optimizer):
        self.take, self.optimiser, self.calls, self.graph = take, optimiser, 0, None
        self.begun: deque[torch.cuda.Event] = deque()  # one a step that the host is ahead

    def __call__(self, plan: Tensor) -> None:
        if self.calls == 0:
            self.plan, self.rate = torch.empty_like(plan), torch.zeros((), device=plan.device)
            # the thread's own: graphs captured on one stream share a workspace, and could not run side by side
            self.stream = own_stream(plan.device, "graphs")
        self.plan.copy_(plan)
        self.rate.fill_(self.optimiser.param_groups[0]["lr"])
        if self.calls < WARM:
            self._warm()
        else:
            self.graph = self.graph or self._captured()
            self.graph.replay()
            self.begun.append(torch.cuda.current_stream(self.plan.device).record_event())
            if len(self.begun) > AHEAD:
                self.begun.popleft().synchronize()
        self.calls += 1

    def _warm(self) -> None:
        current = torch.cuda.current_stream(self.plan.device)
        self.stream.wait_stream(current)
        with CAPTURING, torch.cuda.stream(self.stream), rate_in(self.rate, self.optimiser):
            self.take(self.plan)
        current.wait_stream(self.stream)

    def _captured(self) -> "torch.cuda.CUDAGraph":
        for attempt in range(1, ATTEMPTS + 1):
            before, graph = torch.cuda.current_stream(self.plan.device), torch.cuda.CUDAGraph()
            try:
                with CAPTURING, rate_in(self.rate, self.optimiser), torch.cuda.device(self.plan.device):
                    # thread_local: what other threads ask of the device does not end the capture, unless they wait for all of it
                    with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                        self.take(self.plan)
                return graph
            except RuntimeError as error:
                torch.cuda.set_stream(before)  # a failed capture leaves its own
                if attempt == ATTEMPTS:
                    raise _CaptureError(str(error).partition("\n")[0]) from error


def own_stream(device: torch.device, purpose: str = "steps") -> "torch.cuda.Stream":
    """This thread's own stream of a CUDA device for `purpose`, the same at each call.

    torch hands out the same 32 streams in turn. A graph that was captured on one that another thread uses would hold that thread's work as well,
    so no run takes a new one.
    """
    streams = _own.__dict__.setdefault("streams", {})
    if (device, purpose) not in streams:
        streams[device, purpose] = torch.cuda.Stream(device)
    return streams[device, purpose]


@contextmanager
def rate_in(tensor: Tensor, optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Inside the block the optimiser reads its rate from `tensor`, so that a graph of its step obeys later changes.

    Outside it holds a number, which is what a checkpoint keeps.
    """
    number = optimiser.param_groups[0]["lr"]
    for group in optimiser.param_groups:
        group["lr"] = tensor
    try:
        yield
    finally:
        for group in optimiser.param_groups:
            group["lr"] = number


def _precision(device: torch.device, recipe: Recipe) -> AbstractContextManager:
    """Autocast for the recipe's precision. Without its cache of cast weights: each is used once, and a graph must cast them at each step."""
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if recipe.precision == "bfloat16" else nullcontext()


@torch.no_grad()
def _bounded_step(net: nn.Module, optimiser: torch.optim.Optimizer, recipe: Recipe) -> None:
    """The optimiser's step, shortened for each convolution to `step_limit` times the norm of its weights; with keep_norms that norm stays."""
    kernels = [parameter for parameter in net.parameters() if parameter.ndim == 4]
    before = [kernel.clone() for kernel in kernels]
    optimiser.step()
    for kernel, old in zip(kernels, before, strict=True):
        if recipe.step_limit:
            step = kernel - old
            share = step.norm() / (recipe.step_limit * old.norm())
            kernel.copy_(torch.where(share > 1, old + step / share, kernel))
        if recipe.keep_norms:
            kernel.mul_(old.norm() / kernel.norm())


def sgd(net: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """The recipe's optimiser at the rate of its first step. Fused: one kernel for all parameters, the same arithmetic."""
    fused = next(net.parameters()).device.type != "mps"
    return torch.optim.SGD(_decay_groups(net, recipe), recipe.rate_at(0), recipe.momentum, fused=fused)


def set_rate(optimiser: torch.optim.Optimizer, rate: float, momentum_form: str) -> None:
    """Change the learning rate. In Caffe's form the velocity keeps its size, which torch's buffers hold divided by the rate."""
    old = optimiser.param_groups[0]["lr"]
    if rate == old:
        return
    for group in optimiser.param_groups:
        group["lr"] = rate
    if momentum_form == "caffe":
        for buffers in optimiser.state.values():
            if buffers.get("momentum_buffer") is not None:
                buffers["momentum_buffer"].mul_(old / rate)


def _decay_groups(net: nn.Module, recipe: Recipe) -> list[dict]:
    """Parameter groups with and without weight decay; weights have more than one dimension, biases, scales and offsets do not."""
    if recipe.decay_on == "all":
        return [{"params": list(net.parameters()), "weight_decay": recipe.weight_decay}]
    weights = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
