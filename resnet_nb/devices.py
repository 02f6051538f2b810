"""Which device a run uses, with how many threads, and what it is called in a record."""

import os
import platform
import subprocess
from pathlib import Path

import torch

from resnet_nb.errors import InputError

NAMES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises InputError for an unknown name and for a device that this machine lacks.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kind = name.split(":")[0]
    if kind not in available:
        raise InputError(f"Unknown device {name!r}: choose one of {', '.join(NAMES)}.")
    try:
        torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device {name!r}: choose one of {', '.join(NAMES)}, or one GPU of several such as cuda:1.") from error
    if not available[kind]:
        raise InputError(f"This machine has no {kind} device that torch can use: choose --device cpu or auto.")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The device's name for people: the GPU's, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def driver_version(device: torch.device) -> str | None:
    """The GPU driver's version where there is one."""
    if device.type != "cuda":
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.splitlines()[0].strip() if answer else None


def set_threads(threads: int | None) -> None:
    """Let torch use this many threads on the CPU; None leaves its own choice. Raises InputError when there are fewer cores."""
    if threads is None:
        return
    if not 1 <= threads <= (os.cpu_count() or 1):
        raise InputError(f"--threads {threads}: this machine has {os.cpu_count()} cores.")
    torch.set_num_threads(threads)
