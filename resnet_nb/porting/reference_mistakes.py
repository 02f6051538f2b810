"""What usually goes wrong in a port, done on purpose to ResNet-20, so that one's own values tell which mistake was made."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch.nn.functional as F
from torch import nn

from resnet_nb.models.nets import ZeroPadShortcut
from resnet_nb.porting import reference
from resnet_nb.porting.reference_runs import RATES, STEPS, floats, recipe, rule_net, run

MODEL = "resnet20"


def mistakes() -> Iterator[dict]:
    """Each mistake in words, and the values that it leads to, as `reference.load` has them."""
    for does, make in MISTAKES.items():
        yield {"does": does, **make()}


def _recipe(**fields: object) -> Callable[[], dict]:
    return lambda: run(rule_net(MODEL), recipe(RATES[MODEL]).replaced(**fields))


def _images(images: np.ndarray) -> Callable[[], dict]:
    return lambda: run(rule_net(MODEL), recipe(RATES[MODEL]), images)


def _weights(arranged: Callable[[Sequence[tuple[int, ...]]], list[np.ndarray]]) -> Callable[[], dict]:
    return lambda: run(rule_net(MODEL, arranged=arranged), recipe(RATES[MODEL]))


def _modules(change: Callable[[nn.Module], None]) -> Callable[[], dict]:
    return lambda: run(rule_net(MODEL).apply(change), recipe(RATES[MODEL]))


def _height_first(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The rule's weights as if its numbers stood in the order (height, width, in, out), and (in, out) for the classifier: TensorFlow's."""
    pairs = zip(reference.weights(shapes), shapes, strict=True)
    turned = [values.reshape(*shape[2:], shape[1], shape[0]) for values, shape in pairs]
    return [values.transpose(-1, -2, *range(values.ndim - 2)) for values in turned]


def _channels_last() -> np.ndarray:
    pixels, _ = reference.batch()
    count, channels, height, width = pixels.shape
    return floats(pixels.reshape(count, height, width, channels).transpose(0, 3, 1, 2))


def _channel_mean() -> np.ndarray:
    pixels, _ = reference.batch()
    return (pixels - pixels.mean((0, 2, 3), keepdims=True)) / 255


def _zeros_behind(module: nn.Module) -> None:
    if isinstance(module, ZeroPadShortcut):
        module.padding = (0, 0, 0, 0, 0, sum(module.padding))


def _averaging(module: nn.Module) -> None:
    if isinstance(module, ZeroPadShortcut):
        module.stride = 1
        module.register_forward_pre_hook(lambda _, inputs: F.avg_pool2d(inputs[0], 2))


def _pad_behind(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
        module.padding = (0, 0)
        module.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], (0, 1, 0, 1)))


def _normalisation(**fields: float) -> Callable[[], dict]:
    def change(module: nn.Module) -> None:
        if isinstance(module, nn.BatchNorm2d):
            vars(module).update(fields)

    return _modules(change)


def _biased_variances() -> dict:
    """The running variances as they would be had each batch's been divided by n and not by n - 1: they are linear in the batches' own."""

    def correct(net: nn.Module) -> None:
        for layer in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
            side = 32 * 16 // layer.num_features  # of the maps, which are halved where the channels are doubled
            count, start = reference.IMAGES[0] * side**2, (1 - layer.momentum) ** STEPS
            layer.running_var.sub_(start).mul_((count - 1) / count).add_(start)

    return run(rule_net(MODEL), recipe(RATES[MODEL]), before_evaluation=correct)


MISTAKES = {
    "weights read as (height, width, in, out), TensorFlow's order": _weights(_height_first),
    "weights scaled by the fan-out": _weights(lambda shapes: reference.weights(shapes, fan_axis=0)),
    "image bytes read as (height, width, channel)": _images(_channels_last()),
    "a mean for each channel subtracted, not for each pixel": _images(_channel_mean()),
    "convolutions of stride 2 padded behind only (TensorFlow's SAME)": _modules(_pad_behind),
    "shortcuts of option B": lambda: run(rule_net(f"{MODEL}-B"), recipe(RATES[MODEL])),
    "the shortcut's zeros all behind the old channels": _modules(_zeros_behind),
    "the shortcut averages 2x2 pixels, where it takes every second": _modules(_averaging),
    "batch normalisation with epsilon 0.001 (Keras)": _normalisation(eps=1e-3),
    "Nesterov's momentum": lambda: run(rule_net(MODEL), recipe(RATES[MODEL]), nesterov=True),
    "no weight decay": _recipe(weight_decay=0.0),
    "twice the weight decay (a penalty of 0.0001 |w|^2, without the half)": _recipe(weight_decay=2e-4),
    "weight decay on all parameters": _recipe(decay_on="all"),
    "the rate divided a step late": _recipe(drops=(7,)),
    "momentum in torch's form: the velocity lacks the rate": _recipe(momentum_form="torch"),
    "running variances from the batch's biased ones (Keras, Flax)": _biased_variances,
    "running statistics moved by 0.01 a step (Keras)": _normalisation(momentum=0.01),
}
