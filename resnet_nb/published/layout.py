"""The paper's ImageNet nets as lists of layers, and a block's tensor step by step: shapes, parameters and multiply-adds, counted without torch.

Table 1 of the paper (numbers of blocks and filters, `published` facts) is all that goes in; tests compare each count with that of a built model.
Multiply-adds are those of convolutions and of the classifier; parameters include batch normalisation's scale and offset, and the classifier's bias.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.published import fact

DEPTHS = (18, 34, 50, 101, 152)
OPTIONS = (None, "A", "B", "C")
STRIDES = ("1x1", "3x3")  # where a bottleneck block halves the map
SIDE, CLASSES, CHANNELS = 224, 1000, 3


@dataclass(frozen=True)
class Layer:
    """A convolution or the classifier. name: as in the built model; side: of the output's map, in pixels; shortcut: whether it is a projection."""

    name: str
    stage: int
    kernel: int
    inputs: int
    outputs: int
    stride: int
    side: int
    shortcut: bool
    parameters: int
    macs: int


def _conv(name: str, stage: int, kernel: int, inputs: int, outputs: int, stride: int, side: int, shortcut: bool = False) -> Layer:
    weights = kernel * kernel * inputs * outputs
    return Layer(name, stage, kernel, inputs, outputs, stride, side, shortcut, weights + 2 * outputs, weights * side * side)


def layers(depth: int, option: str | None = "B", stride: str = "1x1") -> pd.DataFrame:
    """The weighted layers of one of Table 1's nets, projections last in their block: a row each, columns as the fields of `Layer`.

    depth: 18, 34, 50, 101 or 152. option: "A", "B" or "C", or None for a plain net (18 and 34 layers); the paper's bottleneck nets have B. stride:
    which convolution of a bottleneck block halves the map, "1x1" as in the authors' nets or "3x3" as in torchvision's. Raises InputError else.
    """
    if depth not in DEPTHS or option not in OPTIONS or stride not in STRIDES:
        raise InputError(f"No net of Table 1 has {depth} layers, option {option} and stride {stride}: depths are {', '.join(map(str, DEPTHS))}.")
    if depth >= 50 and option is None:
        raise InputError(f"The paper has no plain net of {depth} layers: choose 18 or 34.")
    return pd.DataFrame([asdict(layer) for layer in _layers(depth, option, stride)])


def _layers(depth: int, option: str | None, stride_at: str) -> Iterator[Layer]:
    table = fact(f"t1.resnet{depth}.blocks")
    extra = table.extra
    yield _conv("conv1", 0, 7, CHANNELS, 64, 2, SIDE // 2)
    inputs, side = 64, SIDE // 4  # after max pooling
    stages = zip(table.value, extra["filters_3x3"], extra["output_channels"], extra["output_sizes"], strict=True)
    for stage, (count, filters, outputs, out_side) in enumerate(stages, 1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", side // out_side
            yield from _block(name, stage, extra["block_type"], inputs, filters, outputs, stride, side, stride_at)
            if option == "C" or (option == "B" and (stride > 1 or inputs != outputs)):
                yield _conv(f"{name}.downsample.0", stage, 1, inputs, outputs, stride, out_side, True)
            inputs, side = outputs, out_side
    yield Layer("fc", 0, 1, inputs, CLASSES, 1, 1, False, (inputs + 1) * CLASSES, inputs * CLASSES)


def _block(name: str, stage: int, kind: str, inputs: int, filters: int, outputs: int, stride: int, side: int, stride_at: str) -> Iterator[Layer]:
    small = side // stride
    if kind == "basic":
        yield _conv(f"{name}.conv1", stage, 3, inputs, filters, stride, small)
        yield _conv(f"{name}.conv2", stage, 3, filters, outputs, 1, small)
        return
    first, second = (stride, 1) if stride_at == "1x1" else (1, stride)
    yield _conv(f"{name}.conv1", stage, 1, inputs, filters, first, side // first)
    yield _conv(f"{name}.conv2", stage, 3, filters, filters, second, small)
    yield _conv(f"{name}.conv3", stage, 1, filters, outputs, 1, small)


def table1() -> pd.DataFrame:
    """Table 1 counted: a row a depth, with option B shortcuts.

    Columns depth, block, blocks (in the four stages, text), layers (weighted, without projections: the depth again), parameters (millions), and in
    billions of multiply-adds for a picture of 224x224: stride_1x1, stride_3x3 (of bottleneck blocks; equal for basic ones), printed (the paper's).
    """
    rows = []
    for depth in DEPTHS:
        known, printed = fact(f"t1.resnet{depth}.blocks"), fact(f"t1.resnet{depth}.flops").value
        ours, theirs = (layers(depth, "B", stride) for stride in STRIDES)
        weighted = int((~ours["shortcut"]).sum())
        counts = ", ".join(map(str, known.value))
        macs = [one["macs"].sum() / 1e9 for one in (ours, theirs)]
        rows.append((depth, known.extra["block_type"], counts, weighted, ours["parameters"].sum() / 1e6, *macs, printed))
    return pd.DataFrame(rows, columns=["depth", "block", "blocks", "layers", "parameters", "stride_1x1", "stride_3x3", "printed"])


STEPS = ("step", "way", "channels", "side", "parameters", "macs")
BLOCKS = ("basic", "pre-activation", "bottleneck")


def follow(
    kind: str, inputs: int, outputs: int, side: int, *, stride: int = 1, option: str | None = "A", stride_at: str = "1x1"
) -> pd.DataFrame:  # fmt: skip
    """One tensor's way through a block: a row a step, in the order in which it is computed.

    kind: "basic" (two 3x3 convolutions), "pre-activation" (the same, normalisation and ReLU before each; He et al. 2016, arXiv 1603.05027) or
    "bottleneck" (1x1, 3x3, 1x1, the first two with a quarter of `outputs`). side: of the input's map. option: of the shortcut, None in a plain block.
    Columns step (words), way ("in", "branch", "shortcut" or "out"), channels, side, parameters, macs. Raises InputError for other kinds.
    """
    if kind not in BLOCKS or option not in OPTIONS or stride_at not in STRIDES:
        raise InputError(f"A block is one of {', '.join(BLOCKS)}, with option A, B, C or None, not {kind!r} with {option!r}.")
    filters = outputs // 4 if kind == "bottleneck" else outputs
    convs = list(_block("", 0, "bottleneck" if kind == "bottleneck" else "basic", inputs, filters, outputs, stride, side, stride_at))
    rows: list[tuple] = [("input", "in", inputs, side, 0, 0)]
    small = side // stride
    for number, conv in enumerate(convs):
        weights = conv.parameters - 2 * conv.outputs
        words = f"{conv.kernel}x{conv.kernel} convolution" + (", stride 2" if conv.stride == 2 else "")
        if kind == "pre-activation":
            before = rows[-1][2:4]
            rows.append(("normalisation, ReLU", "branch", *before, 2 * before[0], 0))
        rows.append((words, "branch", conv.outputs, conv.side, weights, conv.macs))
        if kind != "pre-activation":
            last = "normalisation" if number == len(convs) - 1 else "normalisation, ReLU"
            rows.append((last, "branch", conv.outputs, conv.side, 2 * conv.outputs, 0))
    if option is not None:
        rows.append(_shortcut(inputs, outputs, small, stride, option, kind))
        rows.append(("addition", "out", outputs, small, 0, 0))
    if kind != "pre-activation":
        rows.append(("ReLU", "out", outputs, small, 0, 0))
    return pd.DataFrame(rows, columns=list(STEPS))


def _shortcut(inputs: int, outputs: int, side: int, stride: int, option: str, kind: str) -> tuple:
    changes = stride > 1 or inputs != outputs
    if option == "C" or (option == "B" and changes):
        projection = _conv("", 0, 1, inputs, outputs, stride, side)
        norm = 0 if kind == "pre-activation" else 2 * outputs
        words = "1x1 convolution" + (", stride 2" if stride == 2 else "") + (", normalisation" if norm else "")
        return words, "shortcut", outputs, side, inputs * outputs + norm, projection.macs
    words = "every second pixel, zeros for new channels" if changes else "identity"
    return words, "shortcut", outputs, side, 0, 0
