"""The fully-convolutional forms are what the released layers give when they are slid over the last map, window by window."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from protocol_examples import randomised, small_resnet
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models import build_model, count_macs
from resnet_nb.protocols import Protocol
from resnet_nb.protocols.cost import flops
from resnet_nb.protocols.heads import agree, dense_scores, fold, pooled_logits, split

CROP = 64  # whose last map is 2x2


def images(height: int, width: int, count: int = 2) -> Tensor:
    """Random images with structure at all scales, float64."""
    coarse = torch.randn(count, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, (height, width), mode="bicubic")


def by_loops(maps: Tensor, classifier: nn.Linear, window: tuple[int, int]) -> Tensor:
    """Logits (N, windows, classes), a window at a time."""
    found = []
    for top in range(maps.shape[2] - window[0] + 1):
        for left in range(maps.shape[3] - window[1] + 1):
            found.append(classifier(maps[:, :, top : top + window[0], left : left + window[1]].mean((2, 3))))
    return torch.stack(found, 1)


@pytest.mark.parametrize("size", [(64, 64), (64, 97), (160, 131)])
def test_every_rule_equals_a_loop_over_all_windows(size: tuple[int, int]) -> None:
    net = small_resnet().double()
    body, classifier, window = split(net, CROP)
    with torch.no_grad():
        maps = body(images(*size))
        ours, windows = dense_scores(maps, classifier, window), by_loops(maps, classifier, window)
        torch.testing.assert_close(ours.softmax, windows.softmax(2).mean(1), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(ours.logits, windows.mean(1), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.pooled, net(images(*size)), rtol=1e-12, atol=1e-12)
    assert len(windows[0]) == (maps.shape[2] - 1) * (maps.shape[3] - 1)


def test_on_exactly_one_crop_every_rule_is_the_plain_forward_pass() -> None:
    net = small_resnet().double()
    body, classifier, window = split(net, CROP)
    with torch.no_grad():
        ours, plain = dense_scores(body(images(CROP, CROP)), classifier, window), net(images(CROP, CROP))
    for logits in (ours.softmax.log(), ours.logits.log_softmax(1), ours.pooled.log_softmax(1)):
        torch.testing.assert_close(logits, plain.log_softmax(1), rtol=1e-10, atol=1e-12)


def trapezoid(positions: int, window: int) -> Tensor:
    """How often each position is covered by windows that slide by one, normalised, float64."""
    covered = [sum(start <= place < start + window for start in range(positions - window + 1)) for place in range(positions)]
    return torch.tensor(covered, dtype=torch.float64) / sum(covered)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 7), st.integers(1, 7))
def test_the_mean_of_logits_weighs_the_map_by_a_trapezoid(more: int, wider: int, tall: int, wide: int) -> None:
    maps = torch.randn(2, 5, tall + more, wide + wider, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    classifier = nn.Linear(5, 3).double()
    weights = trapezoid(tall + more, tall)[:, None] * trapezoid(wide + wider, wide)
    with torch.no_grad():
        expected = classifier((maps * weights).sum((2, 3)))
        torch.testing.assert_close(dense_scores(maps, classifier, (tall, wide)).logits, expected, rtol=1e-10, atol=1e-12)


def test_the_rules_part_where_there_is_more_than_one_window() -> None:
    body, classifier, window = split(small_resnet().double(), CROP)
    with torch.no_grad():
        ours = dense_scores(body(images(128, 160)), classifier, window)
    softmax, logits, pooled = ours.softmax, ours.logits.softmax(1), ours.pooled.softmax(1)
    assert not agree(softmax, logits) and not agree(logits, pooled)


SPLIT = ("resnet8", "plain8", "imagenet:resnet18-B", "torchvision:resnet18", "torchvision:mobilenet_v2", "timm:resnet18", "timm:regnety_002")


@pytest.mark.parametrize("name", SPLIT)
def test_nets_with_a_global_average_and_one_linear_layer_are_split(name: str) -> None:
    net = randomised(build_model(name))
    body, classifier, window = split(net, CROP)
    with torch.no_grad():
        maps = body(images(CROP, CROP).float())
        assert tuple(maps.shape[2:]) == window
        assert agree(pooled_logits(maps, classifier), net(images(CROP, CROP).float()))


def test_a_users_own_sequence_is_split() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)).eval()
    assert split(net, 16).window == (14, 14)


class _Twice(nn.Module):
    """Looks like a net that can be split, and doubles its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.fc = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.fc(self.pool(self.conv(x)).flatten(1))


@pytest.mark.parametrize("name", ["torchvision:alexnet", "torchvision:squeezenet1_1", "timm:vit_tiny_patch16_224", _Twice])
def test_other_nets_are_refused_in_one_sentence(name) -> None:  # noqa: ANN001
    net = _Twice() if name is _Twice else build_model(name)
    with pytest.raises(InputError, match="dense forms need both, crops do not"):
        split(net.eval(), 224)


@pytest.mark.parametrize("name", ["resnet8-B", "torchvision:resnet18", "timm:resnet18"])
def test_folding_leaves_no_batch_norm_and_changes_nothing_but_rounding(name: str) -> None:
    net = randomised(build_model(name))
    before = copy.deepcopy(net.state_dict())
    folded = fold(net, CROP)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        ours, theirs = folded(images(CROP, 80).float()), net(images(CROP, 80).float())
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


class _Shared(nn.Module):
    """One convolution under two batch normalisations, which folding by pairs gets wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.conv(self.one(self.conv(x)))).mean((2, 3))


class _Branching(nn.Module):
    """Control flow that tracing cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x.mean((2, 3)) if x.sum() > 0 else -x.mean((2, 3))


@pytest.mark.parametrize("kind", [_Shared, _Branching])
def test_a_net_that_cannot_be_folded_exactly_is_left_as_it_is(kind: type[nn.Module]) -> None:
    net = randomised(kind())
    with torch.no_grad():
        assert torch.equal(fold(net, 8)(images(8, 8).float()), net(images(8, 8).float()))


def test_multi_scale_takes_48_crops_operations_on_4_to_3_and_36_on_squares() -> None:
    net = build_model("torchvision:resnet50", classes=1000)
    one, ten, several = (Protocol.paper(name) for name in ("1-crop", "10-crop", "multi-scale"))
    crop = flops(net, one, 375, 500)
    assert crop == 2 * count_macs(net, (3, 224, 224)) and flops(net, ten, 375, 500) == 10 * crop
    assert flops(net, several, 375, 500) / crop == pytest.approx(48.3, abs=0.1)
    assert flops(net, several, 375, 375) / crop == pytest.approx(36, abs=0.1)
