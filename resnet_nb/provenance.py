"""Where the running code comes from, and what it runs on, as a record keeps them."""

import platform
import subprocess
from pathlib import Path

import torch

from resnet_nb import __version__
from resnet_nb.devices import device_name, driver_version


def machine(device: torch.device) -> dict:
    """The first fields of a record's `provenance`: package, commit, modified, python, torch, driver, device, device_name, threads."""
    return {
        "package": __version__,
        **source_state(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "driver": driver_version(device),
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
    }


def cpu_threads(provenance: dict) -> int | None:
    """The threads that a record's command names: those of a CPU, where another number of them adds in another order."""
    return provenance["threads"] if provenance["device"] == "cpu" else None


def source_state() -> dict:
    """`commit` (40 hex digits) and `modified` (whether tracked package files differ from it) of the checkout; both None outside one."""
    package = Path(__file__).resolve().parent
    if not (package.parent / ".git").exists():
        return {"commit": None, "modified": None}
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no", "--", str(package))
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
