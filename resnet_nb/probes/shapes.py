"""One tensor's way through a built block: what `layout.follow` counts, seen by hooks."""

import pandas as pd
import torch
from torch import Tensor, nn

from resnet_nb.probes.checks import check_batch
from resnet_nb.protocols.evaluate import evaluation_mode


def shapes(block: nn.Module, x: Tensor) -> pd.DataFrame:
    """Every module inside `block` that has no parts, in the order in which it runs on x (N, C, H, W), in evaluation mode.

    Columns module (its name), kind (its class), channels, side, parameters. Functions such as ReLU and the addition are no modules; the last row,
    "output", is the block's. Raises InputError for an x that the block cannot take.
    """
    check_batch(block, x)
    rows: list[tuple] = []
    inner = {name: module for name, module in block.named_modules() if name and not list(module.children())}

    def keep(name: str, module: nn.Module, output: Tensor) -> None:
        rows.append((name, type(module).__name__, output.shape[1], output.shape[2], sum(one.numel() for one in module.parameters())))

    hooks = [module.register_forward_hook(lambda module, _, output, name=name: keep(name, module, output)) for name, module in inner.items()]
    try:
        with torch.no_grad(), evaluation_mode(block):
            output = block(x)
    finally:
        for hook in hooks:
            hook.remove()
    rows.append(("output", type(block).__name__, output.shape[1], output.shape[2], sum(one.numel() for one in block.parameters())))
    return pd.DataFrame(rows, columns=["module", "kind", "channels", "side", "parameters"])
