"""What every probe asks of its net, its batch and its seed before it begins, and the randomness that it gives back."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models.deepen import GLOBAL_GENERATOR


def check_batch(net: nn.Module, images: Tensor, labels: Tensor | None = None) -> None:
    """Raise InputError for a batch that `net` cannot take.

    images: finite floats (N, C, H, W), N >= 1, with the dtype, the device and the channels of the net's first convolution; in a net without
    convolutions N counts alone. labels: int64 (N,), from 0 to the classifier's classes - 1.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise InputError(f"The images are {_kind(images)}: give a tensor of floats, normalised as in training.")
    convolution = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is not None and (images.ndim != 4 or images.shape[1] != convolution.in_channels):
        raise InputError(f"The images have the shape {tuple(images.shape)}: this net takes (N, {convolution.in_channels}, height, width).")
    if not images.numel():
        raise InputError(f"The batch of the shape {tuple(images.shape)} is empty: give one image or more.")
    like = next(net.parameters(), None) if convolution is None else convolution.weight
    if like is not None and (images.dtype, images.device) != (like.dtype, like.device):
        raise InputError(f"The images are {images.dtype} on {images.device}, the net {like.dtype} on {like.device}: bring them there with .to().")
    if not images.isfinite().all():
        raise InputError("The images have NaN or infinite values: look at how they were normalised (a deviation of 0?).")
    if labels is not None:
        _check_labels(net, images, labels)


def _check_labels(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise InputError(f"The labels are {_kind(labels)}: give a tensor of int64, with labels.long().")
    if labels.shape != images.shape[:1]:
        raise InputError(f"Labels of the shape {tuple(labels.shape)} for {len(images)} images: give one label an image.")
    if labels.device != images.device:
        raise InputError(f"The labels are on {labels.device} and the images on {images.device}: bring them together with .to().")
    classes = [module.out_features for module in net.modules() if isinstance(module, nn.Linear)]
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or (classes and most >= classes[-1]):
        within = f" from 0 to {classes[-1] - 1}" if classes else ", from 0 on"
        raise InputError(f"The labels go from {least} to {most}: this net knows classes{within}.")


def _kind(values: object) -> str:
    return f"a tensor of {values.dtype}" if isinstance(values, Tensor) else f"a {type(values).__name__}"


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that torch's generators do not take, or NumPy's: those from 0 to 2^64 - 1 do for both."""
    if not 0 <= seed < 2**64:
        raise InputError(f"The seed {seed}: take a whole number from 0 to {2**64 - 1}.")


def check_weights(layers: Mapping[str, nn.Module]) -> None:
    """Raise InputError where a layer's weights are no parameter of its own."""
    owners: dict[int, str] = {}
    for name, module in layers.items():
        weight = module._parameters.get("weight")
        if weight is None:
            raise InputError(f"The layer {name} computes its weights from other parameters, as weight_norm does: remove its parametrisation first.")
        if owner := owners.get(id(weight)):
            raise InputError(f"The layers {owner} and {name} share their weights, which this probe cannot tell apart: give each its own.")
        owners[id(weight)] = name


def ran_twice(name: str) -> InputError:
    """The error for a part of a net that has no one output."""
    return InputError(f"{name} runs more than once in a forward pass, so it has no one output: take a net in which each layer is used once.")


def check_ran(names: Iterable[str], ran: Iterable[str]) -> None:
    """Raise InputError where one of `names` is not in `ran`."""
    if idle := sorted(set(names) - set(ran)):
        raise InputError(f"The net's scores do not depend on {idle[0]}, which it has but does not use: take it out of the net first.")


@contextmanager
def same_randomness(net: nn.Module) -> Iterator[None]:
    """Inside the block draws, such as those of Dropout in training mode, go on as they would; after it torch's generators are where they were."""
    devices = {parameter.device for parameter in net.parameters() if parameter.device.type == "cuda"}
    with GLOBAL_GENERATOR, torch.random.fork_rng(devices=list(devices)):  # nets that other threads build draw from it
        yield
