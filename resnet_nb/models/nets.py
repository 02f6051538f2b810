"""Plain and residual networks of He et al. (2015): the CIFAR nets of section 4.2 and the 18- and 34-layer ImageNet nets of Table 1.

One class builds them all. A plain net and a residual one of the same depth and seed are a matched pair: the same parameters,
names, shapes, initial values and operations, except for the additions (and, with options B and C, for the projections).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_nb.errors import InputError

FAN = {"he-fan-in": 1, "he-fan-out": 0}  # which side of a weight (out, in, k, k) the variance is divided by
INITS = (*FAN, "delta-orthogonal", "orthogonal", "glorot", "pytorch", "small", "zero-last-scale")
SMALL = 0.01  # the standard deviation of "small", as AlexNet had it (Krizhevsky et al. 2012, section 5)
NORMS = ("batch", "none")
ACTIVATIONS = {"relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "none": lambda x: x}


def _norm(channels: int, norm: str) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


class ZeroPadShortcut(nn.Module):
    """Option A (section 3.3): every second pixel, and zeros for the channels that are new. It has no parameters.

    The paper says "extra zero entries" and not where; they go half before and half after the old channels, as in the
    public re-implementations whose weights load here.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        extra = out_channels - in_channels
        self.padding = (0, 0, 0, 0, extra // 2, extra - extra // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


def projection(in_channels: int, out_channels: int, stride: int, norm: str = "batch", conv_bias: bool = False) -> nn.Sequential:
    """Options B and C (section 3.3): a 1x1 convolution with batch normalisation."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=conv_bias), _norm(out_channels, norm))


def shortcut(option: str, in_channels: int, out_channels: int, stride: int, norm: str = "batch", conv_bias: bool = False) -> nn.Module:
    """The shortcut of one block. A: no parameters. B: projections where the shape changes. C: projections everywhere."""
    changes = stride != 1 or in_channels != out_channels
    if option == "C" or (option == "B" and changes):
        return projection(in_channels, out_channels, stride, norm, conv_bias)
    return ZeroPadShortcut(in_channels, out_channels, stride) if changes else nn.Identity()


class Block(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation (Figure 2); the input is added before the last ReLU.

    option: "A", "B" or "C" for a residual block, None for a plain one, which differs in the addition alone. norm, conv_bias, activation: as in
    `Net`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, option: str | None = None, norm: str = "batch", conv_bias: bool = False,
        activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=conv_bias)
        self.bn1 = _norm(out_channels, norm)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=conv_bias)
        self.bn2 = _norm(out_channels, norm)
        self.residual = option is not None
        if self.residual:
            self.downsample = shortcut(option, in_channels, out_channels, stride, norm, conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.residual:
            y = y + self.downsample(x)
        return self.activation(y)


def runs_as(block: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether a block's forward pass is that of one of `kinds`, and not one that a subclass or a user gave it. Hooks run beside it."""
    return getattr(block.forward, "__func__", None) in {kind.forward for kind in kinds}


class Net(nn.Module):
    """A stem, stages of blocks, global average pooling and a linear classifier.

    blocks: how many blocks each stage has; widths: the channels of each stage; option: None for a plain net, else the
    shortcut's "A", "B" or "C"; stem: "cifar" (3x3, stride 1) or "imagenet" (7x7, stride 2, then 3x3 max pooling, stride 2).
    norm: "batch", or "none" with a bias in each convolution, which then takes the place of batch normalisation's offset. conv_bias: biases
    beside batch normalisation too, which cancels them in training; some published weights have them. activation: in the place of every ReLU, one
    of ACTIVATIONS.
    Every stage but the first halves the map in its first block. Input (N, in_channels, H, W) float, output (N, classes) scores.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        option: str | None,
        *,
        stem: str = "cifar",
        in_channels: int = 3,
        classes: int = 10,
        norm: str = "batch",
        conv_bias: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        bias = conv_bias or norm == "none"
        large = stem == "imagenet"
        kernel, stride, padding = (7, 2, 3) if large else (3, 1, 1)
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel, stride, padding, bias=bias)
        self.bn1 = _norm(widths[0], norm)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.stages = [f"layer{number + 1}" for number in range(len(blocks))]
        previous = widths[0]
        for number, (name, count, width) in enumerate(zip(self.stages, blocks, widths, strict=True)):
            first = Block(previous, width, 1 if number == 0 else 2, option, norm, bias, activation)
            rest = [Block(width, width, 1, option, norm, bias, activation) for _ in range(count - 1)]
            setattr(self, name, nn.Sequential(first, *rest))
            previous = width
        self.fc = nn.Linear(previous, classes)
        self.option, self.norm, self.activation = option, norm, activation

    def features(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to the last feature map, (N, widths[-1], h, w), before pooling."""
        x = self.maxpool(ACTIVATIONS[self.activation](self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


@torch.no_grad()
def initialise(net: nn.Module, seed: int, how: str = "he-fan-in") -> None:
    """Weights drawn from `seed` alone, in the order of the modules that carry them; biases 0 (but for "pytorch"), scales 1, offsets 0.

    "he-fan-in", "he-fan-out": N(0, 2 / fan) with the fan of the forward or of the backward pass (He et al. 2015, arXiv 1502.01852, eq. 10 and
    14; fb.resnet.torch takes the latter). "delta-orthogonal": each kernel is zero but for its centre, a random matrix with orthonormal
    columns (rows, where they are fewer) times the square root of 2 (Xiao et al. 2018, arXiv 1806.05393, with the gain of a ReLU; with another
    activation 1); between equal widths that is the norm that fan-in gives on average. "orthogonal": the same of the kernel as one matrix
    (out, in x k x k) (Saxe et al. 2014, arXiv 1312.6120). With these two the classifier is drawn as with "he-fan-in"; the paper does not say how.
    "glorot": N(0, 2 / (fan in + fan out)) (Glorot and Bengio 2010, eq. 12). "pytorch": what torch's layers do when nobody asks, uniform within
    1 / sqrt(fan in), biases too: a variance of 1 / (3 fan in). "small": N(0, 0.01^2).
    "zero-last-scale": "he-fan-in", and each residual block's last scale is 0, so that it begins as its shortcut (Goyal et al. 2017, arXiv
    1706.02677, section 5.1). Raises InputError where a net has no such scale, or would pass nothing on.
    A projection's draws come last, so that matched nets agree with every option.
    """
    generator = torch.Generator().manual_seed(seed)
    gain = 2**0.5 if getattr(net, "activation", "relu") == "relu" else 1.0
    weighted = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for _, module in sorted(weighted, key=lambda item: "downsample" in item[0]):
        if how in ORTHOGONAL and isinstance(module, nn.Conv2d):
            module.weight.copy_(ORTHOGONAL[how](module.weight.shape, gain, generator))
        elif how == "pytorch":
            _uniform(module, generator)
            continue
        else:
            values = torch.randn(module.weight.shape, generator=generator, dtype=torch.float32)
            module.weight.copy_(values * _deviation(module.weight, how))
        if module.bias is not None:
            module.bias.zero_()
    if how == "zero-last-scale":
        _zero_last_scales(net)


def _deviation(weight: Tensor, how: str) -> float:
    """The standard deviation of normally distributed weights (out, in, ...)."""
    fans = [size * weight[0, 0].numel() for size in weight.shape[:2]]  # out, in
    if how == "small":
        return SMALL
    if how == "glorot":
        return (2 / sum(fans)) ** 0.5
    return (2 / fans[FAN.get(how, FAN["he-fan-in"])]) ** 0.5


def _uniform(module: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    bound = (module.weight.shape[1] * module.weight[0, 0].numel()) ** -0.5
    for parameter in (module.weight, module.bias):
        if parameter is not None:
            parameter.copy_(bound * (2 * torch.rand(parameter.shape, generator=generator) - 1))


def _zero_last_scales(net: nn.Module) -> None:
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    if not all(block.residual and isinstance(block.bn2, nn.BatchNorm2d) for block in blocks):
        raise InputError("The initialisation zero-last-scale is for residual nets with batch normalisation: a plain block would return zeros.")
    for block in blocks:
        block.bn2.weight.zero_()


def _delta_orthogonal(shape: torch.Size, gain: float, generator: torch.Generator) -> Tensor:
    out_channels, in_channels, height, width = shape
    kernel = torch.zeros(shape)
    kernel[:, :, height // 2, width // 2] = _orthogonal((out_channels, in_channels), gain, generator)
    return kernel


def _orthogonal(shape: Sequence[int], gain: float, generator: torch.Generator) -> Tensor:
    return nn.init.orthogonal_(torch.empty(shape), gain, generator=generator)


ORTHOGONAL = {"delta-orthogonal": _delta_orthogonal, "orthogonal": _orthogonal}
