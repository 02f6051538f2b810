"""What the bits of a run depend on beside its plan: device, threads, versions and code, as checkpoints and records keep them."""

import torch

from resnet_nb import __version__
from resnet_nb.devices import device_name
from resnet_nb.provenance import source_state


def conditions(device: torch.device, deterministic: bool, compiled: bool = False) -> dict:
    """Where and how a run computes: what two of them must have in common to end with the same bits, if it is "repeatable" there at all."""
    return {
        "device": f"{device}, {device_name(device)}",
        "package": __version__,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),  # a str of its own class, which a checkpoint cannot hold
        "repeatable": device.type == "cpu" or deterministic,
        **({"compiled": True} if compiled else {}),  # only then, so that earlier checkpoints go on as exactly as they did
    }


def code() -> dict:
    """The commit of the code that runs, and "modified" where it was changed since; nothing outside a checkout."""
    found = source_state()
    return {**({"commit": found["commit"]} if found["commit"] else {}), **({"modified": True} if found["modified"] else {})}
