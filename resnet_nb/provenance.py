"""Where the running code comes from, as a record keeps it."""

import subprocess
from pathlib import Path


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
