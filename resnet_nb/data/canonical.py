"""Canonical order, fingerprint and splits: the same data set from any of its forms is the same, image by image."""

import hashlib
import re

import numpy as np
import torch

from resnet_nb.data.types import Images
from resnet_nb.draws import SPLIT, permutation
from resnet_nb.errors import InputError


def canonical_order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The order that sorts by label, then by the SHA-256 of an image's pixels.

    images: (N, H, W, C) uint8, whose bytes are hashed in that layout, row by row, channels last; labels: (N,) integers. Returns (N,) int64.
    """
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    digests = np.array([hashlib.sha256(image).digest() for image in pixels], dtype="S32")
    return np.lexsort((digests, labels))


def canonical(images: np.ndarray, labels: np.ndarray) -> Images:
    """Images (N, H, W, C) uint8 and labels (N,) as tensors in canonical order, channels first."""
    order = canonical_order(images, labels)
    tensor = torch.from_numpy(images[order]).permute(0, 3, 1, 2).contiguous()
    return Images(tensor, torch.from_numpy(labels[order].astype(np.int64)))


def fingerprint(classes: tuple[str, ...], parts: dict[str, Images]) -> str:
    """ "sha256:" and the digest of: the class names, each ended by a newline; then for each part its name, the shape of its images as
    "N,H,W,C", a newline, its labels as one little-endian uint16 each, and its pixels, channels last. The parts are in canonical order.
    """
    digest = hashlib.sha256("".join(f"{name}\n" for name in classes).encode())
    for name, part in parts.items():
        pixels = part.images.permute(0, 2, 3, 1).contiguous().numpy()
        digest.update(f"{name} {','.join(map(str, pixels.shape))}\n".encode())
        digest.update(part.labels.numpy().astype("<u2").tobytes())
        digest.update(pixels)
    return f"sha256:{digest.hexdigest()}"


def split_images(train: Images, split: str) -> tuple[Images, Images | None, str]:
    """Part the training images as `split` says: "all", or two numbers such as "45k/5k" that add up to them.

    Which images go where is drawn from draws.permutation(0, SPLIT, 0, N) over the canonical order, so every form of the data set has the
    same split. Both parts keep canonical order. Returns training images, validation images or None, and the split's name.
    """
    if split == "all":
        return train, None, "all"
    match = re.fullmatch(r"(\d+)(k?)/(\d+)(k?)", split)
    if match is None:
        raise InputError(f"--split {split!r} is not understood: write all, or two numbers of images such as 45k/5k.")
    kept, held = (int(match[i]) * (1000 if match[i + 1] else 1) for i in (1, 3))
    if kept + held != len(train) or not kept or not held:
        raise InputError(f"--split {split}: {kept} and {held} images are not the {len(train)} training images in two parts.")
    order = permutation(0, SPLIT, 0, len(train))
    first, second = (torch.from_numpy(np.sort(part)) for part in (order[:kept], order[kept:]))
    parts = [Images(train.images[place], train.labels[place]) for place in (first, second)]
    return parts[0], parts[1], f"{kept}/{held}"
