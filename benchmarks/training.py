"""Images per second in training: this package's step against the usual loop, in alternation, and against this machine's convolutions.

    python benchmarks/training.py [--model resnet20] [--rounds 7] [--steps 20] [--json FILE]

The usual loop is what most public CIFAR code does: a data set of PIL images with torchvision's transforms, a DataLoader with 2 or 4
workers, contiguous tensors, torch's SGD, loss and accuracy read back at every step. The images are random: times do not depend on them.
Each turn times both loops, first one, then the other, in alternating order; the ratio is taken within a turn, so that a machine whose speed
drifts does little harm. The ceiling is the time of the convolutions alone, forward and backward, in the layout that is faster.
"""

import argparse
import contextlib
import json
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision import transforms

from resnet_nb.batches import Batches
from resnet_nb.data import Images
from resnet_nb.models import build_model
from resnet_nb.normalise import Normalisation
from resnet_nb.recipes import get_recipe
from resnet_nb.step import sgd, take_step

BATCH = 128
COUNT = 10_000


def random_images() -> Images:
    """As many images as fill a few epochs of a turn, uint8 (COUNT, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.randint(0, 10, (COUNT,), generator=generator))


class PilImages(torch.utils.data.Dataset):
    """The usual data set: an array, a PIL image, torchvision's transforms, one image at a time."""

    def __init__(self, images: Images):
        self.pixels, self.labels = images.images.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        steps = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[place])), self.labels[place]


def usual_loop(model: str, images: Images, workers: int) -> Callable[[int], float]:
    """A function that takes so many steps of the usual loop and returns images per second."""
    net = build_model(model).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    loader = torch.utils.data.DataLoader(PilImages(images), BATCH, shuffle=True, drop_last=True, num_workers=workers)

    def endless() -> Iterator:
        while True:
            yield from loader

    def run(steps: int) -> float:
        batches = endless()
        pixels, labels = next(batches)  # starting the workers is not timed
        started = time.perf_counter()
        for _ in range(steps):
            scores = net(pixels)
            loss = F.cross_entropy(scores, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item(), (scores.argmax(1) == labels).sum().item()
            pixels, labels = next(batches)
        return steps * BATCH / (time.perf_counter() - started)

    return run


def our_loop(model: str, images: Images) -> Callable[[int], float]:
    """The same for the step that `fit` takes."""
    recipe = get_recipe("paper-cifar")
    net = build_model(model).to(memory_format=torch.channels_last).train()
    optimiser = sgd(net, recipe)
    batches = Batches(images, recipe, Normalisation.measured(images, recipe.normalise), seed=0)
    sums, taken = torch.zeros(2), 0

    def run(steps: int) -> float:
        nonlocal taken
        started = time.perf_counter()
        for step in range(taken, taken + steps):
            take_step(net, optimiser, *batches(step), sums, recipe)
        taken += steps
        return steps * BATCH / (time.perf_counter() - started)

    return run


def convolutions(model: str) -> Callable[[int], float]:
    """The same for the model's convolutions alone, forward and backward, on inputs that lie ready."""
    net = build_model(model).to(memory_format=torch.channels_last)
    inputs: list[tuple[nn.Conv2d, torch.Tensor, torch.Tensor]] = []

    def keep(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        image = arguments[0].detach().requires_grad_(bool(inputs))  # nobody asks for the first layer's input gradient
        inputs.append((module, image, torch.ones_like(output)))

    hooks = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, nn.Conv2d)]
    net(torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()

    def run(steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            for module, image, gradient in inputs:
                module.weight.grad = image.grad = None
                module(image).backward(gradient)
        return steps * BATCH / (time.perf_counter() - started)

    return run


def child(pipe: Connection, model: str) -> None:
    """One of two processes: a net of its own, on one thread."""
    torch.set_num_threads(1)
    run = our_loop(model, random_images())
    run(2)
    pipe.send("ready")
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the other end has gone
        while True:
            pipe.send(run(pipe.recv()))


def two_processes(model: str) -> Callable[[int], float]:
    """Two nets at once, one thread each; the rate is the sum. Idle between turns."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=child, args=(theirs, model), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()

    def run(steps: int) -> float:
        for pipe in pipes:
            pipe.send(steps)
        return sum(pipe.recv() for pipe in pipes)

    return run


def compare(ours: Callable[[int], float], other: Callable[[int], float], rounds: int, steps: int) -> dict:
    """Rates in images/s and the ratio ours / other: minimum, median, maximum over the rounds."""
    ours(2), other(2)
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            other_rate = other(steps)
            pairs.append((ours(steps), other_rate))
        else:
            pairs.append((ours(steps), other(steps)))
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    return {
        "ours": round(statistics.median(mine for mine, _ in pairs), 1),
        "other": round(statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": [round(r, 3) for r in (ratios[0], statistics.median(ratios), ratios[-1])],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # 4 workers on 2 cores are one of the questions
    images = random_images()
    loops = {"one process": our_loop(options.model, images), "two processes, a thread each": two_processes(options.model)}
    others = {f"usual loop, {n} workers": usual_loop(options.model, images, n) for n in (2, 4)}
    print(f"{options.model}, batch {BATCH}, {torch.get_num_threads()} threads, torch {torch.__version__}, CPU")
    print(f"{'':30} {'':30} {'images/s':>17} {'ratio: median (min to max)':>30}")
    rows = []
    for name, ours in loops.items():
        against = others | ({"its convolutions alone": convolutions(options.model)} if name == "one process" else {})
        for other_name, other in against.items():
            found = compare(ours, other, options.rounds, options.steps)
            low, median, high = found["ratio"]
            print(f"{name:30} {other_name:30} {found['ours']:8.0f} {found['other']:8.0f} {median:14.2f} ({low:.2f} to {high:.2f})", flush=True)
            rows.append({"ours": name, "against": other_name, **found})
    if options.json:
        options.json.write_text(json.dumps({"model": options.model, "torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
