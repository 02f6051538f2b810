"""The checksums of a study's files, in its SHA256SUMS, as `sha256sum` writes and checks them."""

import re
from collections.abc import Mapping
from pathlib import Path

from resnet_nb.files import checksum, write_atomically

SUMS = "SHA256SUMS"
SUMS_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>[^/\\]+)")


def read_sums(folder: Path) -> tuple[dict[str, str], list[str]]:
    """What SHA256SUMS lists, {file name: checksum}, and the lines of it that say nothing."""
    path = folder / SUMS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    matches = [(line, SUMS_LINE.fullmatch(line)) for line in text.splitlines()]
    return {match["name"]: match["sum"] for _, match in matches if match}, [line for line, match in matches if not match]


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Make SHA256SUMS list `sums`, {file name: checksum}."""
    write_atomically(folder / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def list_file(path: Path) -> None:
    """Put the checksum of a study's file into the list of its folder."""
    write_sums(path.parent, {**read_sums(path.parent)[0], path.name: checksum(path)})


def take_out(path: Path) -> None:
    """Take a file out of a study, if it is there."""
    path.unlink(missing_ok=True)
    sums = read_sums(path.parent)[0]
    if sums.pop(path.name, None):
        write_sums(path.parent, sums)
