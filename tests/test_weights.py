"""Weights load from this package's files and from the published CIFAR ResNet layout, or are refused with what does not fit."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resnet_nb.errors import InputError
from resnet_nb.models import build_model, load_weights, read_weights


def published(state: dict[str, Tensor], *, module: bool, linear: bool) -> dict[str, Tensor]:
    """A state dict as the published checkpoints name it; older files have no batch counters."""
    names = {name: name.replace("fc.", "linear.") if linear else name for name in state if "num_batches" not in name}
    return {("module." if module else "") + theirs: state[ours] for ours, theirs in names.items()}


@pytest.mark.parametrize("module", (True, False))
@pytest.mark.parametrize("linear", (True, False))
@pytest.mark.parametrize("nested", (True, False))
def test_the_published_layout_loads(module: bool, linear: bool, nested: bool, tmp_path: Path) -> None:
    source, target = build_model("resnet20", seed=1), build_model("resnet20", seed=2)
    state = published(source.state_dict(), module=module, linear=linear)
    torch.save({"state_dict": state, "best_prec1": 91.7} if nested else state, tmp_path / "w.th")
    load_weights(target, read_weights(tmp_path / "w.th"))
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(target.eval()(image), source.eval()(image))


def test_projections_load_under_their_published_name(tmp_path: Path) -> None:
    source, target = build_model("resnet20-B", seed=1), build_model("resnet20-B", seed=2)
    torch.save({name.replace("downsample", "shortcut"): tensor for name, tensor in source.state_dict().items()}, tmp_path / "w.pt")
    load_weights(target, read_weights(tmp_path / "w.pt"))
    assert torch.equal(target.layer2[0].downsample[0].weight, source.layer2[0].downsample[0].weight)


def test_weights_that_do_not_fit_are_refused_with_the_list_and_nothing_changes() -> None:
    net, other = build_model("resnet20"), build_model("resnet26", width=8).state_dict()
    before = net.conv1.weight.clone()
    with pytest.raises(InputError, match="w.pt do not fit the model") as caught:
        load_weights(net, other, "w.pt")
    assert "layer1.3.conv1.weight is not in the model" in str(caught.value) and "more." in str(caught.value)
    assert torch.equal(net.conv1.weight, before)
    other = build_model("resnet8").state_dict()
    del other["fc.bias"]
    with pytest.raises(InputError, match="fc.bias is missing"):
        load_weights(build_model("resnet8"), other)
    with pytest.raises(InputError, match=r"bn1.bias has shape \(16,\) where the model has \(8,\)"):
        load_weights(build_model("resnet8", width=8), build_model("resnet8").state_dict())


class Harmful:
    def __reduce__(self) -> tuple:
        return (print, ("this file runs code",))


@pytest.mark.parametrize("content", (b"", b"no weights", pickle.dumps(Harmful(), 2), pickle.dumps([1, 2], 2)))
def test_a_damaged_or_harmful_file_is_refused_unread(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match="w.pt"):
        read_weights(tmp_path / "w.pt")
    assert "runs code" not in capsys.readouterr().out


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        read_weights(tmp_path / "w.pt")
    with pytest.raises(InputError, match="no weights file"):
        read_weights(tmp_path / "absent.pt")
