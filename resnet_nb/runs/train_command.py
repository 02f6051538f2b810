"""`resnet-nb train`: its options, wherever its words are read: on the command line, in a process of a sweep, in a task of Ray's."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_nb.errors import InputError
from resnet_nb.options import Compiled, DataRoot, Device, Download, ImageSize, Json, MaxMinutes, Split, Threads, Width
from resnet_nb.output import print_json, say
from resnet_nb.recipes import RECIPES
from resnet_nb.runs import asked

if TYPE_CHECKING:
    from resnet_nb.data import Data

TrainData = Annotated[str, typer.Option("--data", help="digits (embedded), cifar10, cifar100, folder; of photographs imagenet, imagenette, folder.")]
Norm = Annotated[str, typer.Option(help="batch: batch normalisation; none: biases in its place.")]
INIT_HELP = (
    "he-fan-in, he-fan-out, glorot, orthogonal, delta-orthogonal, pytorch (its layers' default), small, zero-last-scale, "
    "or grown:plain20: a trained plain-20, deepened; grown:plain20@STUDY: the one whose weights that study keeps."
)


def train(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="plain20, resnet56, resnet20-B, imagenet:resnet34, torchvision:NAME, timm:NAME ...")],
    data: TrainData = "digits",
    data_root: DataRoot = None,
    recipe: Annotated[str | None, typer.Option(help=f"{', '.join(RECIPES)} [default: the data's].")] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights, the batches, the crops.")] = 0,
    iterations: Annotated[int | None, typer.Option(help="Stop after so many; the schedule stays as it is.")] = None,
    width: Width = None,
    init: Annotated[str, typer.Option(help=INIT_HELP)] = "he-fan-in",
    norm: Norm = "batch",
    split: Split = "all",
    image_size: ImageSize = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder [default: runs/NAME].")] = None,
    study: Annotated[str | None, typer.Option(help="Also file the record under results/STUDY/.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Look at every layer along the way: trace.csv, also beside the record.")] = False,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="File the final weights beside the record, in half precision.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again, whatever the folder holds.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 30,
    max_minutes: MaxMinutes = None,
    device: Device = "auto",
    threads: Threads = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode photographs, for each rank [default: the processors].")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="CUDA: kernels that repeat to the last bit.")] = False,
    compiled: Compiled = False,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Train one network, or go on with a run that was stopped; leaves weights.pt and record.json in the run's folder.

    On photographs, by several processes too: torchrun --nproc-per-node N -m resnet_nb train ..., each with a GPU or on the CPU.
    """
    from resnet_nb.audience import leads
    from resnet_nb.training.train import RunStopped

    try:
        done = asked.train(context.params)
    except RunStopped as stopped:
        if not leads():
            return
        if as_json:
            print_json({"finished": False, "model": model, **stopped.as_dict()})
        else:
            print(stopped)
        return
    if not leads():
        return
    say(f"data: {done.source}")
    say(f"{'done' if done.new else 'nothing left to do, the run is complete'}: {done.folder}")
    if study:
        say(f"recorded in the study {study}")
    if as_json:
        print_json(done.record)
    else:
        print(final_line(done.record))


def final_line(record: dict) -> str:
    """A training run's record in a line."""
    final = record["final"]
    return (
        f"{record['model']['name']} after {final['iteration']} iterations: training error {final['train_error']:.2f} %, "
        f"test error {final['test_error']:.2f} % (1-crop, {record['data']['test_images']:,} images)"
    )


def parsed(words: Sequence[str]) -> dict:
    """The options that `resnet-nb train` makes of a command's words, defaults among them. Raises InputError for words that are no command."""
    if list(words[:1]) != ["train"]:
        raise InputError(f"`resnet-nb {shlex.join(words)}` is no command that trains: begin with train.")
    if "--help" in words:
        raise InputError(f"`resnet-nb {shlex.join(words)}` trains nothing: leave --help out.")
    alone = typer.Typer(add_completion=False)
    alone.command()(train)
    try:
        return typer.main.get_command(alone).make_context("train", list(words[1:])).params
    except Exception as error:  # typer has exceptions of its own for bad words
        raise InputError(f"`resnet-nb {shlex.join(words)}` is no command: {getattr(error, 'message', None) or error}") from error


def answer_of(
    words: Sequence[str], until: Callable[[int], bool] | None = None, read: "Callable[..., Data] | None" = None
) -> tuple[dict | None, str]:
    """Run a `resnet-nb train` command in this thread: its answer as `--json` has it, or None and what was wrong. until, read: as in `asked.train`."""
    from resnet_nb.training.train import RunStopped

    try:
        options = parsed(words)
        try:
            return asked.train(options, until, progress=False, read=read).record, ""
        except RunStopped as stopped:
            return {"finished": False, "model": options["model"], "reached": stopped.reached, **stopped.as_dict()}, ""
    except Exception as error:  # of this run alone: the others go on
        return None, str(error) or type(error).__name__
