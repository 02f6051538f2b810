"""Damaged, mislabelled and wrong-shaped input: one sentence that names the file, and never a traceback."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from data_examples import COUNTS, encoded, publish, refusal, small_cifar10, write_folders, write_npz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_nb.data import KNOWN_FINGERPRINTS, load_data
from resnet_nb.data.npz import read_npz
from resnet_nb.data.pictures import read_picture
from resnet_nb.errors import InputError

PARTS = small_cifar10()
TRAIN, TEST = PARTS["train"], PARTS["test"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, PARTS)


def changed(array: np.ndarray, place: int | tuple, value: object) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


# One NumPy file


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y_test": None}, ["lacks y_test"]),
        ({"x_train": None, "y_train": None}, ["lacks x_train, y_train", "x_test, y_test"]),
        ({"x_train": TRAIN.pixels.astype(np.float32)}, ["x_train", "float32"]),
        ({"x_train": TRAIN.pixels.reshape(40, -1)}, ["x_train", "(40, 3072)"]),
        ({"x_train": TRAIN.pixels.transpose(0, 3, 1, 2)}, ["train images", "(40, 3, 32, 32)", "(40, 32, 32, 3)"]),
        ({"x_test": TEST.pixels[..., :1]}, ["test images", "(20, 32, 32, 1)"]),
        ({"x_test": TEST.pixels[:0], "y_test": TEST.labels[:0]}, ["test images", "(0, 32, 32, 3)"]),
        ({"x_train": TRAIN.pixels[:39], "y_train": TRAIN.labels[:39]}, ["train images", "(39, 32, 32, 3)"]),
        ({"y_train": TRAIN.labels[:39]}, ["y_train", "(39,)", "40 images"]),
        ({"y_train": TRAIN.labels.astype(np.float64)}, ["y_train", "float64"]),
        ({"y_train": TRAIN.labels[:, None]}, ["y_train", "(40, 1)"]),
        ({"y_train": np.eye(10, dtype=np.uint8)[TRAIN.labels]}, ["y_train", "(40, 10)"]),
        ({"y_train": TRAIN.labels + 1}, ["train labels run from 1 to 10"]),
        ({"y_train": changed(TRAIN.labels, 0, -1)}, ["train labels run from -1"]),
        ({"y_train": changed(TRAIN.labels, 0, (TRAIN.labels[0] + 1) % 10)}, ["train images, not 4"]),
        ({"y_test": TEST.labels[::-1]}, ["not the published CIFAR-10"]),
        (
            {"x_train": changed(TRAIN.pixels, (0, 0, 0, 0), TRAIN.pixels[0, 0, 0, 0] ^ 1)},
            ["not the published CIFAR-10"],
        ),
        ({"x_train": TRAIN.pixels[..., ::-1]}, ["not the published CIFAR-10"]),
        ({"x_train": np.array(["a", None], dtype=object)}, ["pickled objects"]),
    ],
)
def test_a_wrong_npz_is_refused(tmp_path: Path, arrays: dict, words: list[str]):
    path = write_npz(tmp_path, PARTS, **arrays)
    refusal(lambda: load_data("cifar10", tmp_path), path, *words)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello, world", b"\x80\x04N.", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "cifar10.npz").write_bytes(content)
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path / "cifar10.npz", "truncated, damaged or no .npz file")


def test_a_lone_array_is_refused(tmp_path: Path):
    with (tmp_path / "cifar10.npz").open("wb") as file:
        np.save(file, TRAIN.pixels)
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path / "cifar10.npz")


@pytest.mark.parametrize("shape", [b"(41, 32, 32, 3)", b"(9999999999999)", b"(-1, 32, 32, 3)", b"(4x, 32, 32, 3)"])
def test_an_npz_that_promises_more_than_it_holds_is_refused(tmp_path: Path, shape: bytes):
    path = write_npz(tmp_path, PARTS)
    path.write_bytes(path.read_bytes().replace(b"(40, 32, 32, 3)", shape))
    refusal(lambda: load_data("cifar10", tmp_path), path)


def test_a_pickle_inside_an_npz_is_not_loaded(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    write_npz(tmp_path, PARTS, y_test=np.array([Trap()], dtype=object))
    refusal(lambda: load_data("cifar10", tmp_path), "pickled objects")
    assert not (tmp_path / "sprung").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 0.999))
def test_an_npz_cut_short_anywhere_is_refused(tmp_path: Path, cut: float):
    whole = write_npz(tmp_path, PARTS).read_bytes()
    (tmp_path / "cifar10.npz").write_bytes(whole[: int(cut * len(whole))])
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path / "cifar10.npz")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_an_npz_with_one_wrong_byte_is_refused_or_the_same(tmp_path: Path, place: float, value: int):
    path = write_npz(tmp_path, {name: part.take(np.arange(10)) for name, part in PARTS.items()})
    before, content = read_npz(path), bytearray(path.read_bytes())
    content[int(place * len(content))] ^= value
    path.write_bytes(content)
    try:
        after = read_npz(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert all(np.array_equal(before[name].pixels, after[name].pixels) for name in PARTS)


@pytest.mark.parametrize("reader", ["open", "read_bytes"])
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str):
    if reader == "open":
        path = write_npz(tmp_path, PARTS)
    else:
        path = write_folders(tmp_path / "cifar10", PARTS) / "train" / "airplane"

    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, reader, refuse)
    refusal(lambda: load_data("cifar10", tmp_path), path, "Permission denied")


# Class folders


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "cifar10", PARTS)


def first(folder: Path) -> Path:
    return min(folder.iterdir())


def test_a_missing_picture_is_refused(tmp_path: Path, folders: Path):
    first(folders / "train" / "cat").unlink()
    refusal(lambda: load_data("cifar10", tmp_path), folders, "(39, 32, 32, 3)")


def test_a_picture_in_the_wrong_class_is_refused(tmp_path: Path, folders: Path):
    first(folders / "train" / "cat").rename(folders / "train" / "dog" / "moved.png")
    refusal(lambda: load_data("cifar10", tmp_path), folders, "class cat has 3 train images, not 4")


def test_two_pictures_that_changed_places_are_refused(tmp_path: Path, folders: Path):
    cat, dog = first(folders / "train" / "cat"), first(folders / "train" / "dog")
    contents = cat.read_bytes(), dog.read_bytes()
    cat.write_bytes(contents[1]), dog.write_bytes(contents[0])
    refusal(lambda: load_data("cifar10", tmp_path), folders, "not the published CIFAR-10")


def test_a_folder_that_is_no_class_is_refused(tmp_path: Path, folders: Path):
    (folders / "train" / "zebra").mkdir()
    refusal(lambda: load_data("cifar10", tmp_path), folders / "train" / "zebra")


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_absent_part_class_or_folder_is_refused(tmp_path: Path, folders: Path, part: str):
    (folders / part / "ship").rename(tmp_path / "ship")
    refusal(lambda: load_data("cifar10", tmp_path), folders / part / "ship")
    (folders / part).rename(tmp_path / "gone")
    refusal(lambda: load_data("cifar10", tmp_path), folders / part)


def test_an_empty_folder_is_refused(tmp_path: Path):
    (tmp_path / "cifar10").mkdir()
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path / "cifar10" / "train")


def test_a_picture_of_another_size_is_refused(tmp_path: Path, folders: Path):
    path = max((folders / "train" / "truck").iterdir())
    path.write_bytes(encoded(np.zeros((31, 32, 3), np.uint8), "PNG"))
    refusal(lambda: load_data("cifar10", tmp_path), path, "32x31")


@pytest.mark.parametrize(
    ("form", "options", "word"),
    [("JPEG", {"quality": 95}, "JPEG"), ("WEBP", {"quality": 100}, "lossy WebP"), ("GIF", {}, "GIF")],
)
@pytest.mark.parametrize("suffix", [".png", None])
def test_lossy_pictures_are_refused_with_the_reason_whatever_they_are_called(
    tmp_path: Path, folders: Path, form: str, options: dict, word: str, suffix: str | None
):
    path = first(folders / "train" / "frog").with_suffix(suffix or f".{form.lower()}")
    first(folders / "train" / "frog").unlink()
    path.write_bytes(encoded(TRAIN.pixels[0], form, **options))
    sentence = refusal(lambda: load_data("cifar10", tmp_path), path, word, "--download")
    assert form == "GIF" or "one to two points" in sentence


def test_jpeg_copies_are_refused_as_a_whole(tmp_path: Path):
    write_folders(tmp_path / "cifar10", PARTS, ".jpg", quality=95)
    refusal(lambda: load_data("cifar10", tmp_path), ".jpg", "JPEG", "one to two points")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF files
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["PNG", "WEBP", "JPEG", "GIF", "TIFF", "BMP"]), data=st.data())
def test_a_damaged_picture_is_refused_or_decoded(tmp_path: Path, form: str, data: st.DataObject):
    path = tmp_path / f"picture.{form.lower()}"
    content = bytearray(encoded(TRAIN.pixels[0], form))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_picture(path).mode == "RGB"
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error) and "BytesIO" not in str(error)


# The command


def test_the_command_says_one_sentence_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    from resnet_nb.cli import main

    write_npz(tmp_path, PARTS, y_test=TEST.labels[::-1])
    monkeypatch.setattr(sys, "argv", ["resnet-nb", "data", "cifar10", "--data-root", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    assert left.value.code == 2 and printed.out == "" and printed.err.count("\n") == 1
    assert str(tmp_path / "cifar10.npz") in printed.err


def test_what_is_refused_here_is_taken_where_nothing_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_npz(tmp_path, PARTS, y_test=TEST.labels[::-1])
    monkeypatch.delitem(KNOWN_FINGERPRINTS, "cifar10")
    assert len(load_data("cifar10", tmp_path).test) == COUNTS["test"]
