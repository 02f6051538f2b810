"""Canonical order and fingerprint: the same data set from any of its forms is the same, image by image."""

import hashlib

import numpy as np

from resnet_nb.data.sets import Part


def canonical_order(part: Part) -> np.ndarray:
    """(N,) int64: the places of the images sorted by label, then by the SHA-256 of their pixels.

    What is hashed is an image's H * W * C bytes, row by row, channels last; digests compare as byte strings. Images
    that agree in both are the same image, so that their order makes no difference.
    """
    digests = b"".join(hashlib.sha256(image).digest() for image in np.ascontiguousarray(part.pixels))
    words = np.frombuffer(digests, ">u8").reshape(-1, 4)  # big-endian words compare as the bytes do
    return np.lexsort((*words.T[::-1], part.labels))  # the last key sorts first


def fingerprint(classes: tuple[str, ...], parts: dict[str, Part]) -> str:
    """ "sha256:" and 64 hex digits that identify a data set. The parts, "train" and "test", are in canonical order.

    The SHA-256 of these bytes, one after the other:

    1. the class names in the order of their labels, in UTF-8, each ended by a newline;
    2. the line `train 50000,32,32,3` and a newline: the part's name, its number of images, height, width and channels;
    3. the labels of its images, each a little-endian uint16;
    4. their pixels, uint8, image by image, row by row, channels last;
    5. the same three for `test`.
    """
    digest = hashlib.sha256("".join(f"{name}\n" for name in classes).encode(errors="surrogateescape"))
    for name in ("train", "test"):
        part = parts[name]
        digest.update(f"{name} {','.join(map(str, part.pixels.shape))}\n".encode())
        digest.update(part.labels.astype("<u2"))
        digest.update(np.ascontiguousarray(part.pixels))
    return f"sha256:{digest.hexdigest()}"
