"""`resnet-nb data` and `resnet-nb doctor`: what is at hand here."""

from typing import Annotated

import typer

from resnet_nb.errors import InputError
from resnet_nb.options import DataRoot, Download, ImageSize, Json, Split
from resnet_nb.output import print_json


def data(
    name: Annotated[str | None, typer.Argument(help="Load this data set whole, check it, and describe it.")] = None,
    data_root: DataRoot = None,
    split: Split = "all",
    image_size: ImageSize = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Which data sets are at hand; with a name, load one, check it, and print its fingerprint."""
    from resnet_nb.data import available, describe, load_data
    from resnet_nb.data.photographs.imagenet import COLLECTIONS, available_photographs, describe_photographs, photographs

    if name in COLLECTIONS and (split, image_size, download) != ("all", None, False):
        raise InputError(f"{name} is only tested on, as it lies there: leave --split, --image-size and --download out.")
    if name is None:
        rows = [*available(data_root), *available_photographs(data_root)]
    elif name in COLLECTIONS:
        rows = [describe_photographs(photographs(name, data_root))]
    else:
        rows = [describe(load_data(name, data_root, split=split, download=download, image_size=image_size))]
    if as_json:
        print_json(rows if name is None else rows[0])
        return
    for row in rows:
        print("\n".join(f"{key}: {value}" for key, value in row.items() if value is not None) + ("\n" if len(rows) > 1 else ""))


def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """What this machine and this installation can do: versions, device, memory, data, notebooks, records."""
    from resnet_nb.cli.doctor import checks, format_checks

    found = checks(data_root)
    if as_json:
        print_json([vars(check) for check in found])
    else:
        print(format_checks(found))
    if not all(check.ok for check in found):
        raise typer.Exit(1)
