"""Files from the network: checked, whole and in their place, or not there at all."""

import hashlib
import http.client
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from resnet_nb.audience import silenced
from resnet_nb.errors import RunError
from resnet_nb.files import atomic_file

CHUNK = 1 << 17
SILENCE = 30  # seconds without a byte after which the transfer counts as broken


def download(url: str, path: Path, sha256: str) -> Path:
    """Fetch `url` to `path`, atomically, with a bar on standard error. Returns `path`.

    sha256: 64 hex digits, or the first of them where no more are known. Raises RunError, one sentence with the remedy, where the network or the
    disk fails, the transfer breaks off, or what arrived is another file; `path` is then as it was, and nothing else is left.
    """
    digest = hashlib.sha256()
    with atomic_file(path) as file:
        for chunk in _received(url, path):
            digest.update(chunk)
            file.write(chunk)
        if not digest.hexdigest().startswith(sha256):
            raise RunError(
                f"What {url} sent is not the file that was published (SHA-256 {digest.hexdigest()[:16]}..., not {sha256[:16]}...): "
                f"try again from another network, or put the right one at {path} yourself."
            )
    return path


def has_hash(path: Path, sha256: str) -> bool:
    """Whether there is a file at `path` whose SHA-256 begins with `sha256`. Raises RunError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest().startswith(sha256)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"Cannot read {path} ({error.strerror}): remove it, or choose another cache.") from error


def reason(error: Exception) -> object:
    """What went wrong in a transfer, in as few words as there are."""
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or error


def _received(url: str, path: Path) -> Iterator[bytes]:
    """The bytes of `url`. Network errors are OSErrors, which `atomic_file` would take for the disk's: they become RunErrors here."""
    try:
        with urllib.request.urlopen(url, timeout=SILENCE) as response:
            length = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
            yield from _counted(response, length, path.name)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RunError(f"Cannot fetch {url} ({reason(error)}): try again, or put {path.name} into {path.parent} yourself.") from error


def _counted(response: http.client.HTTPResponse, length: int | None, name: str) -> Iterator[bytes]:
    received = 0
    with tqdm(total=length, desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=silenced(), file=sys.stderr, leave=False) as bar:
        while chunk := response.read(CHUNK):
            received += len(chunk)
            bar.update(len(chunk))
            yield chunk
    if length is not None and received < length:  # read(n) ends without an error where the server closes early
        raise ConnectionError(f"the transfer broke off after {received:,} of {length:,} bytes")
