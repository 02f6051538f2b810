"""Pictures as the uint8 tensors that views are cut from: decoded once, resized once per short side, refused by name where that cannot be."""

import itertools
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike, fspath
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from resnet_nb.data.pictures import read_picture
from resnet_nb.errors import InputError
from resnet_nb.protocols.geometry import Protocol, box, resized_size

Picture = str | PathLike | Image.Image | Tensor  # a tensor is uint8 (C, H, W)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Source(NamedTuple):
    """How a picture was resized: its short side in pixels (None: as it is), the filter, and what applied it."""

    short: int | None
    interpolation: str
    resizer: str


class Loaded(NamedTuple):
    """A picture, uint8 (C, H, W) in each of the sizes that the protocols ask for. place: its place among all."""

    place: int
    name: str
    sources: dict[Source, Tensor]


class Failure(NamedTuple):
    """A picture that was not scored: its place among all, its name, and why, as a sentence with the name in it."""

    place: int
    name: str
    reason: str


def load(place: int, picture: Picture, protocols: Sequence[Protocol]) -> Loaded | Failure:
    """Decode `picture` as torchvision's loader does and resize it as `protocols` ask.

    A Failure: what Pillow cannot decode, more than 8 bits a channel (Pillow would clip them), a picture smaller than the crop, and one so long
    and thin that it would have more than Pillow's limit of pixels once resized.
    """
    name = _name(place, picture)
    try:
        picture = _read(picture)
        found = {source: _resize(picture, source) for source in dict.fromkeys(each for protocol in protocols for each in sources(protocol))}
        for protocol in protocols:
            box(protocol.views()[0], *found[sources(protocol)[0]].shape[1:], protocol.crop, protocol.pad)  # refuses what is too small
    except (InputError, OSError) as error:
        return Failure(place, name, str(error) if name in str(error) else f"{name} {error}")
    return Loaded(place, name, found)


def decoded(
    pictures: Iterable[Picture], protocols: Sequence[Protocol], size: int, workers: int, skip: Container[int] = ()
) -> Iterator[tuple[int, list[Loaded | Failure]]]:
    """The numbers and pictures of chunks of `size`, in order, but for the numbers in `skip`, whose pictures are not opened.

    The next chunk is decoded by `workers` threads while one is worked on: Pillow and torch release Python's lock. Two are in memory.
    """
    numbered = ((number, chunk) for number, chunk in enumerate(_batched(enumerate(pictures), size)) if number not in skip)
    with ThreadPoolExecutor(workers) as threads:
        waiting: deque[tuple[int, list[Future]]] = deque()
        try:
            for number, chunk in numbered:
                waiting.append((number, [threads.submit(load, place, picture, protocols) for place, picture in chunk]))
                if len(waiting) == 2:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            threads.shutdown(cancel_futures=True)


def _finished(number: int, futures: list[Future]) -> tuple[int, list[Loaded | Failure]]:
    return number, [future.result() for future in futures]


def _batched(pictures: Iterable[tuple[int, Picture]], size: int) -> Iterator[list[tuple[int, Picture]]]:
    """As itertools.batched of Python 3.12."""
    pictures = iter(pictures)
    while batch := list(itertools.islice(pictures, size)):
        yield batch


def sources(protocol: Protocol) -> list[Source]:
    """In the order of the protocol's short sides."""
    return [Source(short, protocol.interpolation, protocol.resizer) for short in protocol.shorts]


def bounded_size(height: int, width: int, short: int | None) -> tuple[int, int]:
    """`geometry.resized_size`. Raises InputError for a picture so long and thin that it would have more than Pillow's limit of pixels."""
    size = resized_size(height, width, short)
    if size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
        raise InputError(f"would have {size[1]}x{size[0]} pixels once resized from {width}x{height}: crop or remove it.")
    return size


def _name(place: int, picture: Picture) -> str:
    if isinstance(picture, str | PathLike):
        return fspath(picture)
    return getattr(picture, "filename", None) or f"picture {place}"


def _read(picture: Picture) -> Image.Image | Tensor:
    if isinstance(picture, Tensor):
        return picture
    if not isinstance(picture, Image.Image):
        return read_picture(Path(picture))
    if picture.mode[0] in "IF":
        raise InputError(f"has more than 8 bits a channel ({picture.mode}): convert it to 8 bits first.")
    return picture.convert("RGB")


def _resize(picture: Image.Image | Tensor, source: Source) -> Tensor:
    height, width = picture.shape[1:] if isinstance(picture, Tensor) else picture.size[::-1]
    size = bounded_size(height, width, source.short)
    if size == (height, width):
        return _tensor(picture)
    if source.resizer == "tensor":
        return transforms.resize(_tensor(picture), list(size), InterpolationMode(source.interpolation), antialias=True)
    if isinstance(picture, Image.Image):
        return _tensor(picture.resize(size[::-1], FILTERS[source.interpolation]))
    channels = [Image.fromarray(channel).resize(size[::-1], FILTERS[source.interpolation]) for channel in picture.cpu().numpy()]
    return torch.from_numpy(np.stack(channels)).to(picture.device)


def _tensor(picture: Image.Image | Tensor) -> Tensor:
    return picture if isinstance(picture, Tensor) else torch.from_numpy(np.array(picture)).permute(2, 0, 1)
