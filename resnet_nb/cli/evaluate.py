"""`resnet-nb evaluate`: error rates of trained weights."""

from pathlib import Path
from typing import Annotated

import typer

from resnet_nb import options
from resnet_nb.errors import InputError
from resnet_nb.output import print_json, say

TestData = Annotated[str, typer.Option("--data", help="digits, cifar10, cifar100, imagenet, imagenetv2, imagenette or folder.")]


def evaluate(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    weights: options.Weights,
    data: TestData = "digits",
    data_root: options.DataRoot = None,
    protocol: Annotated[str, typer.Option(help="1-crop, 10-crop, dense, multi-scale; several with commas.")] = "1-crop",
    resize: options.Resize = None,
    crop: options.Crop = None,
    scales: options.Scales = None,
    pad: options.Pad = None,
    mirror: options.Mirror = None,
    rule: options.Rule = None,
    interpolation: options.Interpolation = None,
    resizer: options.Resizer = None,
    mean: options.Mean = None,
    std: options.Std = None,
    normalise: options.Normalise = None,
    width: options.Width = None,
    norm: options.GivenNorm = None,
    conv_bias: options.ConvBias = False,
    others: Annotated[list[str] | None, typer.Option("--with", help="MODEL=WEIGHTS of an ensemble's further member; repeat for several.")] = None,
    image_size: options.ImageSize = None,
    part: Annotated[str, typer.Option("--on", help="test, validation or train; several with commas.")] = "test",
    split: options.Split = "all",
    precision: Annotated[str, typer.Option(help="float32, tf32, bfloat16 or float16; the predictions that flip are counted.")] = "float32",
    batch: Annotated[int | None, typer.Option(min=1, help="Crops of 224x224 pixels at a time, or as many pixels [default: the device's].")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode photographs [default: half the processors].")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the answer; a run that was stopped goes on from what is finished there.")] = None,
    save_scores: Annotated[Path | None, typer.Option(help="A file .npz for the scores of every view; goes on as --out does.")] = None,
    study: options.PublicStudy = None,
    source: options.Source = None,
    trained_on: options.TrainedOn = None,
    note: options.Note = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    download: options.Download = False,
    as_json: options.Json = False,
) -> None:
    """Error rates of trained weights under test protocols, each compared with the one before it; with --study, a record of them."""
    from resnet_nb.devices import set_threads
    from resnet_nb.protocols import choices
    from resnet_nb.testing import evaluations, reports
    from resnet_nb.testing.measure import Running, measure
    from resnet_nb.testing.members import Given

    if (study is None) != (source is None):
        raise InputError("--study and --source go together: a record of weights says where they are public.")
    if study is None and (trained_on, note) != (None, None):
        raise InputError("--trained-on and --note are kept in a record: give --study and --source with them.")
    set_threads(threads)
    sides = choices.pixels("--scales", scales), choices.pixels("--pad", pad)
    how = {
        "protocols": protocol.split(","), "parts": part.split(","), "given": Given(mean, std, normalise), "width": width, "norm": norm,
        "choices": choices.Choices(resize, crop, *sides, mirror, rule, interpolation, resizer),
        "running": Running(device, precision, batch, workers, out, save_scores), "others": _pairs(others), "conv_bias": conv_bias,
        "image_size": image_size, "split": split, "download": download,
    }  # fmt: skip
    if study is None:
        result = measure(model, weights, data, data_root, **how)
    else:
        said = {"trained_on": trained_on, "note": note}
        result = evaluations.evaluate(model, weights, data, data_root, study=study, source=source, **said, **how)
        say(f"recorded in the study {study}")
    for sentence in reports.remarks(result):
        say(sentence)
    if as_json:
        print_json(result)
    else:
        print("\n".join(reports.lines(result)))


def _pairs(texts: list[str] | None) -> list[tuple[str, str]]:
    """MODEL=WEIGHTS, as --with has them."""
    pairs = [tuple(text.partition("=")[::2]) for text in texts or ()]
    if not all(model and weights for model, weights in pairs):
        raise InputError("--with: write MODEL=WEIGHTS, such as resnet56=akamaster:resnet56.")
    return pairs
