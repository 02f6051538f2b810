"""The official archives of CIFAR-10 and CIFAR-100, which torchvision fetches, checks and reads."""

import http.client
import tempfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity, extract_archive

from resnet_nb.data.download import reason
from resnet_nb.data.sets import Part
from resnet_nb.errors import InputError

Official = type[CIFAR10]  # torchvision's CIFAR100 is one too: names, checksums and where to fetch it


def read_batches(official: Official, folder: Path) -> dict[str, Part]:
    """The training and test images in the unpacked archive `folder`. MD5s are checked before unpickling.

    Raises InputError naming the file that is absent or damaged.
    """
    for name, md5 in [*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])]:
        _check_md5(folder / name, md5, folder)
    here = type(official.__name__, (official,), {"base_folder": ""})  # whatever the folder is called
    parts = {name: here(folder, train=name == "train") for name in ("train", "test")}
    return {name: Part(part.data, np.array(part.targets, dtype=np.int64)) for name, part in parts.items()}


def read_packed(official: Official, archive: Path) -> dict[str, Part]:
    """The same from the archive as it was fetched, unpacked for the moment: nothing is written beside it.

    Raises InputError where it is damaged.
    """
    _check_md5(archive, official.tgz_md5, archive)
    with tempfile.TemporaryDirectory() as folder:
        extract_archive(archive, folder)
        return read_batches(official, Path(folder) / official.base_folder)


def _check_md5(file: Path, md5: str, whole: Path) -> None:
    if not check_integrity(file, md5):
        state = "damaged (its MD5 is not the official one)" if file.exists() else "absent"
        raise InputError(f"{file} is {state}: remove {whole} and fetch the archive again (--download).")


def download(official: Official, root: Path) -> Path:
    """Fetch the archive, and leave it unpacked in `root`, whole or not at all. Returns the folder it became.

    Raises InputError where it cannot be fetched.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            official(folder, download=True)
            return (Path(folder) / official.base_folder).rename(root / official.base_folder)
    except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: the checksum is wrong
        raise InputError(
            f"Cannot fetch {official.url} into {root} ({reason(error)}): try again, or put {official.filename} there yourself."
        ) from error
