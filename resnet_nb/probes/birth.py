"""Identity at birth: residual nets that begin as their shortcuts, with or without batch normalisation, and how much each branch adds at first.

Three ways make the branches of a residual net small at initialisation. A last scale of zero (`build_model(..., init="zero-last-scale")`) needs batch
normalisation; Fixup and SkipInit here do without it. Batch normalisation alone does some of it: block number l adds about 1/l of what is there
(De and Smith 2020, arXiv 2002.10444).
"""

from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from resnet_nb.errors import InputError
from resnet_nb.models.nets import Block, Net
from resnet_nb.probes.checks import check_ran, ran_twice
from resnet_nb.probes.trace import watched


class Scale(nn.Module):
    """Times one learnt number; plus another, learnt from 0, where `shifted`."""

    def __init__(self, value: float, shifted: bool = False):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(value)))
        self.shift = nn.Parameter(torch.tensor(0.0)) if shifted else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class ShiftedConv(nn.Conv2d):
    """A convolution without offsets of a map to which one learnt number is added."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.weight = nn.Parameter(conv.weight.detach().clone())
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.shift)


class Shift(nn.Module):
    """Plus one learnt number."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def skipinit(net: Net, alpha: float = 0.0) -> Net:
    """SkipInit (De and Smith 2020, section 3): each branch times a learnt number, which begins as `alpha`. The net is changed and returned.

    net: residual, without normalisation, with the initialisation "he-fan-in". Raises InputError for another.
    """
    for block in _bare_blocks(net):
        block.bn2 = Scale(alpha)
    return net


@torch.no_grad()
def fixup(net: Net) -> Net:
    """Fixup (Zhang et al. 2019, arXiv 1901.09321, section 3.2): the net is changed and returned.

    With L branches of m = 2 convolutions: the classifier and each branch's last convolution are 0; its other weights are times
    L^(-1 / (2m - 2)) = L^(-1/2); a learnt number multiplies each branch, and one is added before each convolution, activation and the classifier
    (which has offsets of its own here), all from 1 and 0. The convolutions' own offsets go. net: as for `skipinit`.
    """
    blocks = _bare_blocks(net)
    for block in blocks:
        block.conv1, block.conv2 = ShiftedConv(block.conv1), ShiftedConv(block.conv2)
        block.conv1.weight.mul_(len(blocks) ** -0.5)
        block.conv2.weight.zero_()
        block.bn1, block.bn2 = Shift(), Scale(1.0, shifted=True)
    nn.init.zeros_(net.fc.weight)
    nn.init.zeros_(net.fc.bias)
    return net


def _bare_blocks(net: Net) -> list[Block]:
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    if not blocks or not all(block.residual and isinstance(block.bn2, nn.Identity) for block in blocks):
        raise InputError("Fixup and SkipInit are for residual nets without normalisation: build one with norm='none' from a name such as resnet20.")
    return blocks


def birth_shares(net: nn.Module, images: Tensor) -> pd.DataFrame:
    """How much each residual block's branch F(x) adds to its shortcut: one row a block, with columns place (from 1), layer, branch, shortcut, share.

    images: (N, C, H, W), normalised. branch, shortcut: the mean square of F(x), before the addition, and of what it is added to. share: branch /
    shortcut, the quotient of their squared norms. In whichever mode the net is; it is left as it was, its running statistics too.
    Raises InputError for a net without such blocks, or with one that a forward pass does not use once, and for images that the net cannot take.
    """
    blocks = {name: module for name, module in net.named_modules() if isinstance(module, Block) and module.residual}
    if not blocks:
        raise InputError("A branch's share needs residual blocks: a plain net has none.")
    squares: dict[tuple[str, str], float] = {}

    def keep(key: tuple[str, str], output: Tensor) -> None:
        if key in squares:
            raise ran_twice(key[0])
        squares[key] = float(output.double().square().mean())

    ends = [((name, what), module) for name, block in blocks.items() for what, module in (("branch", block.bn2), ("shortcut", block.downsample))]
    watched(net, images, [(module, partial(keep, key)) for key, module in ends])
    check_ran(blocks, [name for name, _ in squares])
    rows = [(place, name, squares[name, "branch"], squares[name, "shortcut"]) for place, name in enumerate(blocks, 1)]
    table = pd.DataFrame(rows, columns=["place", "layer", "branch", "shortcut"])
    return table.assign(share=table["branch"] / table["shortcut"])
