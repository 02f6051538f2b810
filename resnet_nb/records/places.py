"""Where recorded runs and the lists of studies lie, and the names that a study may have."""

import re
from pathlib import Path

from resnet_nb.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent  # where the package lies in one
STUDY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def results_dir() -> Path:
    """Where recorded runs lie: `results/` of the checkout, else the copy that was installed with the package."""
    return CHECKOUT / "results" if _in_checkout() else PACKAGE / "results"


def lists_dir() -> Path:
    """Where the study files lie: `studies/` of the checkout, else the copy that was installed with the package."""
    return CHECKOUT / "studies" if _in_checkout() else PACKAGE / "study_lists"


def _in_checkout() -> bool:
    return (CHECKOUT / "pyproject.toml").exists()


def check_writable() -> None:
    """Raise InputError where the package is installed without its checkout: its recorded runs are not there to be added to."""
    if results_dir().parent == PACKAGE:
        raise InputError("--study files records in a checkout of the repository, and this is an installed package: clone it first.")


def check_study(study: str) -> None:
    """Raise InputError unless `study` is a name for a folder of results."""
    if not STUDY.fullmatch(study):
        raise InputError(f"--study {study!r}: a study's name is lower-case letters, digits and hyphens, such as digits-degradation.")
