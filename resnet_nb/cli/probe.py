"""`resnet-nb probe`: a look inside trained weights."""

from typing import Annotated

import typer

from resnet_nb import options
from resnet_nb.output import print_json, say


def probe(
    probe: Annotated[str, typer.Argument(help="responses, shares, lesions, deletions, swaps, paths, line or surface.")],
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    weights: options.Weights,
    data: Annotated[str, typer.Option("--data", help="digits, cifar10, cifar100 or folder.")] = "digits",
    data_root: options.DataRoot = None,
    images: Annotated[int, typer.Option(min=2, help="How many, evenly over the part.")] = 1_000,
    part: Annotated[str, typer.Option("--on", help="test or train.")] = "test",
    counts: Annotated[str | None, typer.Option(help="deletions and swaps: how many blocks or pairs [default: 1,2,4,8].")] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="deletions, swaps and paths: random choices for each [default: 5].")] = None,
    points: Annotated[int | None, typer.Option(min=3, help="line and surface: points along a direction [default: 21].")] = None,
    span: Annotated[float | None, typer.Option(help="line and surface: how far to each side [default: 1].")] = None,
    directions: Annotated[int | None, typer.Option(min=1, help="line: random directions [default: 1].")] = None,
    statistics: Annotated[int | None, typer.Option(help="line and surface: images for statistics averaged anew [default: 0, none].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of choices and directions [default: 0].")] = None,
    mean: options.Mean = None,
    std: options.Std = None,
    normalise: options.Normalise = None,
    width: options.Width = None,
    norm: options.GivenNorm = None,
    conv_bias: options.ConvBias = False,
    image_size: options.ImageSize = None,
    study: options.PublicStudy = None,
    source: options.Source = None,
    trained_on: options.TrainedOn = None,
    note: options.Note = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    download: options.Download = False,
    as_json: options.Json = False,
) -> None:
    """Look inside trained weights: layers, blocks deleted or exchanged, paths of the gradient, slices of the loss; with --study, a record of it."""
    from resnet_nb.devices import set_threads
    from resnet_nb.testing import probing
    from resnet_nb.testing.members import Given

    set_threads(threads)
    asked = {
        "counts": counts, "draws": draws, "points": points, "span": span, "directions": directions, "statistics": statistics, "seed": seed,
    }  # fmt: skip
    answer = probing.probed(
        probe, model, weights, data, data_root, given=Given(mean, std, normalise), images=images, part=part, asked=asked, width=width, norm=norm,
        conv_bias=conv_bias, image_size=image_size, device=device, download=download, study=study, source=source,
        said={"trained_on": trained_on, "note": note},
    )  # fmt: skip
    if study:
        say(f"recorded in the study {study}")
    if as_json:
        print_json(answer)
    else:
        print(probing.text(answer))
