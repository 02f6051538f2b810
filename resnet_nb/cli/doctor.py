"""What `resnet-nb doctor` and the first notebook look at: is everything here that the notebooks need, and what is optional?"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from resnet_nb import __version__, records
from resnet_nb.records import places

LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "scikit-learn", "papermill", "ipywidgets")


@dataclass(frozen=True)
class Check:
    """One line of the report. A check that is not ok makes the command fail; what is optional is always ok and says so."""

    name: str
    ok: bool
    found: str


def checks(root: Path | None = None) -> list[Check]:
    """Look at Python, libraries, device, memory, disk, data, and recorded runs."""
    python = Check("Python", sys.version_info >= (3, 11), f"{platform.python_version()} (3.11 or newer is needed)")
    return [python, Check("resnet-nb", True, __version__), *_libraries(), *_machine(), *_data(root), _records()]


def _libraries() -> list[Check]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(Check(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Check(name, False, "not installed: pip install resnet-nb, or `make run` in a checkout"))
    return found


def _machine() -> list[Check]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    rows = [Check("processor", True, f"{os.cpu_count()} cores" + (f", {memory:.0f} GiB of memory" if memory else ""))]
    rows.append(Check("disk", True, f"{free:.0f} GiB free here"))
    if importlib.util.find_spec("torch"):
        from resnet_nb.devices import device_name, resolve_device

        device = resolve_device("auto")
        full = "the full rung can run" if device.type == "cuda" else "no CUDA GPU: stored and quick rungs; full with ALLOW_SLOW=True"
        rows.append(Check("device", True, f"{device.type}, {device_name(device)}; {full}"))
    return rows


def _data(root: Path | None) -> list[Check]:
    if not importlib.util.find_spec("torch"):
        return [Check("data", True, "not looked for: it is read with torch")]
    from resnet_nb.data import available
    from resnet_nb.data.photographs.imagenet import available_photographs

    rows = []
    for entry in (*available(root), *available_photographs(root)):
        where = entry["found"] if entry["found"] else f"not here (optional): {entry['remedy']}"
        rows.append(Check(f"data: {entry['name']}", True, str(where)))
    return rows


def _records() -> Check:
    problems = records.verify()
    if problems:
        return Check("recorded runs", False, f"{len(problems)} problems; `resnet-nb verify` names them")
    return Check("recorded runs", True, f"sound, in {places.results_dir()}")


def format_checks(found: list[Check]) -> str:
    """A line a check, marked where something is wrong."""
    width = max(len(check.name) for check in found)
    return "\n".join(f"{'ok ' if check.ok else 'BAD'}  {check.name:<{width}}  {check.found}" for check in found)
