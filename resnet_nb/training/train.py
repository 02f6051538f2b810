"""Training: `fit` runs a recipe on data that lie on the device, from a seed, and can be stopped and continued at any step."""

import datetime
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from resnet_nb.data import Data
from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import resolve_device
from resnet_nb.errors import RunError
from resnet_nb.probes import LayerTrace
from resnet_nb.protocols.evaluate import Errors, average_statistics, error_rates
from resnet_nb.recipes import Recipe
from resnet_nb.training.batches import Batches
from resnet_nb.training.checkpoints import RunFolder
from resnet_nb.training.conditions import code, conditions
from resnet_nb.training.curve import Curve
from resnet_nb.training.guards import interrupt_flag, out_of_memory_explained, repeatable
from resnet_nb.training.progress import Progress
from resnet_nb.training.step import Stepper, sgd

PROBED = 128  # training images that the layers' responses are measured on


@dataclass
class Fit:
    """A finished run: the trained net, its curve, and its errors in evaluation mode at the last iteration."""

    net: nn.Module
    normalisation: Normalisation
    curve: Curve
    iterations: int
    train: Errors
    validation: Errors | None
    test: Errors
    warmup_error: float | None
    seconds: float
    resumed_at: list[int]
    exact: bool
    started: str
    trace: list[list] | None = None  # rows of `kept.TRACE_COLUMNS`
    earlier: list[dict] = field(default_factory=list)  # `conditions` of the parts that ran otherwise, and `until` which iteration


def fit(
    net: nn.Module,
    data: Data,
    recipe: Recipe,
    seed: int = 0,
    device: str = "auto",
    *,
    iterations: int | None = None,
    folder: RunFolder | None = None,
    checkpoint_seconds: float = 30,
    deterministic: bool = False,
    compiled: bool = False,
    trace: bool = False,
    progress: bool = True,
    on_point: Callable[[Curve], None] | None = None,
    until: Callable[[int], bool] | None = None,
) -> Fit:
    """Train `net` in place on `data` with `recipe`, and evaluate it.

    seed: of the batches; the net has been initialised already. iterations: truncates the recipe and never rescales it.
    folder: where checkpoints go, every `checkpoint_seconds` and on Ctrl-C; where one lies already, the run goes on from there.
    deterministic: on CUDA, repeatable kernels, so that a resumed run is bit-identical; on a CPU it is in any case (same machine, threads).
    compiled: torch.compile fuses each block's training pass: the same up to rounding, after some seconds of compiling.
    trace: look at every layer before and after some of the updates (`probes.LayerTrace`); the numbers are the same as without.
    on_point: called with the curve after each new point of it.
    until: asked after each step, with the number of steps taken; where it says True, and steps are left, the run stops with its checkpoint.
    Raises RunError when the loss is not finite, memory runs out, or the run is interrupted (the state is safe in `folder`); RunStopped, which
    is one, where `until` stops it.
    """
    place = resolve_device(device)
    with repeatable(place, deterministic), out_of_memory_explained(place):
        run = Run(net, data.to(place), recipe, seed, place, iterations or recipe.iterations, deterministic, compiled, trace)
        if folder is not None:
            run.resume(folder, progress)
        if compiled and progress:
            Progress.say("compiling each kind of block first: seconds on a GPU, a minute or more on a CPU")
        run.go(folder, checkpoint_seconds, progress, on_point, until)
        return run.finish()


class Run:
    """One run's state, and the step that moves it on."""

    def __init__(
        self, net: nn.Module, data: Data, recipe: Recipe, seed: int, device: torch.device, total: int, deterministic: bool, compiled: bool,
        trace: bool,
    ):  # fmt: skip
        # channels last: convolutions on a CPU and on tensor cores take it without a copy (1.5x on two cores)
        self.net = net.to(device, memory_format=torch.channels_last).train()
        self.data, self.recipe, self.device, self.total, self.deterministic = data, recipe, device, total, deterministic
        self.normalisation = Normalisation.measured(data.train, recipe.normalise)
        self.batches = Batches(data.train, recipe, self.normalisation, seed)
        self.optimiser = sgd(net, recipe)
        graph = device.type == "cuda" and not deterministic
        self.stepper = Stepper(self.net, self.optimiser, self.batches, recipe, graph=graph, compiled=compiled)
        self.sums = self.stepper.sums  # loss and wrong answers since the last point
        self.begin({"compiled": True} if compiled else {})  # only then, so that earlier checkpoints go on as exactly as they did
        if trace:
            self.trace = LayerTrace(self.net, self.normalisation(data.train.images[:PROBED]), total)

    def begin(self, more: dict) -> None:
        """The state before the first step; `more` is what its bits depend on beside device, threads and versions."""
        self.step, self.curve, self.trace = 0, Curve(), None
        self.since = 0
        self.seconds, self.resumed_at, self.earlier = 0.0, [], []
        self.started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.conditions = {**conditions(self.device, self.deterministic), **more, **code()}
        self.exact = self.conditions["repeatable"]

    def resume(self, folder: RunFolder, say: bool) -> None:
        """Take up the state of the folder's checkpoint, if there is one. say: tell where it goes on."""
        state = folder.load_checkpoint()
        if state is not None:
            self.take_up(state)
            if say:
                Progress.say(f"resuming at iteration {self.step}")

    def take_up(self, state: dict) -> None:
        """Go on from what `state` returned."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.since, self.seconds = state["step"], state["since"], state["seconds"]
        self.sums.copy_(state["sums"])
        self.started = state["started"]
        self.curve = Curve([tuple(p) for p in state["running"]], [tuple(p) for p in state["evaluated"]])
        self.resumed_at = [*state["resumed_at"], self.step]
        if self.trace is not None:
            self.trace.rows = state["trace"]
        self.earlier = state.get("earlier", [])
        if state["conditions"] != self.conditions:
            self.earlier = [*self.earlier, {"until": self.step, **state["conditions"]}]
        # bit-identical only where nothing that rounds differently has changed
        self.exact = state["exact"] and state["conditions"] == self.conditions

    def state(self) -> dict:
        """All that a checkpoint needs; what the batches draw depends on the step alone."""
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "since": self.since,
            "sums": self.sums,
            "running": [list(point) for point in self.curve.running],
            "evaluated": [list(point) for point in self.curve.evaluated],
            "seconds": self.seconds,
            "started": self.started,
            "resumed_at": self.resumed_at,
            "exact": self.exact,
            "conditions": self.conditions,
            **({"earlier": self.earlier} if self.earlier else {}),
            **({"trace": self.trace.rows} if self.trace is not None else {}),
        }

    @property
    def over(self) -> bool:
        """Whether no step is left: the last one was taken, or the running loss is where the recipe stops."""
        reached = bool(self.curve.running) and self.since == 0 and self.curve.running[-1][1] < self.recipe.stop_at_loss
        return self.step >= self.total or reached

    def go(
        self,
        folder: RunFolder | None,
        every: float,
        progress: bool,
        on_point: Callable[[Curve], None] | None,
        until: Callable[[int], bool] | None,
    ) -> None:
        """Take the steps that are left."""
        bar = Progress(self.step, self.total, progress)
        started = saved = time.monotonic()
        before = self.seconds
        with interrupt_flag() as interrupted, bar:
            while not self.over:
                self.take_step()
                self.seconds = before + time.monotonic() - started
                if self.step % self.recipe.curve_every == 0 or self.step == self.total:
                    self.add_point()
                    bar.show(self.curve)
                if self.step % self.recipe.evaluate_every == 0 and not self.over:
                    self.add_evaluation()
                if on_point is not None and self.since == 0:
                    on_point(self.curve)
                bar.advance()
                broken = interrupted.is_set()  # once: what comes after the checkpoint waits for the next step's
                stopped = until is not None and until(self.step) and not self.over
                due = broken or stopped or self.over or time.monotonic() - saved >= every
                broken, stopped, due = self.agreed(broken, stopped, due)
                if folder is not None and due:
                    self.check_loss()  # a checkpoint behind it could only lead here again
                    folder.save_checkpoint(self.state())
                    saved = time.monotonic()
                if broken:
                    raise RunError(f"Interrupted at iteration {self.step}: {_goes_on(folder)}.")
                if stopped:
                    raise RunStopped(self.step, self.total, folder)

    def agreed(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag as all processes of the run take it: there is this one."""
        return flags

    def take_step(self) -> None:
        """One update with the schedule's rate."""
        traced = self.trace is not None and self.step in self.trace.steps
        if traced:
            self.trace.before()
        self.stepper(self.step)
        if traced:
            self.trace.after(self.step)
        self.step += 1
        self.since += 1

    def add_point(self) -> None:
        """A point of the running curve, for which the loop asks the device for its sums."""
        self.check_loss()
        loss, error = (self.sums / self.since).tolist()
        self.curve.running.append((self.step, loss, 100 * error))
        self.sums.zero_()
        self.since = 0

    def check_loss(self) -> None:
        """Raise RunError where the loss since the last point is not finite, in all processes of the run if in one."""
        if self.agreed(not math.isfinite(float(self.sums[0])))[0]:
            raise RunError(
                f"The loss is not finite between iterations {self.step - self.since + 1} and {self.step}: "
                f"training diverged; choose a smaller rate or a warm-up."
            )

    def add_evaluation(self) -> None:
        """A point of the evaluated curve."""
        self.curve.evaluated.append((self.step, *(errors and errors.top1_error for errors in self.evaluate())))

    def evaluate(self) -> tuple[Errors, Errors | None, Errors]:
        """Errors on the training, validation and test images."""
        splits = self.data.train, self.data.validation, self.data.test
        return tuple(split and error_rates(self.net, split, self.normalisation) for split in splits)

    def images_of(self, steps: range) -> Iterator[torch.Tensor]:
        """The normalised images of the batches of some steps."""
        return (self.batches(step)[0] for step in steps)

    def finish(self) -> Fit:
        """The final figures: those of the last iteration."""
        if self.recipe.statistics == "average":
            last = range(max(0, self.step - self.recipe.average_batches), self.step)
            average_statistics(self.net, self.images_of(last))
        train, validation, test = self.evaluate()
        if not all(math.isfinite(errors.loss) for errors in (train, validation, test) if errors):
            raise RunError("The loss in evaluation mode is not finite, though the batches' was: choose a smaller rate or a warm-up.")
        self.curve.evaluated.append((self.step, train.top1_error, validation and validation.top1_error, test.top1_error))
        warmup = [error for step, _, error in self.curve.running if step == self.recipe.warmup_iterations]
        return Fit(
            self.net, self.normalisation, self.curve, self.step, train, validation, test,
            warmup[0] if warmup else None, self.seconds, self.resumed_at, self.exact, self.started, self.trace and self.trace.rows,
            self.earlier,
        )  # fmt: skip


class RunStopped(RunError):
    """A run that stopped where `until` said so: `iteration` of `iterations`. Its state is safe in `folder`, where it has one.

    beginning: the net that a grown one begins with, where it is that net's training that stopped.
    """

    def __init__(self, iteration: int, iterations: int, folder: RunFolder | None, beginning: str | None = None):
        self.reached = f"at iteration {iteration} of {iterations}" + (f" of the {beginning} that it begins with" if beginning else "")
        super().__init__(f"Stopped {self.reached}: {_goes_on(folder)}.")
        self.iteration, self.iterations, self.beginning, self.place = iteration, iterations, beginning, folder
        self.folder = folder and folder.path

    def as_dict(self) -> dict:
        """For JSON; `beginning` only where there is one."""
        place = {"iteration": self.iteration, "iterations": self.iterations, "folder": self.folder and str(self.folder)}
        return {**place, **({"beginning": self.beginning} if self.beginning else {})}


def _goes_on(folder: RunFolder | None) -> str:
    if folder is None:
        return "without a folder nothing was kept"
    return f"the same command{' without --fresh' if folder.fresh else ''} goes on from {folder.path}"


