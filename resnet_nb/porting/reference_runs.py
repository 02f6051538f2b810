"""How the reference values are computed: the package's own nets and training step in float64, from `reference`'s weights and batch.

The steps are always on the same 16 images, with the paper's SGD at the paper's warm-up rate, 0.01, at which a change of the weights by 1e-12 stays as
small in all nets but plain-56. There the gradient of the first layers is a thousand times the classifier's, at the rates 0.1 to 1e-6 two
implementations that are both right would agree in no digit after a few steps, and the rate is 1e-9.
"""

import copy
import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.models import build_model
from resnet_nb.porting import reference
from resnet_nb.recipes import Recipe, get_recipe
from resnet_nb.training.step import set_rate, sgd, take_step

RATES = {"plain20": 0.01, "resnet20": 0.01, "plain56": 1e-9, "resnet56": 0.01, "resnet110": 0.01}
STEPS = 11
NUDGES = {"float64": 1e-12, "float32": 1e-6}  # relative changes of the weights, more than what rounding adds up to in the first step
TRIALS = 3  # nudges of each size
MARGIN = 10  # of the tolerance over the largest effect that a nudge had


def recipe(rate: float) -> Recipe:
    """The paper's, without crops and mirror images, on 16 images, the rate divided by 10 from step 6 on."""
    return get_recipe(f"paper-cifar,batch_size=16,iterations={STEPS},rate={rate},drops=6,pad=0,flip=false,warmup_iterations=0")


def floats(images: np.ndarray) -> np.ndarray:
    """(16, 3, 32, 32) uint8 to float64: less the mean of each pixel over the images, divided by 255."""
    return (images - images.mean(0)) / 255


def rule_net(model: str, width: int | None = None, arranged: Callable[[list[tuple[int, ...]]], list[np.ndarray]] = reference.weights) -> nn.Module:
    """The net in float64 with the rule's weights. A projection's weights come after the classifier's, as in `nets.initialise`."""
    net = build_model(model, width=width).double()
    weighted = [(name, module.weight) for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    tensors = [weight for _, weight in sorted(weighted, key=lambda item: "downsample" in item[0])]
    with torch.no_grad():
        for tensor, values in zip(tensors, arranged([tuple(tensor.shape) for tensor in tensors]), strict=True):
            tensor.copy_(torch.from_numpy(values))
    return net


def run(
    net: nn.Module,
    recipe: Recipe,
    images: np.ndarray | None = None,
    *,
    nesterov: bool = False,
    before_evaluation: Callable[[nn.Module], None] | None = None,
) -> dict:
    """Eleven steps of `net`, in place and in the precision of its weights; returns the values that `reference.KEPT` names.

    images: (16, 3, 32, 32) float64 in place of the rule's. nesterov, before_evaluation (changes the net after the last step): for the mistakes.
    """
    dtype = next(net.parameters()).dtype
    pixels, classes = reference.batch()
    batch = torch.from_numpy(floats(pixels) if images is None else images).to(dtype)
    labels = torch.from_numpy(classes)
    optimiser = sgd(net.train(), recipe)
    for group in optimiser.param_groups:
        group["nesterov"] = nesterov
    logits = copy.deepcopy(net)(batch)[0]  # of a copy: a forward pass moves the running statistics
    losses, gradients = [], {}
    for step in range(STEPS):
        set_rate(optimiser, recipe.rate_at(step), recipe.momentum_form)
        sums = torch.zeros(2, dtype=dtype)
        take_step(net, optimiser, batch, labels, sums, recipe)
        losses.append(sums[0].item())
        gradients = gradients or {"first_convolution": _norm(net.conv1.weight.grad), "classifier": _norm(net.fc.weight.grad)}
    if before_evaluation is not None:
        before_evaluation(net)
    with torch.no_grad():
        evaluation = F.cross_entropy(net.eval()(batch), labels).item()
    return {"logits": logits.tolist(), "losses": losses, "gradient_norms": gradients, "weight_norms": _norms(net), "evaluation_loss": evaluation}


def _norm(*tensors: Tensor) -> float:
    return sum(tensor.detach().double().square().sum().item() for tensor in tensors) ** 0.5


def _norms(net: nn.Module) -> dict[str, float]:
    modules = list(net.modules())
    layers = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    return {
        "first_convolution": _norm(net.conv1.weight),
        "convolutions": _norm(*(module.weight for module in modules if isinstance(module, nn.Conv2d))),
        "scales": _norm(*(layer.weight for layer in layers)),
        "offsets": _norm(*(layer.bias for layer in layers)),
        "classifier": _norm(net.fc.weight),
        "classifier_bias": _norm(net.fc.bias),
    }


def entry(model: str) -> dict:
    """What the stored file holds of one net: its rate, its values, and the tolerance of each in float64 and in float32."""
    values = run(rule_net(model), recipe(RATES[model]))
    return {"rate": RATES[model], **values, "tolerance": {precision: _tolerance(model, values, precision) for precision in reference.PRECISIONS}}


def _tolerance(model: str, values: dict, precision: str) -> dict:
    """MARGIN times the most that a nudge of the weights moved each value. No score has less than another, no loss less than the one before it."""
    others = [run(_nudged(rule_net(model), NUDGES[precision], seed), recipe(RATES[model])) for seed in range(TRIALS)]
    if precision == "float32":
        others.append(run(rule_net(model).float(), recipe(RATES[model])))

    def allowed(value: float, *moved: float) -> float:
        least = NUDGES[precision] / 10 * abs(value)  # a nudge may happen to leave a value where it was
        return float(f"{MARGIN * max(least, *(abs(other - value) for other in moved)):.1e}")

    tolerance = _each(allowed, values, *others)
    tolerance["logits"] = [max(tolerance["logits"])] * len(values["logits"])
    tolerance["losses"] = list(itertools.accumulate(tolerance["losses"], max))
    return tolerance


@torch.no_grad()
def _nudged(net: nn.Module, size: float, seed: int) -> nn.Module:
    """`net` with each weight of the rule made larger or smaller by the share `size`."""
    signs = np.random.default_rng(seed)
    for weight in (parameter for parameter in net.parameters() if parameter.ndim > 1):
        weight.mul_(torch.from_numpy(1 + size * signs.choice([-1, 1], tuple(weight.shape))))
    return net


def _each(function: Callable[..., float], first: object, *rest: object) -> object:
    """`function` of the numbers in like places of nested lists and dicts."""
    if isinstance(first, dict):
        return {key: _each(function, value, *(other[key] for other in rest)) for key, value in first.items()}
    if isinstance(first, list):
        return [_each(function, *items) for items in zip(first, *rest, strict=True)]
    return function(first, *rest)
