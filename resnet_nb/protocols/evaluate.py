"""Error rates of one model on one set of images. For CIFAR nets and digits, `1-crop` is the whole test image, seen once (section 4.2)."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.data import Images
from resnet_nb.data.normalise import Normalisation

PROTOCOLS = ("1-crop",)
BATCH = 500  # images at a time: larger is slower on a CPU, whose caches it overflows


@dataclass(frozen=True)
class Errors:
    """What a set of images was classified as. Errors in percent; loss is the mean cross-entropy in nats."""

    images: int
    wrong: int
    wrong_top5: int
    loss: float

    @property
    def top1_error(self) -> float:
        return 100 * self.wrong / self.images

    @property
    def top5_error(self) -> float:
        return 100 * self.wrong_top5 / self.images


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, and every module's own mode again after it."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def scores(net: nn.Module, images: Tensor, normalisation: Normalisation) -> Tensor:
    """Scores (N, classes) float32 of uint8 images (N, C, H, W) in evaluation mode, on the images' device."""
    with evaluation_mode(net):
        return torch.cat([net(normalisation(batch)).float() for batch in images.split(BATCH)])


def error_rates(net: nn.Module, images: Images, normalisation: Normalisation) -> Errors:
    """Top-1 and top-5 errors of `net` on `images` under `1-crop`. With fewer than 5 classes, top-5 is out of all of them."""
    found = scores(net, images.images, normalisation)
    best = found.topk(min(5, found.shape[1]), dim=1).indices
    right = best == images.labels.unsqueeze(1)
    return Errors(
        images=len(images),
        wrong=int((~right[:, 0]).sum()),
        wrong_top5=int((~right.any(1)).sum()),
        loss=F.cross_entropy(found.cpu().double(), images.labels.cpu()).item(),  # float64, which MPS lacks
    )


@torch.no_grad()
def batch_mode_error(net: nn.Module, images: Images, normalisation: Normalisation, size: int = 128) -> float:
    """Top-1 error in percent with each batch's own statistics, as in training; nothing of the net is updated.

    size: images a batch; the batches are drawn once and are always the same, and the last one may be smaller.
    """
    probe = copy.deepcopy(net).train()  # training mode moves running statistics, so it happens in a copy
    wrong = sum(int((probe(batch).argmax(1) != labels).sum()) for batch, labels in _mixed_batches(images, normalisation, size))
    return 100 * wrong / len(images)


def _mixed_batches(images: Images, normalisation: Normalisation, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images and labels. Data sets lie in order of their classes, and a batch of one class has statistics of its own."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(images.labels.device)
    for places in order.split(size):
        yield normalisation(images.images[places]), images.labels[places]


def three_errors(net: nn.Module, images: Images, normalisation: Normalisation, size: int = 128) -> tuple[float, float, float]:
    """Top-1 errors of one net in percent: with batch statistics, in evaluation mode with statistics averaged anew over `images`, and in
    evaluation mode as it stands. Where weights have just moved fast, its running statistics are those of older weights."""
    averaged = copy.deepcopy(net)
    average_statistics(averaged, (batch for batch, _ in _mixed_batches(images, normalisation, size)))
    in_batches = batch_mode_error(net, images, normalisation, size)
    return in_batches, *(error_rates(one, images, normalisation).top1_error for one in (averaged, net))


@torch.no_grad()
def average_statistics(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set batch normalisation's running statistics to their plain average over `batches` of normalised images, in place.

    Means are averaged, and variances as the batches' own unbiased ones, each batch counting once.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = net.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's name for a cumulative average
    net.train()
    for batch in batches:
        net(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.train(training)
