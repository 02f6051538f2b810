"""A net in two parts, the last map and the classifier, and the dense scores that they give ("fully-convolutional", section 3.4).

The released net ends in a 7x7 mean with stride 1, `fc1000` and a softmax; slid over a larger map these give one posterior a window, whose mean is
the picture's. For logits the mean over windows is linear, hence a weighted mean of the map (weights 1, 2, ..., 7, ..., 7, ..., 2, 1 along each
axis, normalised) and one classifier; with a global mean in place of the windows the weights are uniform. The three agree at one crop exactly.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.fx.experimental.optimization
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Net

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}  # of the largest logit of a probe: rewritten nets differ by rounding alone
AFTER_THE_MAP = nn.AdaptiveAvgPool2d | nn.Dropout | nn.Flatten | nn.Identity  # what changes nothing in evaluation mode


class DenseScores(NamedTuple):
    """Of N maps, each (N, classes): the mean over windows of softmax scores, that of logits, and the logits of one global average."""

    softmax: Tensor
    logits: Tensor
    pooled: Tensor


class Parts(NamedTuple):
    """body: images (N, C, H, W) to the last map (N, D, h, w). classifier: its mean, (N, D), to logits. window: the map's size at one crop."""

    body: nn.Module
    classifier: nn.Linear
    window: tuple[int, int]


def dense_scores(maps: Tensor, classifier: nn.Linear, window: tuple[int, int]) -> DenseScores:
    """Slide a mean over `window` with stride 1 and the classifier over maps (N, D, h, w). The softmax is in float32 at least."""
    windows = window_logits(maps, classifier, window).flatten(1, 2)
    return DenseScores(windows.softmax(2).mean(1), windows.mean(1), pooled_logits(maps, classifier))


def window_logits(maps: Tensor, classifier: nn.Linear, window: tuple[int, int]) -> Tensor:
    """The logits of each window: maps (N, D, h, w) to (N, rows, columns, classes)."""
    return full(classifier(F.avg_pool2d(maps, window, 1).permute(0, 2, 3, 1)))


def pooled_logits(maps: Tensor, classifier: nn.Linear) -> Tensor:
    """Global average pooling and the classifier: (N, D, h, w) to (N, classes)."""
    return full(classifier(maps.mean((2, 3))))


def split(net: nn.Module, crop: int, channels: int = 3) -> Parts:
    """The parts of a net that ends in a global average pool and one linear layer: ours, torchvision's ResNets and their kin, timm's.

    The net is in evaluation mode and is not copied. Whether the parts give its own scores is tried on a random image of crop x crop pixels.
    Raises InputError where they do not, or where no such end is found.
    """
    found = next((parts for parts in (find(net) for find in (_of_ours, _of_timm, _of_children)) if parts), None)
    refusal = InputError(f"{type(net).__name__} shows no global average pool and one linear layer at its end: dense forms need both, crops do not.")
    if found is None:
        raise refusal
    body, classifier = found
    images = probe(net, crop, channels)
    try:
        with torch.no_grad():
            maps = body(images)
            same = maps.ndim == 4 and agree(pooled_logits(maps, classifier), net(images))
    except Exception as error:  # each net has its own way to fail when its modules do not run in their order
        raise refusal from error
    if not same:
        raise refusal
    return Parts(body, classifier, tuple(maps.shape[2:]))


def fold(net: nn.Module, crop: int, channels: int = 3) -> nn.Module:
    """A copy of `net` in evaluation mode with batch normalisation folded into the convolutions before it.

    Left as it is where torch.fx cannot trace the net, or where the folded one's output on a random image is off by more than rounding
    (TOLERANCE of the largest value): a convolution that is used twice cannot be folded, for one.
    """
    plain = copy.deepcopy(net).eval()
    images = probe(plain, crop, channels)
    try:
        folded = torch.fx.experimental.optimization.fuse(plain)
        with torch.no_grad():
            return folded if agree(folded(images), plain(images)) else plain
    except Exception:  # tracing fails in many ways: control flow, arguments that vary, methods that are not found
        return plain


def agree(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors differ by rounding alone, as TOLERANCE has it for their type."""
    limit = TOLERANCE.get(theirs.dtype, 1e-2) * theirs.abs().max()
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= limit)


class _Features(nn.Module):
    """A net whose forward pass ends at the map that the method `name` returns."""

    def __init__(self, net: nn.Module, name: str):
        super().__init__()
        self.net, self.name = net, name

    def forward(self, images: Tensor) -> Tensor:
        return getattr(self.net, self.name)(images)


Found = tuple[nn.Module, nn.Linear] | None


def _of_ours(net: nn.Module) -> Found:
    return (_Features(net, "features"), net.fc) if isinstance(net, Net) else None


def _of_timm(net: nn.Module) -> Found:
    features, classifier = getattr(net, "forward_features", None), getattr(net, "get_classifier", None)
    if not isinstance(features, Callable) or not isinstance(classifier, Callable) or not isinstance(classifier(), nn.Linear):
        return None
    return _Features(net, "forward_features"), classifier()


def _of_children(net: nn.Module) -> Found:
    """Modules that run in their order, an average pool if it is one of them, then one linear layer and nothing else that counts."""
    children = list(net.children())
    pools = [place for place, child in enumerate(children) if isinstance(child, nn.AdaptiveAvgPool2d)]
    end = pools[0] if pools else len(children) - 1
    rest = [module for child in children[end:] for module in child.modules() if not isinstance(module, nn.Sequential | AFTER_THE_MAP)]
    return (nn.Sequential(*children[:end]), rest[0]) if len(rest) == 1 and isinstance(rest[0], nn.Linear) else None


def probe(net: nn.Module, crop: int, channels: int) -> Tensor:
    """One random image in the net's own type, on its device, the same each time."""
    like = next(net.parameters())
    images = torch.randn(1, channels, crop, crop, generator=torch.Generator().manual_seed(0))
    return images.to(like)


def full(scores: Tensor) -> Tensor:
    """Scores in float32 at least: half precision would round the sums."""
    return scores if scores.dtype == torch.float64 else scores.float()
