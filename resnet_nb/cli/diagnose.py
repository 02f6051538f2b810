"""`resnet-nb diagnose`: why a number differs from a published one."""

from typing import Annotated

import typer

from resnet_nb import options
from resnet_nb.errors import InputError
from resnet_nb.output import print_json, say


def diagnose(
    model: Annotated[str | None, typer.Argument(help="The model's name, as for train; causes that cannot be its are left out.")] = None,
    measured: Annotated[float | None, typer.Option(help="Your top-1 error in percent [default with --weights: that of the probed images].")] = None,
    published: Annotated[float | None, typer.Option(help="The top-1 error in percent that you compare it with.")] = None,
    protocol: Annotated[str | None, typer.Option(help="The protocol that your error was measured under.")] = None,
    group: Annotated[str | None, typer.Option(help="Only these causes: comparison, test pipeline or training.")] = None,
    weights: Annotated[str | None, typer.Option(help="Also probe the net with these weights, as for evaluate, on --data.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="The data's name; with --weights it is read, as for evaluate.")] = None,
    data_root: options.DataRoot = None,
    subset: Annotated[int, typer.Option(min=2, help="Images to probe on; the others confirm what is found.")] = 1_000,
    probes: Annotated[str | None, typer.Option(help="Which, with commas: channels, scaling, mean and std, resize ... [default: all].")] = None,
    resize: options.Resize = None,
    crop: options.Crop = None,
    interpolation: options.Interpolation = None,
    mean: options.Mean = None,
    std: options.Std = None,
    normalise: options.Normalise = None,
    width: options.Width = None,
    norm: options.GivenNorm = None,
    conv_bias: options.ConvBias = False,
    image_size: options.ImageSize = None,
    part: Annotated[str, typer.Option("--on", help="test, or train.")] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the images that are drawn.")] = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    download: options.Download = False,
    as_json: options.Json = False,
) -> None:
    """Why does my number differ? Known causes by the size and sign of the gap; with --weights, probes on your own net and pictures."""
    from resnet_nb.devices import set_threads
    from resnet_nb.diagnose import diagnosing
    from resnet_nb.diagnose.settings import KINDS
    from resnet_nb.protocols.choices import Choices
    from resnet_nb.testing import reports
    from resnet_nb.testing.members import Given

    if weights is None and None in (measured, published):
        raise InputError("Give --measured and --published, two top-1 errors in percent, or a model with --weights and --data to probe it.")
    if weights is not None and None in (model, data):
        raise InputError("--weights needs the model's name and --data, on which it is probed.")
    set_threads(threads)
    answer = {"model": model, "data": data, "measured": measured, "published": published}
    if weights is not None:
        answer["probes"] = diagnosing.probed(
            model, weights, data, data_root, given=Given(mean, std, normalise), choices=Choices(resize, crop, interpolation=interpolation),
            part=part, subset=subset, kinds=probes.split(",") if probes else KINDS, seed=seed, device=device, width=width, norm=norm,
            conv_bias=conv_bias, image_size=image_size, download=download, measured=measured,
        )  # fmt: skip
        answer["measured"] = answer["probes"]["error"] if measured is None else measured
    if published is not None:
        answer["gap"] = round(answer["measured"] - published, 6)
        answer["causes"] = diagnosing.fitting(answer["measured"], published, model=model, data=data, protocol=protocol, group=group)
    for sentence in reports.remarks(answer.get("probes", {})):
        say(sentence)
    if as_json:
        print_json(answer)
    else:
        print("\n".join(diagnosing.lines(answer)))
