"""`resnet-nb features`: what a linear layer of one's own would be trained on, picture by picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_examples import CONSTANTS, MODEL, SIZES, class_folders, invoke, small_net, weights_file
from PIL import Image
from torchvision import transforms

from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.protocols import Protocol
from resnet_nb.testing.features import features
from resnet_nb.testing.own_pictures import Ready


@pytest.fixture
def words(tmp_path: Path) -> list:
    weights = weights_file(tmp_path / "w.pt", small_net())
    return ["features", MODEL, "--weights", weights, "--width", 4, "--device", "cpu", "--out", tmp_path / "f.npz", *SIZES, *CONSTANTS]


def test_the_classifier_on_the_features_gives_the_nets_own_scores(words: list, tmp_path: Path) -> None:
    folder = class_folders(tmp_path, 20) / "val"
    answer, _ = invoke(*words, folder)
    found = np.load(tmp_path / "f.npz", allow_pickle=False)
    assert answer["images"] == 20 and found["features"].dtype == np.float32 and found["classes"].tolist() == ["a", "b", "c"]
    assert [str(name)[0] for name in found["names"]] == [found["classes"][label] for label in found["labels"]]
    steps = [transforms.Resize(72), transforms.CenterCrop(64), transforms.ToTensor(), transforms.Normalize([0.45] * 3, [0.25] * 3)]
    images = torch.stack([transforms.Compose(steps)(Image.open(folder / name)) for name in found["names"]])
    net = small_net()
    with torch.no_grad():
        scores = net.fc(torch.from_numpy(found["features"]))
        torch.testing.assert_close(scores, net(images), rtol=1e-4, atol=1e-4)


def test_a_folder_of_pictures_has_no_labels_and_what_cannot_be_read_is_left_out(words: list, tmp_path: Path) -> None:
    folder = class_folders(tmp_path, 9) / "val" / "a"
    (folder / "broken.png").write_bytes(b"")
    answer, errors = invoke(*words, folder)
    found = np.load(tmp_path / "f.npz", allow_pickle=False)
    assert found["names"].tolist() == ["000.png", "003.png", "006.png"] and set(found["labels"]) == {-1} and len(found["classes"]) == 0
    assert len(answer["unreadable"]) == 1 and "broken.png" in errors


def test_bad_input_is_one_sentence(words: list, tmp_path: Path) -> None:
    folder = class_folders(tmp_path, 3) / "val"
    with pytest.raises(InputError, match="end in .npz"):
        invoke(*words, folder, "--out", tmp_path / "f.csv")
    with pytest.raises(InputError, match="There is no folder"):
        invoke(*words, tmp_path / "absent")
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="None of the 3 pictures can be read"):
        invoke(*words, folder)
    assert not (tmp_path / "f.npz").exists()


def test_a_mean_per_pixel_serves_crops_of_another_size_by_its_channels(tmp_path: Path) -> None:
    per_pixel = Normalisation(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.ones(3, 1, 1))
    assert per_pixel.for_size(32, 32) is per_pixel and per_pixel.for_size(24, 24).mean.shape == (3, 1, 1)
    net = small_net("plain8", classes=3)
    ready = Ready("plain8", "w.pt", net, per_pixel, ("a", "b", "c"), (Protocol("1-crop", 40, 24, mirror=False),))
    folder = class_folders(tmp_path, 3) / "val"
    assert features(ready, folder, tmp_path / "f.npz", device="cpu")["images"] == 3
