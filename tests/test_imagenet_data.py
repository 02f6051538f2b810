"""ImageNet, ImageNetV2, Imagenette and one's own class folders: every layout gives the right labels, and a wrong one is said to be wrong."""

import hashlib
import json
import random
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from data_examples import encoded, refusal
from scipy.io import savemat
from timm.data import ImageNetInfo
from typer.testing import CliRunner

from resnet_nb.cli import app
from resnet_nb.data.photographs import imagenet as collections
from resnet_nb.data.photographs.imagenet import IMAGENETTE, describe_photographs, find_photographs, photographs
from resnet_nb.data.photographs.photographs import fingerprint
from resnet_nb.data.photographs.thousand import WNIDS, imagenet_classes

WNID_LIST = ImageNetInfo("imagenet-1k").label_names()
PICTURE = encoded(np.zeros((8, 8, 3), np.uint8), "JPEG")
TRUE = np.random.default_rng(0).permutation(np.arange(50_000) % 1000)  # the label of image 1, 2, ...
FILES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 1001)]


def put(folder: Path, *names: str) -> Path:
    """A picture of 8x8 pixels for each of `names`, which differ in size."""
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PICTURE + bytes(place % 7))
    return folder


def flat(folder: Path) -> Path:
    return put(folder, *FILES)


def in_classes(folder: Path) -> Path:
    """The same files as in `flat`, in class folders, every class with one image or more."""
    for wnid in WNID_LIST:
        (folder / wnid).mkdir(parents=True)
    flat(folder)
    for name, label in zip(FILES, TRUE, strict=False):
        (folder / name).rename(folder / WNID_LIST[label] / name)
    return folder


def devkit(root: Path, seed: int = 0) -> Path:
    """ILSVRC2012_devkit_t12 as it is published: its numbers are in an order of their own, and groups of classes come after the thousand."""
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    wnids = random.Random(seed).sample(WNID_LIST, 1000)
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object), ("num_children", object)]
    rows = [(float(number), wnid, "a, b", "a gloss", 0.0) for number, wnid in enumerate(wnids, 1)]
    rows += [(1001.0, "n00001740", "entity", "that which is", 2.0)]
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=fields).reshape(-1, 1)})
    number = {wnid: number for number, wnid in enumerate(wnids, 1)}
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number[WNID_LIST[label]]}\n" for label in TRUE))
    return data


def solution(root: Path) -> Path:
    """Kaggle's table, its rows in no order."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [f"ILSVRC2012_val_{number:08d},{WNID_LIST[label]} 1 2 3 4 {WNID_LIST[label]} 5 6 7 8 \n" for number, label in enumerate(TRUE, 1)]
    random.Random(1).shuffle(rows)
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(rows))
    return root / "LOC_val_solution.csv"


@pytest.fixture(scope="module", autouse=True)
def one_class_at_least() -> None:
    """The first thousand images have every class once, so that a thousand files make a thousand folders."""
    TRUE[:1000] = np.random.default_rng(1).permutation(1000)


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.data", None)


def test_the_hash_of_the_thousand_is_that_of_timms_list_and_the_names_are_torchvisions():
    assert hashlib.sha256("".join(f"{wnid}\n" for wnid in WNID_LIST).encode()).hexdigest() == WNIDS
    names = imagenet_classes()
    assert len(names) == 1000 and (names[0], names[217], names[999]) == ("tench", "English springer", "toilet tissue")


def test_every_layout_gives_the_same_images_labels_and_fingerprint(tmp_path: Path, without_timm: None):
    in_classes(tmp_path / "folders" / "val")
    flat(tmp_path / "kit" / "val")
    devkit(tmp_path / "kit")
    flat(tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC" / "val")
    solution(tmp_path / "kaggle")
    found = [photographs("imagenet", tmp_path / name) for name in ("folders", "kit", "kaggle")]
    for one in found:
        assert one.names == tuple(FILES) and one.labels.dtype == np.int64
        assert one.labels.tolist() == TRUE[:1000].tolist()
        assert [path.name for path in one.paths] == FILES and all(path.is_file() for path in one.paths)
        assert one.classes == imagenet_classes() and one.name == "imagenet"
    assert len({one.fingerprint for one in found}) == 1
    assert "class folders" in found[0].source and "ground_truth" in found[1].source and "LOC_val" in found[2].source


def test_the_devkits_numbers_lead_to_the_labels_that_torchvision_reads_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch
    from torchvision.datasets import imagenet as theirs

    flat(tmp_path / "val")
    devkit(tmp_path)
    archive = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(theirs.ARCHIVE_META, "devkit", (archive.name, md5))
    theirs.parse_devkit_archive(tmp_path)
    wnid_to_classes, wnids = torch.load(tmp_path / "meta.bin", weights_only=True)
    index = {wnid: label for label, wnid in enumerate(sorted(wnid_to_classes))}
    assert photographs("imagenet", tmp_path).labels.tolist() == [index[wnid] for wnid in wnids[:1000]]


@pytest.mark.parametrize("place", ["val", "imagenet/val", "ILSVRC2012_img_val", ".", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val"])
def test_the_validation_images_are_found_under_their_usual_names(tmp_path: Path, place: str):
    put(tmp_path / place, f"{WNID_LIST[3]}/ILSVRC2012_val_00000001.JPEG")
    found = photographs("imagenet", tmp_path)
    assert found.labels.tolist() == [3]
    assert find_photographs("imagenet", tmp_path).path == tmp_path / place


def test_the_root_may_be_the_flat_folder_itself_and_the_labels_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flat(tmp_path / "deep" / "images")
    devkit(tmp_path)
    monkeypatch.chdir(tmp_path / "deep")
    assert photographs("imagenet", "images").labels.tolist() == TRUE[:1000].tolist()


def test_missing_images_are_said_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    in_classes(tmp_path)
    monkeypatch.setattr(collections, "VALIDATION_IMAGES", 1000)
    assert photographs("imagenet", tmp_path).notes == ()
    (tmp_path / WNID_LIST[TRUE[0]] / FILES[0]).rename(tmp_path / WNID_LIST[TRUE[1]] / FILES[0])
    (tmp_path / WNID_LIST[TRUE[0]] / "more.JPEG").write_bytes(PICTURE)
    (note,) = photographs("imagenet", tmp_path).notes
    assert "1,001 images, not the 1,000" in note


def test_an_image_in_the_wrong_class_is_noticed_by_the_classes_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, *(f"{label}/{place}.jpeg" for label in range(1000) for place in "ab"))
    monkeypatch.setattr(collections, "MATCHED_IMAGES", 2000)
    assert photographs("imagenetv2", tmp_path).notes == ()
    (tmp_path / "5" / "a.jpeg").rename(tmp_path / "7" / "c.jpeg")
    (note,) = photographs("imagenetv2", tmp_path).notes
    assert "Class 5 (electric ray) has 1 images, not 2" in note


def test_the_real_count_is_fifty_thousand(tmp_path: Path):
    flat(tmp_path)
    solution(tmp_path)
    (note,) = photographs("imagenet", tmp_path).notes
    assert "1,000 images, not the 50,000" in note


def test_some_of_the_thousand_are_mapped_with_timm_and_refused_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "val", f"{WNID_LIST[7]}/a.JPEG", f"{WNID_LIST[400]}/b.JPEG")
    assert photographs("imagenet", tmp_path).labels.tolist() == [7, 400]
    monkeypatch.setitem(sys.modules, "timm.data", None)
    refusal(lambda: photographs("imagenet", tmp_path), tmp_path / "val", "2 classes", "resnet-nb[timm]")


def test_a_thousand_folders_of_another_thousand_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    in_classes(tmp_path)
    (tmp_path / WNID_LIST[500]).rename(tmp_path / "n00000001")
    refusal(lambda: photographs("imagenet", tmp_path), "n00000001")
    monkeypatch.setitem(sys.modules, "timm.data", None)
    refusal(lambda: photographs("imagenet", tmp_path), "1000 classes", "not the thousand")


def test_one_image_in_two_classes_is_refused(tmp_path: Path):
    put(tmp_path, f"{WNID_LIST[0]}/{FILES[0]}", f"{WNID_LIST[1]}/{FILES[0]}")
    refusal(lambda: photographs("imagenet", tmp_path), FILES[0], "another class folder")


def test_a_sorting_that_was_broken_off_is_refused(tmp_path: Path):
    put(tmp_path / "val", f"{WNID_LIST[0]}/{FILES[0]}", FILES[1], FILES[2])
    refusal(lambda: photographs("imagenet", tmp_path), tmp_path / "val", "1 class folders and 2 images outside")


def test_a_flat_folder_without_labels_is_refused_with_the_remedy(tmp_path: Path):
    flat(tmp_path / "a" / "b" / "c" / "d" / "e")
    refusal(lambda: photographs("imagenet", tmp_path / "a" / "b" / "c" / "d" / "e"), "devkit_t12", "LOC_val_solution.csv")


def test_packed_images_and_absent_ones_are_refused_with_the_remedy(tmp_path: Path):
    refusal(lambda: photographs("imagenet", tmp_path), tmp_path, "val/nXXXXXXXX/")
    (tmp_path / "ILSVRC2012_img_val.tar").touch()
    refusal(lambda: photographs("imagenet", tmp_path), "ILSVRC2012_img_val.tar", "packed")
    refusal(lambda: photographs("imagenet", tmp_path / "absent"), tmp_path / "absent", "--data-root")


@pytest.mark.parametrize("damage", ["short", "word", "zero", "no meta", "damaged meta", "another meta"])
def test_a_damaged_devkit_is_named(tmp_path: Path, damage: str):
    flat(tmp_path / "val")
    data = devkit(tmp_path)
    truth, meta = data / "ILSVRC2012_validation_ground_truth.txt", data / "meta.mat"
    lines = truth.read_text().splitlines()
    changes = {"short": lines[:-1], "word": ["n01440764", *lines[1:]], "zero": ["0", *lines[1:]]}
    truth.write_text("\n".join(changes.get(damage, lines)))
    if damage == "no meta":
        meta.unlink()
    if damage == "damaged meta":
        meta.write_bytes(meta.read_bytes()[:300])
    if damage == "another meta":
        fields = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "num_children")]
        savemat(meta, {"synsets": np.array([(1.0, WNID_LIST[0], 0.0)], dtype=fields)})
    refusal(lambda: photographs("imagenet", tmp_path), meta if "meta" in damage else truth, "devkit")


@pytest.mark.parametrize("row", ["ILSVRC2012_val_00000001,", "ILSVRC2012_val_1,n01440764 1 2 3 4", "ILSVRC2012_val_00000001"])
def test_a_damaged_table_is_named(tmp_path: Path, row: str):
    flat(tmp_path / "val")
    table = solution(tmp_path)
    table.write_text(table.read_text() + row + "\n")
    refusal(lambda: photographs("imagenet", tmp_path), table, "damaged")


def test_an_image_that_the_table_leaves_out_is_named(tmp_path: Path):
    flat(tmp_path / "val")
    table = solution(tmp_path)
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if FILES[8][:-5] not in line))
    refusal(lambda: photographs("imagenet", tmp_path), FILES[8], table)


def test_imagenetv2s_folders_sort_as_numbers(tmp_path: Path):
    place = put(tmp_path / "imagenetv2-matched-frequency-format-val", *(f"{label}/{label % 3}.jpeg" for label in range(1000)))
    found = photographs("imagenetv2", tmp_path)
    assert found.labels.tolist() == list(range(1000))
    assert [int(path.parent.name) for path in found.paths] == list(range(1000))
    assert found.names[10] == "10/1.jpeg" and found.classes == imagenet_classes()
    assert photographs("imagenetv2", place).fingerprint == found.fingerprint
    assert "1,000 images, not the 10,000" in found.notes[0] and "matched-frequency" in found.source


def test_imagenetv2s_labels_are_the_folders_numbers_where_some_are_missing(tmp_path: Path):
    put(tmp_path, "10/a.jpeg", "2/a.jpeg", "999/a.jpeg")
    assert photographs("imagenetv2", tmp_path).labels.tolist() == [2, 10, 999]


@pytest.mark.parametrize("name", ["1000", "n01440764", "02"])
def test_what_is_no_class_of_imagenetv2_is_refused(tmp_path: Path, name: str):
    put(tmp_path, "2/a.jpeg", f"{name}/a.jpeg")
    refusal(lambda: photographs("imagenetv2", tmp_path), tmp_path, "0 to 999")


def test_another_variant_of_imagenetv2_is_said_to_be_one(tmp_path: Path):
    place = put(tmp_path / "imagenetv2-top-images-format-val", "2/a.jpeg")
    found = photographs("imagenetv2", place)
    assert "top-images" in found.notes[0] and "matched-frequency" not in found.source


def test_absent_imagenetv2_is_refused_with_the_remedy(tmp_path: Path):
    refusal(lambda: photographs("imagenetv2", tmp_path), tmp_path, "imagenetv2-matched-frequency.tar.gz")


@pytest.mark.parametrize("size", ["imagenette2", "imagenette2-320", "imagenette2-160", "."])
def test_imagenettes_labels_are_those_of_the_thousand(tmp_path: Path, size: str):
    assert {wnid: WNID_LIST.index(wnid) for wnid in IMAGENETTE} == IMAGENETTE
    for part in ("train", "val"):
        put(tmp_path / size / part, *(f"{wnid}/{wnid}_{part}.JPEG" for wnid in IMAGENETTE))
    found = photographs("imagenette", tmp_path)
    assert found.labels.tolist() == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]
    assert found.classes[found.labels[1]] == "English springer" and all("val.JPEG" in name for name in found.names)
    assert all("train.JPEG" in name for name in photographs("imagenette", tmp_path, "train").names)
    assert "tests no pretrained net" in found.source and "3,925" in found.notes[0]


def test_imagenette_of_another_kind_is_refused(tmp_path: Path):
    refusal(lambda: photographs("imagenette", tmp_path), "imagenette2-320.tgz")
    put(tmp_path / "imagenette2" / "val", "n01440764/a.JPEG", "n02086240/a.JPEG")
    refusal(lambda: photographs("imagenette", tmp_path), "n02086240")


def test_ones_own_folders_take_test_then_val_then_the_folder_itself(tmp_path: Path):
    put(tmp_path, "cat/1.png", "dog/1.png", "dog/2.png")
    assert photographs("folder", tmp_path).names == ("cat/1.png", "dog/1.png", "dog/2.png")
    for part in ("val", "test"):
        put(tmp_path, f"{part}/cat/{part}.png")
        assert photographs("folder", tmp_path).names == (f"cat/{part}.png",)


def test_labels_of_ones_own_photographs_count_the_training_classes(tmp_path: Path):
    put(tmp_path, "train/ant/1.png", "train/cat/1.png", "train/dog/1.png", "test/dog/1.png", "test/cat/1.png")
    found = photographs("folder", tmp_path)
    assert found.classes == ("ant", "cat", "dog") and found.labels.tolist() == [1, 2]
    assert photographs("folder", tmp_path, "train").labels.tolist() == [0, 1, 2]
    put(tmp_path, "test/emu/1.png")
    refusal(lambda: photographs("folder", tmp_path), tmp_path / "test" / "emu", "no class of the training images")


def test_numbers_that_sort_as_text_are_noted(tmp_path: Path):
    put(tmp_path, "0/1.png", "10/1.png", "2/1.png")
    assert "class 2 has label 2" in photographs("folder", tmp_path).notes[0]
    put(tmp_path, "test/0/1.png", "test/1/1.png")
    assert photographs("folder", tmp_path).notes == ()


@pytest.mark.parametrize("place", ("train", "imagenet/train", "ILSVRC/Data/CLS-LOC/train"))
def test_imagenets_training_images_have_the_labels_of_their_folders(tmp_path: Path, place: str):
    for number, wnid in enumerate(WNID_LIST):
        put(tmp_path / place, f"{wnid}/{wnid}_{number % 7}.JPEG", *([f"{wnid}/{wnid}_99.JPEG"] if number < 2 else []))
    found = photographs("imagenet", tmp_path, "train")
    assert found.labels.tolist() == [0, 0, 1, 1, *range(2, 1000)] and found.names[1] == f"{WNID_LIST[0]}_99.JPEG"
    assert "1,002 images, not the 1,281,167 of ImageNet's training set" in found.notes[0] and "training images" in found.source


def test_parts_that_are_not_there_are_refused(tmp_path: Path):
    for name, part in (("imagenet", "validation"), ("imagenetv2", "train"), ("imagenetv2", "validation")):
        refusal(lambda name=name, part=part: photographs(name, tmp_path, part), f"--on {part}", name)
    refusal(lambda: photographs("imagenet", tmp_path, "train"), "ILSVRC2012_img_train.tar", "train/nXXXXXXXX")
    for name in ("imagenette", "folder"):
        refusal(lambda name=name: photographs(name, tmp_path, "validation"), "--on validation")
    refusal(lambda: photographs("folder", tmp_path, "train"), "train/CLASS")
    refusal(lambda: photographs("imagenet2", tmp_path), "imagenetv2")


def test_a_class_without_images_and_a_folder_in_a_class_are_refused(tmp_path: Path):
    (tmp_path / "val" / WNID_LIST[0] / "more").mkdir(parents=True)
    refusal(lambda: photographs("imagenet", tmp_path), "more")
    (tmp_path / "val" / WNID_LIST[0] / "more").rmdir()
    refusal(lambda: photographs("imagenet", tmp_path), WNID_LIST[0], "no image")


def test_the_fingerprint_tells_names_labels_and_sizes_apart_and_not_where_the_images_lie(tmp_path: Path):
    first, moved = put(tmp_path / "a", "2/x.jpeg", "3/y.jpeg"), put(tmp_path / "b", "2/x.jpeg", "3/y.jpeg")
    before = photographs("imagenetv2", first).fingerprint
    assert photographs("imagenetv2", moved).fingerprint == before
    assert before == "sha256:" + hashlib.sha256(f"2/x.jpeg\t2\t{len(PICTURE)}\n3/y.jpeg\t3\t{len(PICTURE) + 1}\n".encode()).hexdigest()
    others = [fingerprint(names, labels, sizes) for names, labels, sizes in ((["b"], [1], [1]), (["a"], [2], [1]), (["a"], [1], [2]))]
    assert len({*others, fingerprint(["a"], [1], [1])}) == 4
    (moved / "3" / "y.jpeg").write_bytes(PICTURE[:-9])
    assert photographs("imagenetv2", moved).fingerprint != before


def test_a_link_to_nowhere_is_named_and_the_description_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path, "2/x.jpeg")
    monkeypatch.setenv("RESNET_NB_DATA", str(tmp_path))
    said = describe_photographs(photographs("imagenetv2"))
    assert said["images"] == 1 and said["class_names"] == "great white shark" and "10,000" in said["notes"]
    (tmp_path / "2" / "y.jpeg").symlink_to(tmp_path / "nowhere.jpeg")
    refusal(lambda: photographs("imagenetv2"), "y.jpeg")


def test_the_data_command_knows_the_collections(tmp_path: Path):
    put(tmp_path / "imagenette2" / "val", "n01440764/a.JPEG", "n02102040/a.JPEG")
    rows = {row["name"]: row for row in collections.available_photographs(tmp_path)}
    assert rows["imagenette"]["found"].endswith("imagenette2/val") and "imagenetv2-matched-frequency" in rows["imagenetv2"]["remedy"]
    assert CliRunner().invoke(app, ["data", "--data-root", str(tmp_path)]).output.count("name: imagenet") == 3
    told = CliRunner().invoke(app, ["data", "imagenette", "--data-root", str(tmp_path), "--json"]).stdout
    assert json.loads(told)["images"] == 2 and collections.TESTS_NOTHING in json.loads(told)["source"]
    refusal(lambda: CliRunner().invoke(app, ["data", "imagenetv2", "--split", "45k/5k"], catch_exceptions=False), "leave --split")
