"""A CIFAR-10 of sixty images, written in every form in which the real one comes."""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_nb.data import KNOWN_FINGERPRINTS
from resnet_nb.data.canonical import canonical_order, fingerprint
from resnet_nb.data.cifar import CIFAR10, CIFARS
from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError, RunError

Parts = dict[str, Part]
COUNTS = {"train": 40, "test": 20}


def small_cifar10(seed: int = 0) -> Parts:
    """Random 32x32 images of the ten classes: forty to train with, twenty to test with."""
    random = np.random.default_rng(seed)
    return {name: _random_part(random, count) for name, count in COUNTS.items()}


def _random_part(random: np.random.Generator, count: int) -> Part:
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return Part(pixels, random.permutation(np.arange(count, dtype=np.int64) % 10))


def publish(monkeypatch: pytest.MonkeyPatch, parts: Parts, official: type | None = None) -> None:
    """Make `parts` what cifar10 stands for: their counts, their fingerprint, the archive that `official` describes."""
    ordered = {name: part.take(canonical_order(part)) for name, part in parts.items()}
    small = replace(CIFAR10, images=COUNTS, official=lambda: official)
    monkeypatch.setitem(CIFARS, "cifar10", small)
    monkeypatch.setitem(KNOWN_FINGERPRINTS, "cifar10", fingerprint(CIFAR10.classes, ordered))


def write_npz(root: Path, parts: Parts, **changed: object) -> Path:
    """`root`/cifar10.npz; `changed` replaces an array, or leaves it out where it is None."""
    arrays = {f"x_{name}": part.pixels for name, part in parts.items()}
    arrays |= {f"y_{name}": part.labels.astype(np.uint8) for name, part in parts.items()} | changed
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "cifar10.npz", **{key: array for key, array in arrays.items() if array is not None})
    return root / "cifar10.npz"


def write_folders(folder: Path, parts: Parts, suffix: str = ".png", **options: object) -> Path:
    """`folder`/{train,test}/CLASS/NUMBER.suffix, written by Pillow with `options`."""
    for name, part in parts.items():
        for number, (image, label) in enumerate(zip(part.pixels, part.labels, strict=True)):
            path = folder / name / CIFAR10.classes[label] / f"{number:05d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, **options)
    return folder


def write_archive(root: Path, parts: Parts) -> type:
    """`root`/cifar-10-batches-py as it is published. Returns torchvision's class with the checksums of these files."""
    from torchvision.datasets import CIFAR10 as Official

    folder = root / Official.base_folder
    folder.mkdir(parents=True)
    batches = {"data_batch_1": parts["train"], "test_batch": parts["test"]}
    contents = {name: {"data": _rows(part), "labels": part.labels.tolist()} for name, part in batches.items()}
    contents["batches.meta"] = {"label_names": list(CIFAR10.classes)}
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        sums[name] = md5(folder / name)
    small = {"train_list": [["data_batch_1", sums["data_batch_1"]]], "test_list": [["test_batch", sums["test_batch"]]]}
    return type("SmallCifar10", (Official,), small | {"meta": {**Official.meta, "md5": sums["batches.meta"]}})


def _rows(part: Part) -> np.ndarray:
    return part.pixels.transpose(0, 3, 1, 2).reshape(len(part), -1)


def pack(root: Path, official: type) -> type:
    """Pack the archive in `root`, as it is fetched, and remove what was packed. Returns the class with its checksum."""
    folder, archive = root / official.base_folder, root / official.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, official.base_folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return type("PackedCifar10", (official,), {"tgz_md5": md5(archive)})


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def encoded(image: np.ndarray, form: str, **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def refusal(call: object, *words: object) -> str:
    """The one sentence with which `call()` refuses its input; it holds all of `words`."""
    return sentence_of(InputError, call, *words)


def failure(call: object, *words: object) -> str:
    """The one sentence with which `call()` fails; it holds all of `words`."""
    return sentence_of(RunError, call, *words)


def sentence_of(kind: type[Exception], call: object, *words: object) -> str:
    """The message of the error that `call()` raises, which is one sentence and holds all of `words`."""
    with pytest.raises(kind) as raised:
        call()
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith("."), sentence
    assert all(str(word) in sentence for word in words), sentence
    return sentence
