"""Training loops to be timed: each is a function that takes so many steps and returns images per second, on images that are random."""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import torch
import torch.nn.functional as F
from ceilings import BATCH, synchronise
from PIL import Image
from torch import nn
from torchvision import transforms

from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation
from resnet_nb.models import build_model
from resnet_nb.recipes import get_recipe
from resnet_nb.training.batches import Batches
from resnet_nb.training.step import WARM, Stepper, sgd

Loop = Callable[[int], float]
COUNT = 10_000
PATHS = {"eager": {}, "graph": {"graph": True}, "compiled": {"compiled": True}, "compiled-graph": {"compiled": True, "graph": True}}
CPU_PATHS = ("eager", "compiled")
WARM_STEPS = {"cpu": 2, "cuda": WARM + 2}  # before the first turn; a graph is captured in them


def random_images() -> Images:
    """As many images as fill a few epochs of a turn, uint8 (COUNT, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.randint(0, 10, (COUNT,), generator=generator))


def timed(step: Callable[[], None], device: torch.device) -> Loop:
    """The loop that takes `step` again and again, and waits for the device at the end."""

    def run(steps: int) -> float:
        synchronise(device)
        started = time.perf_counter()
        for _ in range(steps):
            step()
        synchronise(device)
        return steps * BATCH / (time.perf_counter() - started)

    return run


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


def usual_loop(model: str, images: Images, workers: int, device: torch.device) -> Loop:
    """What most public CIFAR code does: PIL images in a DataLoader, contiguous tensors, float32, eager, loss and accuracy read back at every step."""
    net = build_model(model).to(device).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    on_gpu = device.type == "cuda"
    loader = torch.utils.data.DataLoader(PilImages(images), BATCH, shuffle=True, drop_last=True, num_workers=workers, pin_memory=on_gpu)

    def endless() -> Iterator:
        while True:
            yield from loader

    def run(steps: int) -> float:
        batches = endless()
        pixels, labels = next(batches)  # starting the workers is not timed

        def step() -> None:
            nonlocal pixels, labels
            pixels, labels = pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            scores = net(pixels)
            loss = F.cross_entropy(scores, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item(), (scores.argmax(1) == labels).sum().item()
            pixels, labels = next(batches)

        return timed(step, device)(steps)

    return run


def steps_of(model: str, images: Images, device: torch.device, precision: str, path: str) -> Callable[[], None]:
    """The step that `fit` takes, of a net of its own; a call takes the next one. images: on the device."""
    recipe = get_recipe("paper-cifar").replaced(precision=precision)
    net = build_model(model).to(device, memory_format=torch.channels_last).train()
    batches = Batches(images, recipe, Normalisation.measured(images, recipe.normalise), seed=0)
    stepper = Stepper(net, sgd(net, recipe), batches, recipe, **PATHS[path])
    taken = 0

    def step() -> None:
        nonlocal taken
        stepper(taken)
        taken += 1

    return step


def our_loop(model: str, images: Images, device: torch.device, precision: str = "float32", path: str = "eager") -> Loop:
    """That step, one after another. path: of PATHS; what a GPU does with `graph` is what `fit` does by itself."""
    return timed(steps_of(model, images.to(device), device, precision, path), device)


def convolutions(model: str, device: torch.device) -> Loop:
    """The model's convolutions alone, forward and backward, in float32, on inputs that lie ready."""
    net = build_model(model).to(device, memory_format=torch.channels_last)
    inputs: list[tuple[nn.Conv2d, torch.Tensor, torch.Tensor]] = []

    def keep(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
        image = arguments[0].detach().requires_grad_(bool(inputs))  # nobody asks for the first layer's input gradient
        inputs.append((module, image, torch.ones_like(output)))

    hooks = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, nn.Conv2d)]
    net(torch.randn(BATCH, 3, 32, 32, device=device).to(memory_format=torch.channels_last))
    for hook in hooks:
        hook.remove()

    def step() -> None:
        for module, image, gradient in inputs:
            module.weight.grad = image.grad = None
            module(image).backward(gradient)

    return timed(step, device)


def side_by_side(model: str, images: Images, device: torch.device, precision: str, count: int) -> Loop:
    """`count` nets at once; the rate is the sum: on a CPU processes of one thread each, on a GPU threads with a stream and a graph each."""
    return _threads(model, images, device, precision, count) if device.type == "cuda" else _processes(model, precision, count)


def _threads(model: str, images: Images, device: torch.device, precision: str, count: int) -> Loop:
    on_device = images.to(device)
    nets = [(steps_of(model, on_device, device, precision, "graph"), torch.cuda.Stream(device)) for _ in range(count)]
    synchronise(device)  # what the nets are made of comes from another stream
    pool = ThreadPoolExecutor(count)

    def run(steps: int) -> float:
        def take(net: tuple[Callable[[], None], torch.cuda.Stream]) -> None:
            step, stream = net
            with torch.cuda.stream(stream):
                for _ in range(steps):
                    step()

        return count * timed(lambda: list(pool.map(take, nets)), device)(1) * steps  # one go is `steps` steps of each

    return run


def child(pipe: Connection, model: str, precision: str) -> None:
    """One of several processes: a net of its own, on one thread."""
    torch.set_num_threads(1)
    run = our_loop(model, random_images(), torch.device("cpu"), precision)
    run(WARM_STEPS["cpu"])
    pipe.send("ready")
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the other end has gone
        while True:
            pipe.send(run(pipe.recv()))


def _processes(model: str, precision: str, count: int) -> Loop:
    """Idle between turns."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(count):
        ours, theirs = context.Pipe()
        context.Process(target=child, args=(theirs, model, precision), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()

    def run(steps: int) -> float:
        for pipe in pipes:
            pipe.send(steps)
        return sum(pipe.recv() for pipe in pipes)

    return run
