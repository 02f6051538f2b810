"""Milliseconds a training step on a GPU, path by path: a net alone, and different nets side by side as `sweep` runs them. About two minutes.

    python benchmarks/steps.py [--device auto] [--model resnet20 resnet56] [--beside plain20 resnet20 plain56 resnet56] [--steps 300] [--seconds 3]

Each line is of the step that `fit` takes, on random images, batch 128, the paper's recipe. "compiled" paths compile each kind of block first, which
is not timed. Side by side every net has a thread and a stream; what is printed is the steps that each took in the same seconds, and their sum in
layers a second (a net of 56 layers takes 56 with a step), from which the time for the paper's 64,000 steps of all ten nets follows: 524 layers.
`training.py` compares with the usual loop and with what the device can do. On a CPU the nets go alone, uncompiled and without graphs.
"""

import argparse
import re
import threading
import time
from collections.abc import Callable, Sequence

import torch
from ceilings import BATCH, STEPS, TEN, synchronise
from loops import PATHS, random_images, steps_of

from resnet_nb.data import Images
from resnet_nb.devices import device_name, resolve_device
from resnet_nb.training.step import WARM, own_stream

PRECISIONS = ("float32", "bfloat16")
SIDE_BY_SIDE = ("graph", "compiled-graph")


def depth_of(model: str) -> int:
    return int(re.search(r"\d+", model)[0])


def seconds_a_step(step: Callable[[], None], device: torch.device, steps: int) -> float:
    """Of so many steps, after those in which a graph is captured."""
    for _ in range(WARM + 2):
        step()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(device)
    return (time.perf_counter() - started) / steps


def beside(models: Sequence[str], images: Images, device: torch.device, precision: str, path: str, seconds: float) -> list[float]:
    """Steps a second of each of several nets, which run for the same seconds."""
    counts = [0] * len(models)
    ready, stop = threading.Barrier(len(models) + 1), threading.Event()

    def lane(number: int) -> None:
        with torch.cuda.stream(own_stream(device)):
            try:
                step = steps_of(models[number], images, device, precision, path)
                for _ in range(WARM + 2):
                    step()
                torch.cuda.current_stream().synchronize()
            except Exception:
                ready.abort()  # so that nobody waits for this one
                raise
            ready.wait()
            while not stop.is_set():
                step()
                counts[number] += 1
            torch.cuda.current_stream().synchronize()

    lanes = [threading.Thread(target=lane, args=(number,), daemon=True) for number in range(len(models))]
    for thread in lanes:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in lanes:
        thread.join()
    return [count / (time.perf_counter() - started) for count in counts]


def report(models: Sequence[str], together: Sequence[str], device: torch.device, steps: int, seconds: float, say: Callable[[str], None]) -> None:
    images = random_images().to(device)
    paths = PATHS if device.type == "cuda" else ("eager",)
    for model in models:
        for precision in PRECISIONS:
            for path in paths:
                took = seconds_a_step(steps_of(model, images, device, precision, path), device, steps)
                say(f"{model:9} {precision:9} {path:15} {1000 * took:8.3f} ms a step {BATCH / took:9.0f} images/s {STEPS * took:7.0f} s a run")
    for precision in PRECISIONS if device.type == "cuda" else ():
        for path in SIDE_BY_SIDE:
            rates = beside(together, images, device, precision, path, seconds)
            layers = sum(rate * depth_of(model) for rate, model in zip(rates, together, strict=True))
            ten = STEPS * sum(map(depth_of, TEN)) / layers
            each = ", ".join(f"{model} {rate:.1f}" for model, rate in zip(together, rates, strict=True))
            say(f"side by side, {precision}, {path}: {each} steps/s; {layers:.0f} layers/s, at which the ten nets take {ten / 60:.0f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--beside", nargs="+", default=["plain20", "resnet20", "plain56", "resnet56"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    device = resolve_device(options.device)
    print(f"{device_name(device)}, batch {BATCH}, torch {torch.__version__}")
    report(options.model, options.beside, device, options.steps, options.seconds, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
