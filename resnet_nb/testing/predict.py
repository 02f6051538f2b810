"""What `resnet-nb predict` does: the likeliest classes of a reader's own pictures, and which views of a picture voted for which."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnet_nb.data.pictures import read_picture
from resnet_nb.errors import InputError
from resnet_nb.files import write_atomically
from resnet_nb.protocols import Protocol, Scores, View, box, run
from resnet_nb.protocols.geometry import resized_size
from resnet_nb.testing.own_pictures import Ready, check_files

LIKELIEST = 5
FIGURES = (".png", ".pdf", ".svg")


def predict(ready: Ready, images: Sequence[Path], *, device: str = "auto") -> dict:
    """The five likeliest classes of each picture under the one protocol of `ready`.

    Returns {"model", "weights", "protocol": its settings, "pictures": [{"picture", "size": [width, height] in pixels, "classes": [{"class", "label",
    "score", "votes": the numbers of the views that voted for it}, ...], "views": [{"view", "short", "place", "mirrored", "box": [left, top, width,
    height] in pixels of the picture, "class", "label", "score"}, ...]}, ...], "unreadable": [{"name", "reason"}, ...]}. A view votes for its own
    likeliest class, and the score beside it is its own; those of the classes are averaged over the views. Raises InputError for a picture that
    is absent, and where none can be read.
    """
    check_files(images)
    (protocol,) = ready.protocols
    pictures, unreadable = [], []
    for chunk in run(ready.net, images, [protocol], ready.normalisation, device=device, keep="views"):
        (result,) = chunk.results
        pictures += [_picture(images[place], row, result, protocol, ready.classes) for row, place in enumerate(chunk.places)]
        unreadable += [{"name": failure.name, "reason": failure.reason} for failure in chunk.failures]
    if not pictures:
        raise InputError(f"None of the {len(images)} pictures can be read; the first: {unreadable[0]['reason']}")
    said = {"model": ready.model, "weights": ready.weights, "protocol": protocol.to_dict()}
    return {**said, "pictures": pictures, "unreadable": unreadable}


def view_box(view: View, protocol: Protocol, width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, width, height) of what a view sees, in pixels of the picture before it was resized; padding lies outside it."""
    tall, wide = resized_size(height, width, view.short)
    found = box(view, tall, wide, protocol.crop, protocol.pad)
    across, down = width / wide, height / tall
    return found.left * across, found.top * down, found.width * across, found.height * down


def check_figure(figure: Path | None, images: Sequence[Path]) -> None:
    """Raise InputError for a figure that cannot be drawn, before a net is run."""
    if figure is not None and (figure.suffix not in FIGURES or len(images) > 1):
        raise InputError(f"--figure {figure}: it shows one picture, in a file that ends in {', '.join(FIGURES)}.")


def draw(answer: dict, figure: Path) -> None:
    """Draw the views of the answer's one picture, and their votes, to the file `figure`. Raises RunError where it cannot be written."""
    from resnet_nb.figures.views import votes

    (picture,) = answer["pictures"]
    drawn = votes(read_picture(Path(picture["picture"])), picture, answer["protocol"]["name"])
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=figure.suffix[1:], dpi=150)
    write_atomically(figure, buffer.getvalue())


def lines(answer: dict) -> list[str]:
    """The answer in words."""
    found = []
    for picture in answer["pictures"]:
        found.append(f"{picture['picture']} ({answer['protocol']['name']}, {len(picture['views'])} views)")
        for row in picture["classes"]:
            count = len(row["votes"])
            votes = f"  {count} of {len(picture['views'])} views: {_numbers(row['votes'], len(picture['views']))}" if count else ""
            found.append(f"  {100 * row['score']:6.2f} %  {row['class']}{votes}")
    return found


def _numbers(votes: Sequence[int], views: int) -> str:
    return "all" if len(votes) == views else ", ".join(map(str, votes))


def _picture(path: Path, row: int, result: Scores, protocol: Protocol, classes: Sequence[str]) -> dict:
    width, height = _size(path)
    own = result.views[0, row]  # (views, classes)
    votes = own.argmax(1)
    views = [
        {
            "view": number, "short": view.short, "place": view.place, "mirrored": view.mirrored,
            "box": [round(value, 2) for value in view_box(view, protocol, width, height)],
            "class": classes[vote], "label": int(vote), "score": round(float(scores[vote]), 6),
        }
        for number, (view, vote, scores) in enumerate(zip(protocol.views(), votes, own, strict=True), 1)
    ]  # fmt: skip
    likeliest = np.argsort(-result.scores[row], kind="stable")[:LIKELIEST]
    ranked = [
        {
            "class": classes[label], "label": int(label), "score": round(float(result.scores[row, label]), 6),
            "votes": [view["view"] for view in views if view["label"] == label],
        }
        for label in likeliest
    ]  # fmt: skip
    return {"picture": str(path), "size": [width, height], "classes": ranked, "views": views}


def _size(path: Path) -> tuple[int, int]:
    return read_picture(path).size
