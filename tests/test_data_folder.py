"""One's own images in class folders: decoded and cropped as torchvision does, refused where something is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_examples import encoded, refusal
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_nb.data import load_data
from resnet_nb.data.pictures import crop_centre, is_lossless_webp, read_picture


def picture(height: int = 12, width: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(root: Path, *names: str, height: int = 12, width: int = 9) -> Path:
    """A random picture for each of `names`, such as train/cat/1.png."""
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(height, width, seed)).save(root / name)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return put(
        tmp_path,
        "train/dog/1.png",
        "train/dog/2.jpg",
        "train/cat/1.webp",
        "train/cat/2.bmp",
        "test/cat/1.gif",
        "test/dog/1.tif",
    )


def test_class_folders_are_read_in_any_format_with_sorted_classes(root: Path):
    data = load_data("folder", root)
    assert data.classes == ("cat", "dog") and data.source == f"class folders, {root}"
    assert data.train.images.shape == (4, 3, 12, 9) and data.image_size == (12, 9) and data.channels == 3
    assert data.train.labels.tolist() == [0, 0, 1, 1] and data.test.labels.tolist() == [0, 1]
    stored = torch.from_numpy(picture(seed=0)).permute(2, 0, 1)
    assert any(torch.equal(stored, image) for image in data.train.images[2:])


def test_val_stands_for_test_where_there_is_no_test(root: Path):
    before = load_data("folder", root).fingerprint
    (root / "test").rename(root / "val")
    assert load_data("folder", root).fingerprint == before
    put(root, "test/cat/1.png", "test/dog/1.png")
    assert load_data("folder", root).fingerprint != before


def test_names_of_files_make_no_difference(root: Path):
    before = load_data("folder", root).fingerprint
    (root / "train/dog/1.png").rename(root / "train/dog/zzz.PNG")
    assert load_data("folder", root).fingerprint == before


def test_hidden_files_and_notes_are_passed_over(root: Path):
    before = load_data("folder", root).fingerprint
    (root / "train/dog/.ipynb_checkpoints").mkdir()
    (root / "train/.DS_Store").touch()
    (root / "train/dog/._1.png").touch()
    (root / "train/dog/README.txt").touch()
    assert load_data("folder", root).fingerprint == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb_as_torchvisions_loader_makes_it(tmp_path: Path, mode: str):
    from torchvision.datasets.folder import pil_loader

    path = tmp_path / ("picture.jpg" if mode in ("CMYK", "YCbCr") else "picture.png")
    Image.fromarray(picture()).convert(mode).save(path)
    assert read_picture(path).mode == "RGB"
    assert np.array_equal(np.asarray(read_picture(path)), np.asarray(pil_loader(path)))


def test_exif_rotation_is_ignored_as_torchvisions_loader_ignores_it(tmp_path: Path):
    from torchvision.datasets.folder import pil_loader

    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(picture()).save(tmp_path / "turned.jpg", exif=exif)
    ours = read_picture(tmp_path / "turned.jpg")
    assert ours.size == (9, 12) and np.array_equal(np.asarray(ours), np.asarray(pil_loader(tmp_path / "turned.jpg")))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_resized_and_cropped_as_torchvision_does(height: int, width: int, side: int):
    from torchvision.transforms import CenterCrop, Compose, Resize

    original = Image.fromarray(picture(height, width))
    expected = Compose([Resize(side), CenterCrop(side)])(original)
    assert np.array_equal(np.asarray(crop_centre(original, side)), np.asarray(expected))


def test_pictures_of_any_size_are_read_with_an_image_size(root: Path):
    put(root, "train/cat/wide.png", height=10, width=30)
    refusal(lambda: load_data("folder", root), "30x10", "9x12", "--image-size")
    assert load_data("folder", root, image_size=8).train.images.shape == (5, 3, 8, 8)


def test_parts_of_different_sizes_are_refused(root: Path):
    for name in ("test/cat/1.gif", "test/dog/1.tif"):
        Image.fromarray(picture(5, 5)).save(root / name)
    refusal(lambda: load_data("folder", root), root, "9x12", "5x5", "--image-size")


def test_an_absurd_image_size_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch):
    def exhausted(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", exhausted)
    refusal(lambda: load_data("folder", root, image_size=12), root, "memory", "--image-size")


def test_an_empty_class_is_refused(root: Path):
    (root / "train/emu").mkdir()
    refusal(lambda: load_data("folder", root), root / "train/emu", "no image")


def test_a_class_of_the_test_images_alone_is_refused(root: Path):
    put(root, "test/emu/1.png")
    refusal(lambda: load_data("folder", root), root / "test/emu")


def test_a_class_without_test_images_is_refused(root: Path):
    put(root, "train/emu/1.png")
    refusal(lambda: load_data("folder", root), root / "test/emu")


def test_no_images_and_no_classes_are_refused(tmp_path: Path):
    (tmp_path / "train").mkdir()
    refusal(lambda: load_data("folder", tmp_path), tmp_path, "test/CLASS")
    (tmp_path / "test").mkdir()
    refusal(lambda: load_data("folder", tmp_path), tmp_path / "train", "class folders")


def test_a_folder_within_a_class_is_refused_and_not_left_out(root: Path):
    put(root, "train/cat/more/1.png")
    refusal(lambda: load_data("folder", root), root / "train/cat/more")


def test_a_truncated_picture_is_named(root: Path):
    path = root / "train/dog/2.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    refusal(lambda: load_data("folder", root), path, "truncated")
    path.write_bytes(b"")
    refusal(lambda: load_data("folder", root), path)


def test_sixteen_bits_a_channel_are_refused_and_not_clipped(root: Path):
    path = root / "train/dog/deep.png"
    Image.fromarray(np.full((12, 9), 40_000, np.uint16)).save(path)
    refusal(lambda: load_data("folder", root), path, "8 bits")


def test_ones_own_images_cannot_be_fetched(tmp_path: Path):
    refusal(lambda: load_data("folder", tmp_path, download=True), "train/CLASS")


@pytest.mark.parametrize(
    ("options", "alpha", "lossless"),
    [
        ({"lossless": True}, False, True),
        ({"lossless": True}, True, True),
        ({"quality": 100}, False, False),
        ({"quality": 100}, True, False),
        ({"lossless": True, "icc_profile": b"a profile"}, False, True),
        ({"quality": 100, "icc_profile": b"a profile"}, False, False),
        ({"lossless": True, "save_all": True, "append_images": [Image.new("RGB", (9, 12))]}, False, False),
    ],
)
def test_lossless_webp_is_told_from_lossy(options: dict, alpha: bool, lossless: bool):
    image = picture()
    image = np.dstack([image, image[..., 0]]) if alpha else image
    assert is_lossless_webp(encoded(image, "WEBP", **options)) is lossless
