"""The thousand classes of ImageNet: class i of a published net is the i-th of the sorted WordNet numbers (wnids), such as n01440764."""

import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

from resnet_nb.errors import InputError

# SHA-256 of the thousand wnids, sorted, each ended by a newline: as timm 1.0.31 lists them. A hash, as the list itself is not ours.
WNIDS = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the thousand classes in the order of their labels, as the metadata of torchvision's weights has them."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def wnid_labels(wnids: Collection[str], place: Path) -> dict[str, int]:
    """The label of each of `wnids`, which were found in `place`: all of the thousand, or some of them where timm is installed to tell which.

    Raises InputError where they are not the thousand, or none of timm's thousand.
    """
    ordered = sorted(wnids)
    if hashlib.sha256("".join(f"{wnid}\n" for wnid in ordered).encode()).hexdigest() == WNIDS:
        return {wnid: label for label, wnid in enumerate(ordered)}
    thousand = _known_to_timm()
    if thousand is None:
        raise InputError(
            f"{place} has {len(ordered)} classes, which are not the thousand of ImageNet: complete them, "
            f"or pip install 'resnet-nb[timm]', whose list tells which of the thousand they are."
        )
    unknown = [wnid for wnid in ordered if wnid not in thousand]
    if unknown:
        raise InputError(f"{place}: {unknown[0]} is none of ImageNet's thousand classes: remove it, or read your own classes with --data folder.")
    return {wnid: thousand[wnid] for wnid in ordered}


def _known_to_timm() -> dict[str, int] | None:
    try:
        from timm.data import ImageNetInfo
    except ImportError:
        return None
    return {wnid: label for label, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
