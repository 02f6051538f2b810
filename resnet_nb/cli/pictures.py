"""`resnet-nb predict` and `resnet-nb features`: trained weights and the user's own pictures."""

from pathlib import Path
from typing import Annotated

import typer

from resnet_nb import options
from resnet_nb.errors import InputError
from resnet_nb.output import print_json, say

ClassNames = Annotated[
    Path | None, typer.Option("--classes", help="A file with a name a line, or a folder of class folders [default: the weights' own names].")
]


def predict(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures in any format of Pillow's.")],
    weights: options.Weights,
    protocol: Annotated[str, typer.Option(help="1-crop, 10-crop, dense or multi-scale.")] = "10-crop",
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
    width: options.Width = None,
    norm: options.GivenNorm = None,
    conv_bias: options.ConvBias = False,
    classes: ClassNames = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the views and their votes on the picture, to .png, .pdf or .svg.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """The five likeliest classes of your own pictures, and the views that voted for each. Exit status 1 if a picture could not be read."""
    from resnet_nb.devices import set_threads
    from resnet_nb.protocols import choices
    from resnet_nb.testing import own_pictures, reports
    from resnet_nb.testing import predict as predictions
    from resnet_nb.testing.members import Given

    if "," in protocol:
        raise InputError(f"--protocol {protocol}: name one.")
    set_threads(threads)
    sides = choices.pixels("--scales", scales), choices.pixels("--pad", pad)
    chosen = choices.Choices(resize, crop, *sides, mirror, rule, interpolation, resizer)
    own_pictures.check_files(images)
    predictions.check_figure(figure, images)
    made = {"width": width, "norm": norm, "conv_bias": conv_bias}
    ready = own_pictures.ready(model, weights, [protocol], given=Given(mean, std), choices=chosen, classes=classes, **made)
    answer = predictions.predict(ready, images, device=device)
    if figure is not None:
        predictions.draw(answer, figure)
    for sentence in reports.remarks(answer):
        say(sentence)
    if as_json:
        print_json(answer)
    else:
        print("\n".join(predictions.lines(answer)))
    if answer["unreadable"]:
        raise typer.Exit(1)


def features(
    model: Annotated[str, typer.Argument(help="The model's name, as for train.")],
    folder: Annotated[Path, typer.Argument(help="Class folders of pictures, or a folder of pictures.")],
    weights: options.Weights,
    out: Annotated[Path, typer.Option(help="The file .npz to write.")],
    resize: options.Resize = None,
    crop: options.Crop = None,
    interpolation: options.Interpolation = None,
    resizer: options.Resizer = None,
    mean: options.Mean = None,
    std: options.Std = None,
    width: options.Width = None,
    norm: options.GivenNorm = None,
    conv_bias: options.ConvBias = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    as_json: options.Json = False,
) -> None:
    """Pooled features of every picture in a folder, with names and labels, for use elsewhere."""
    from resnet_nb.devices import set_threads
    from resnet_nb.protocols.choices import Choices
    from resnet_nb.testing import features as pooled
    from resnet_nb.testing import own_pictures, reports
    from resnet_nb.testing.members import Given

    set_threads(threads)
    chosen = Choices(resize, crop, interpolation=interpolation, resizer=resizer)
    made = {"width": width, "norm": norm, "conv_bias": conv_bias}
    ready = own_pictures.ready(model, weights, ["1-crop"], given=Given(mean, std), choices=chosen, **made)
    answer = pooled.features(ready, folder, out, device=device)
    for sentence in reports.remarks(answer):
        say(sentence)
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['images']:,} pictures, {answer['features']:,} features each, {len(answer['classes'])} classes: {out}")
