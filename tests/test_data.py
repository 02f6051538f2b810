"""Data sets: one order and one fingerprint for every form, splits that partition, and what is where."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from data_examples import pack, publish, refusal, small_cifar10, write_archive, write_folders, write_npz
from hypothesis import given
from hypothesis import strategies as st

from resnet_nb.data import KNOWN_FINGERPRINTS, Data, Found, available, describe, find, load_data
from resnet_nb.data.canonical import canonical_order, fingerprint
from resnet_nb.data.cifar import CIFAR10, CIFARS
from resnet_nb.data.draws import SPLIT, words
from resnet_nb.data.sets import Part
from resnet_nb.data.splits import part_sizes, split_training

PARTS = small_cifar10()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    publish(monkeypatch, PARTS)
    monkeypatch.delenv("RESNET_NB_DATA", raising=False)
    return monkeypatch


def shuffled(part: Part, seed: int) -> Part:
    return part.take(np.random.default_rng(seed).permutation(len(part)))


def same(one: Data, other: Data) -> bool:
    pairs = [(one.train, other.train), (one.validation, other.validation), (one.test, other.test)]
    return one.fingerprint == other.fingerprint and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in pairs
    )


# One data set, many forms


def test_every_form_gives_the_same_images_splits_and_fingerprint(tmp_path: Path, small: pytest.MonkeyPatch):
    parts = {name: shuffled(part, 1) for name, part in PARTS.items()}
    write_npz(tmp_path / "npz", PARTS)
    write_folders(tmp_path / "png" / "cifar10", parts)
    write_folders(tmp_path / "webp" / "cifar10", PARTS, ".webp", lossless=True, exact=True)
    official = write_archive(tmp_path / "archive", parts)
    packed = pack(tmp_path / "packed", write_archive(tmp_path / "packed", parts))
    publish(small, PARTS, type("Both", (official,), {"tgz_md5": packed.tgz_md5}))
    loaded = {
        form: load_data("cifar10", tmp_path / form, split="30/10")
        for form in ("npz", "png", "webp", "archive", "packed")
    }
    assert all(same(data, loaded["npz"]) for data in loaded.values())
    assert [loaded[form].source.split(",")[0] for form in ("npz", "png", "archive")] == [
        "npz file", "class folders", "official archive",
    ]  # fmt: skip


def test_class_folders_read_as_folder_are_the_same_data_set(tmp_path: Path, small: pytest.MonkeyPatch):
    write_folders(tmp_path / "cifar10", PARTS)
    assert load_data("folder", tmp_path / "cifar10").fingerprint == load_data("cifar10", tmp_path).fingerprint


@given(st.integers(0, 2**32 - 1))
def test_any_order_of_the_files_gives_the_same_data_set(seed: int):
    train = PARTS["train"]
    other = shuffled(train, seed)
    one, two = train.take(canonical_order(train)), other.take(canonical_order(other))
    assert np.array_equal(one.pixels, two.pixels) and np.array_equal(one.labels, two.labels)


def test_canonical_order_is_label_then_sha256_of_the_pixels():
    train = PARTS["train"]
    keys = [
        (label, hashlib.sha256(image.tobytes()).hexdigest())
        for image, label in zip(train.pixels, train.labels, strict=True)
    ]
    assert canonical_order(train).tolist() == sorted(range(len(train)), key=keys.__getitem__)


def test_fingerprint_can_be_recomputed_from_its_description(tmp_path: Path, small: pytest.MonkeyPatch):
    write_npz(tmp_path, PARTS)
    data = load_data("cifar10", tmp_path)
    content = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n"
    for name, part in (("train", data.train), ("test", data.test)):
        content += f"{name} {len(part)},32,32,3\n".encode()
        content += b"".join(label.to_bytes(2, "little") for label in part.labels.tolist())
        content += b"".join(image.permute(1, 2, 0).numpy().tobytes() for image in part.images)
    assert data.fingerprint == "sha256:" + hashlib.sha256(content).hexdigest()


def test_fingerprint_tells_a_pixel_a_label_a_class_and_a_part_apart():
    def identity(classes: tuple[str, ...] = CIFAR10.classes, **changed: Part) -> str:
        return fingerprint(classes, PARTS | changed)

    train, test = PARTS["train"], PARTS["test"]
    pixels, labels = train.pixels.copy(), train.labels.copy()
    pixels[7, 3, 2, 1] ^= 1
    labels[7] = (labels[7] + 1) % 10
    moved = {
        "train": train.take(np.arange(39)),
        "test": Part(np.concatenate([test.pixels, train.pixels[39:]]), np.append(test.labels, 1)),
    }
    identities = [
        identity(), identity(train=Part(pixels, train.labels)), identity(train=Part(train.pixels, labels)),
        identity((*CIFAR10.classes[:9], "lorry")), identity(**moved), identity(train=test, test=train),
    ]  # fmt: skip
    assert len(set(identities)) == len(identities)


def test_loading_leaves_the_global_generators_alone(tmp_path: Path, small: pytest.MonkeyPatch):
    write_npz(tmp_path, PARTS)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load_data("cifar10", tmp_path, split="30/10")
    load_data("digits", split="1200/200")
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])


# Splits


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_split_partitions_the_training_images_and_keeps_their_order(kept: int, held: int):
    numbers = np.arange(kept + held)
    train = Part(numbers, numbers)
    first, second, name = split_training(train, f"{kept}/{held}")
    assert (len(first), len(second), name) == (kept, held, f"{kept}/{held}")
    assert sorted([*first.labels, *second.labels]) == numbers.tolist()
    assert all(
        (np.diff(part.labels) > 0).all() and np.array_equal(part.pixels, part.labels) for part in (first, second)
    )


def test_a_split_is_the_one_that_is_stated():
    first, second, _ = split_training(Part(np.arange(40), np.arange(40)), "30/10")
    drawn = sorted(range(40), key=words(0, SPLIT, 1, 40).tolist().__getitem__)
    assert first.labels.tolist() == sorted(drawn[:30]) and second.labels.tolist() == sorted(drawn[30:])


def test_thousands_may_be_written_with_a_k():
    assert part_sizes("45k/5k", 50_000) == part_sizes("45000/5000", 50_000) == (45_000, 5_000)
    assert part_sizes("all", 50_000) is None and part_sizes(None, 50_000) is None


@pytest.mark.parametrize(
    "split", ["45k", "45k/4k", "50k/0", "0/50k", "a/b", "45k/5k/0", "-1/50001", "", "45.5k/4.5k", "９/１"]
)
def test_a_split_that_does_not_add_up_is_refused(split: str):
    refusal(lambda: part_sizes(split, 50_000), "--split", split)


# Digits


def test_digits_are_those_that_are_stated():
    from sklearn.datasets import load_digits

    data = load_data("digits")
    assert data.fingerprint == KNOWN_FINGERPRINTS["digits"]
    assert (len(data.train), len(data.test), data.channels, data.image_size) == (1400, 397, 1, (16, 16))
    assert (
        data.classes == tuple("0123456789")
        and data.train.images.dtype == torch.uint8
        and data.train.labels.dtype == torch.int64
    )
    bunch = load_digits()
    drawn = sorted(range(1797), key=words(0, SPLIT, 0, 1797).tolist().__getitem__)
    for part, places in ((data.train, drawn[:1400]), (data.test, drawn[1400:])):
        expected = {(bunch.images[i].astype(int).tobytes(), int(bunch.target[i])) for i in places}
        small = (part.images[:, 0, ::2, ::2].double() * 16 / 255).round().long().numpy()
        assert {(image.tobytes(), label) for image, label in zip(small, part.labels.tolist(), strict=True)} == expected


def test_digits_have_each_pixel_twice_in_both_directions_and_the_full_range():
    images = load_data("digits").train.images
    assert all(torch.equal(images[:, :, i::2, j::2], images[:, :, ::2, ::2]) for i in (0, 1) for j in (0, 1))
    assert sorted(images.unique().tolist()) == [round(v * 255 / 16) for v in range(17)]


def test_digits_that_differ_from_the_known_ones_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(KNOWN_FINGERPRINTS, "digits", "sha256:" + "0" * 64)
    refusal(lambda: load_data("digits"), "scikit-learn")


# Where data lies


def test_the_first_form_in_the_stated_order_is_taken(tmp_path: Path, small: pytest.MonkeyPatch):
    expected = []
    write_folders(tmp_path / "cifar10", PARTS)
    expected.append(Found("class folders", tmp_path / "cifar10"))
    found = [find("cifar10", tmp_path)]
    expected.append(Found("npz file", write_npz(tmp_path, PARTS)))
    found.append(find("cifar10", tmp_path))
    (tmp_path / "cifar-10-python.tar.gz").touch()
    expected.append(Found("official archive, packed", tmp_path / "cifar-10-python.tar.gz"))
    found.append(find("cifar10", tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    expected.append(Found("official archive", tmp_path / "cifar-10-batches-py"))
    found.append(find("cifar10", tmp_path))
    assert found == expected


def test_a_root_may_be_the_data_set_itself(tmp_path: Path, small: pytest.MonkeyPatch):
    folders = write_folders(tmp_path / "pictures", PARTS)
    npz = write_npz(tmp_path, PARTS).rename(tmp_path / "mine.npz")
    official = write_archive(tmp_path, PARTS)
    publish(small, PARTS, official)
    batches = (tmp_path / official.base_folder).rename(tmp_path / "batches")
    assert len({load_data("cifar10", root).fingerprint for root in (folders, npz, batches)}) == 1


def test_the_variable_says_where_data_lies_and_the_argument_comes_first(tmp_path: Path, small: pytest.MonkeyPatch):
    write_npz(tmp_path, PARTS)
    small.setenv("RESNET_NB_DATA", str(tmp_path))
    assert load_data("cifar10").source == f"npz file, {tmp_path / 'cifar10.npz'}"
    refusal(lambda: load_data("cifar10", tmp_path / "elsewhere"), tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["cifar-10", "CIFAR10", "cifar", "digit", "folders", "mnist", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str):
    refusal(lambda: load_data(name), repr(name), "digits, cifar10, cifar100, folder")


def test_a_name_that_is_nearly_right_is_suggested():
    refusal(lambda: find("CIFAR-10"), "did you mean cifar10")


def test_without_a_root_the_option_and_the_variable_are_named(small: pytest.MonkeyPatch):
    for empty in (None, ""):
        refusal(lambda empty=empty: load_data("cifar10", empty), "--data-root", "RESNET_NB_DATA")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "folder"])
def test_absent_data_are_refused_with_the_remedy(name: str, tmp_path: Path):
    refusal(lambda: load_data(name, tmp_path / "absent"), "no folder", tmp_path / "absent")
    remedy = "train/CLASS" if name == "folder" else "--download"
    refusal(lambda: load_data(name, tmp_path), f"{name} is not in {tmp_path}", remedy)


@pytest.mark.parametrize(("name", "size"), [("digits", 32), ("cifar10", 32), ("folder", 0), ("folder", -1)])
def test_an_image_size_is_a_positive_number_and_for_folders_alone(name: str, size: int):
    refusal(lambda: load_data(name, image_size=size), f"--image-size {size}")


def test_available_names_each_data_set_with_its_place_or_its_remedy(tmp_path: Path, small: pytest.MonkeyPatch):
    (tmp_path / "cifar10.npz").write_bytes(b"not read at all")
    rows = {row["name"]: row for row in available(tmp_path)}
    assert list(rows) == ["digits", "cifar10", "cifar100", "folder"]
    assert rows["digits"]["found"] and rows["cifar10"]["found"] == str(tmp_path / "cifar10.npz")
    assert rows["cifar10"]["form"] == "npz file" and rows["cifar10"]["remedy"] is None
    assert rows["cifar100"]["found"] is None and "cifar100.npz" in rows["cifar100"]["remedy"]
    assert [row["found"] is None for row in available()] == [False, True, True, True]
    assert "RESNET_NB_DATA" in available()[1]["remedy"]


def test_a_root_that_may_not_be_read_is_named(tmp_path: Path, small: pytest.MonkeyPatch):
    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    small.setattr(Path, "is_dir", refuse)
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path, "Permission denied")
    assert "Permission denied" in available(tmp_path)[1]["remedy"]


def test_described_data_are_ready_for_json():
    import json

    described = describe(load_data("digits", split="1200/200"))
    assert json.loads(json.dumps(described)) == described
    assert (described["train_images"], described["validation_images"], described["test_images"]) == (1200, 200, 397)
    assert described["source"] == "embedded in scikit-learn" and described["image"] == "1 x 16 x 16"


def test_data_move_to_a_device_whole():
    moved = load_data("digits", split="1200/200").to("meta")
    assert {part.images.device.type for part in (moved.train, moved.validation, moved.test)} == {"meta"}
    assert moved.train.labels.device.type == "meta" and moved.split == "1200/200"
    refusal(lambda: load_data("digits", device="gpu"), "gpu")


def test_published_names_agree_with_torchvisions():
    for dataset in CIFARS.values():
        official = dataset.official()
        assert (official.base_folder, official.filename) == (dataset.batches, dataset.archive)
        assert dataset.first_batch in dict(official.train_list) and dataset.images == {"train": 50_000, "test": 10_000}
    assert [len(dataset.classes) for dataset in CIFARS.values()] == [10, 100]
    assert all(list(dataset.classes) == sorted(set(dataset.classes)) for dataset in CIFARS.values())


# The real one


def test_the_real_cifar10_has_the_known_fingerprint_and_splits_evenly_enough(cifar10_root: Path):
    data = load_data("cifar10", cifar10_root, split="45k/5k")
    assert data.fingerprint == KNOWN_FINGERPRINTS["cifar10"]
    assert (len(data.train), len(data.validation), len(data.test)) == (45_000, 5_000, 10_000)
    assert data.train.labels.bincount().add(data.validation.labels.bincount()).tolist() == [5_000] * 10
    assert data.validation.labels.bincount().min() > 400  # 500 each, give or take five standard deviations
