"""The gradient's paths (Veit et al. 2016, arXiv 1605.06431, section 4.3): through each block it takes the branch or the shortcut.

The gradient at the input is the sum over all 2^L choices. A path's length is the number of branches on it; there are L over k paths of length k.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from math import comb

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from resnet_nb.errors import InputError
from resnet_nb.probes.blocks import activation, branch, in_place_of, residual_blocks, shortcut
from resnet_nb.probes.checks import check_batch, check_seed
from resnet_nb.protocols.evaluate import evaluation_mode


def path_gradient(net: nn.Module, images: Tensor, labels: Tensor, branches: Iterable[str]) -> Tensor:
    """The part of the gradient of the summed cross-entropy at `images` that runs through the branches of the named blocks, and elsewhere through
    the shortcuts; the same shape as images. The forward pass is the net's own, in evaluation mode.

    Raises InputError as `residual_blocks` does, for a name that no block has, and for a batch that the net cannot take.
    """
    check_batch(net, images, labels)
    known, taken = residual_blocks(net), set(branches)
    if unknown := taken - known.keys():
        raise InputError(f"The net has no block {', '.join(sorted(unknown))}: its blocks are {', '.join(known)}.")
    forwards = {name: partial(_one_way, block, name in taken) for name, block in known.items()}
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(net), in_place_of(net, forwards):
        entry = images.detach().clone().requires_grad_()
        tensors = chain(net.named_parameters(), net.named_buffers())
        clones = {name: tensor.detach().clone() for name, tensor in tensors if tensor.is_inference()}  # which take no part in gradients themselves
        loss = F.cross_entropy(functional_call(net, clones, (entry,)), labels.clone(), reduction="sum")
        return torch.autograd.grad(loss, entry)[0]


def _one_way(block: nn.Module, through_branch: bool, x: Tensor) -> Tensor:
    added, kept = branch(block, x), shortcut(block, x)
    return activation(block)(added + kept.detach() if through_branch else added.detach() + kept)


def path_lengths(
    net: nn.Module, images: Tensor, labels: Tensor, lengths: Sequence[int] | None = None, draws: int = 5, seed: int = 0
) -> pd.DataFrame:
    """How much of the gradient at the input comes by paths of each length, by random paths.

    images: (N, C, H, W), normalised; lengths: 0 to the number of blocks, every one where None. Columns length; paths, how many there are; norm, of
    one path's gradient, the mean over images and `draws` paths; total, paths times norm; share, of the sum of all totals. Norms of paths add
    up to more than the gradient's own, whose parts partly cancel: a share is one of magnitudes. Raises InputError as `path_gradient` does.
    """
    check_batch(net, images, labels)
    check_seed(seed)
    names = list(residual_blocks(net))
    rows = []
    for length in range(len(names) + 1) if lengths is None else lengths:
        norms = []
        for draw in range(draws if 0 < length < len(names) else 1):
            chosen = np.random.default_rng([seed, length, draw]).choice(len(names), length, replace=False)
            gradient = path_gradient(net, images, labels, [names[place] for place in chosen])
            norms.append(float(gradient.double().flatten(1).norm(dim=1).mean()))
        rows.append((length, comb(len(names), length), float(np.mean(norms))))
    table = pd.DataFrame(rows, columns=["length", "paths", "norm"])
    table["total"] = table["paths"] * table["norm"]
    return table.assign(share=table["total"] / table["total"].sum())
