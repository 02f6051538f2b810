"""Published weights by name: the library's net, the sizes of the weights' own metadata, and one sentence where they cannot be had."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from data_examples import failure, refusal
from loopback import serving
from torchvision.models import Inception_V3_Weights, ResNet18_Weights, ResNet50_Weights, resnet18

from resnet_nb.data.photographs.thousand import imagenet_classes
from resnet_nb.protocols.geometry import Preprocessing
from resnet_nb.testing.pretrained import Published, published_weights, sizes_of_file

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch.hub's, and no network but this machine's own."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def state() -> dict:
    torch.manual_seed(0)
    return resnet18().state_dict()


@pytest.fixture(scope="module")
def weights(state: dict, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(state, path)
    return path.read_bytes()


@pytest.fixture
def publish() -> Iterator[object]:
    """Changes the address of torchvision's weights; they are frozen, so it is put back by hand."""
    member, before = ResNet18_Weights.IMAGENET1K_V1.value, ResNet18_Weights.IMAGENET1K_V1.url
    yield lambda url: object.__setattr__(member, "url", url)
    object.__setattr__(member, "url", before)


def named(weights: bytes) -> str:
    return f"resnet18-{hashlib.sha256(weights).hexdigest()[:8]}.pth"


def test_torchvisions_weights_are_fetched_once_and_come_with_their_sizes_and_classes(
    publish, hub: Path, state: dict, weights: bytes, capsys: pytest.CaptureFixture
):
    file = named(weights)
    with serving({file: weights}) as (url, asked):
        publish(url + file)
        for name in ("IMAGENET1K_V1", "DEFAULT"):
            found = published_weights("torchvision:resnet18", name)
    assert asked == [file] and os.listdir(hub) == [file]
    assert isinstance(found, Published) and found.weights == "IMAGENET1K_V1" and found.source == url + file
    assert not found.net.training and torch.equal(found.net.state_dict()["fc.weight"], state["fc.weight"])
    assert found.preprocessing == Preprocessing(256, 224, "bilinear", *IMAGENET)
    assert found.classes == imagenet_classes()
    assert capsys.readouterr().out == ""


def test_a_damaged_file_in_torch_hubs_folder_is_fetched_again_and_not_loaded(publish, hub: Path, weights: bytes):
    file = named(weights)
    hub.mkdir(parents=True)
    (hub / file).write_bytes(weights[:-100])
    with serving({file: weights}) as (url, _):
        publish(url + file)
        published_weights("torchvision:resnet18", "DEFAULT")
    assert (hub / file).read_bytes() == weights


def test_wrong_and_broken_transfers_of_torchvisions_are_one_sentence_and_leave_nothing(publish, hub: Path, weights: bytes):
    file = named(weights)
    for files, broken, word in (({file: weights[:-1] + b"x"}, {}, "SHA-256"), ({file: weights}, {file: 999}, "broke off after 999")):
        with serving(files, broken) as (url, _):
            publish(url + file)
            failure(lambda: published_weights("torchvision:resnet18", "DEFAULT"), word)
        assert os.listdir(hub) == []


def test_without_a_network_one_sentence_says_where_to_put_torchvisions_file(publish, hub: Path):
    publish("http://127.0.0.1:9/resnet18-f37072fd.pth")
    failure(lambda: published_weights("torchvision:resnet18", "DEFAULT"), "Connection refused", "resnet18-f37072fd.pth", hub)


def test_a_file_that_fits_no_such_net_is_one_sentence(publish, hub: Path, tmp_path: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w")
    content = (tmp_path / "w").read_bytes()
    with serving({named(content): content}) as (url, _):
        publish(url + named(content))
        failure(lambda: published_weights("torchvision:resnet18", "DEFAULT"), hub / named(content), "remove")


def test_unknown_models_and_weights_are_refused_with_those_there_are():
    refusal(lambda: published_weights("torchvision:resnet50", "IMAGENET1K_V3"), "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT")
    refusal(lambda: published_weights("torchvision:resnet51", "DEFAULT"), "resnet50")
    refusal(lambda: published_weights("timm:resnet50", "a4_in1k"), "a1_in1k")
    refusal(lambda: published_weights("timm:resnet50.a1_in1k", "a2_in1k"), "choose from a1_in1k.")
    refusal(lambda: published_weights("timm:resnet51", "DEFAULT"), "resnet50")
    for name in ("resnet50", "resnet20", "timm:", "keras:resnet50"):
        refusal(lambda name=name: published_weights(name, "DEFAULT"), "torchvision:NAME")


def test_weights_of_other_classes_or_of_none_are_refused():
    refusal(lambda: published_weights("torchvision:vgg16", "IMAGENET1K_FEATURES"), "thousand")
    refusal(lambda: published_weights("timm:convnext_base", "fb_in22k"), "21,841 classes", "thousand")


def test_weights_for_squashed_pictures_are_refused():
    refusal(lambda: published_weights("timm:coat_lite_medium_384", "in1k"), "no square crop at the centre", "other weights")


def test_timms_weights_come_through_its_own_interface_with_the_sizes_of_their_tag(
    state: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def from_hub(place: str, *arguments: object, **options: object) -> dict:
        print("fetching")
        assert place == "timm/resnet18.a1_in1k"
        return dict(state)

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", from_hub)
    monkeypatch.setattr("timm.models._builder.has_hf_hub", lambda necessary: True)
    for model, name in (("timm:resnet18", "a1_in1k"), ("timm:resnet18", "DEFAULT"), ("timm:resnet18.a1_in1k", "DEFAULT")):
        found = published_weights(model, name)
        assert (found.weights, found.source) == ("a1_in1k", "timm/resnet18.a1_in1k")
        assert found.preprocessing == Preprocessing(235, 224, "bicubic", *IMAGENET)
        assert found.classes == imagenet_classes() and not found.net.training
        assert torch.equal(found.net.state_dict()["fc.weight"], state["fc.weight"])
    assert capsys.readouterr().out == ""


def test_without_a_network_timms_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*arguments: object, **options: object) -> None:
        raise ConnectionError("cannot reach the hub\nand a page of advice")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    monkeypatch.setattr("timm.models._builder.has_hf_hub", lambda necessary: True)
    failure(lambda: published_weights("timm:resnet18", "a1_in1k"), "a1_in1k of timm:resnet18", "cannot reach the hub)", "local file")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    refusal(lambda: published_weights("timm:resnet18", "DEFAULT"), "resnet-nb[timm]")


def test_a_file_that_bears_a_published_name_has_its_weights_sizes():
    second = ResNet50_Weights.IMAGENET1K_V2
    assert sizes_of_file("torchvision:resnet50", Path("here") / Path(second.url).name) == Preprocessing(232, 224, "bilinear", *IMAGENET)
    inception = Path(Inception_V3_Weights.DEFAULT.url).name
    assert sizes_of_file("torchvision:inception_v3", inception).crop == 299
    url = timm.get_pretrained_cfg("resnet50.a1_in1k").url
    assert sizes_of_file("timm:resnet50", Path(url).name).interpolation == "bicubic"
    assert sizes_of_file("torchvision:resnet50", inception) is None and sizes_of_file("resnet20", "weights.pt") is None


def test_every_published_resnet_of_torchvision_says_its_sizes():
    for weights in (*ResNet18_Weights, *ResNet50_Weights):
        preset = weights.transforms()
        made_for = Preprocessing.of(weights)
        assert ([made_for.resize], [made_for.crop]) == (preset.resize_size, preset.crop_size)
        assert (list(made_for.mean), list(made_for.std)) == (list(preset.mean), list(preset.std))
