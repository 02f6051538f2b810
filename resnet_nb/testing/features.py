"""What `resnet-nb features` does: a net's pooled features of a folder of pictures, in one file for use elsewhere."""

import io
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from resnet_nb.audience import silenced
from resnet_nb.data.folders import class_names, image_files
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.files import write_atomically
from resnet_nb.protocols import Failure, box
from resnet_nb.protocols.heads import split
from resnet_nb.protocols.sources import Loaded, decoded, sources
from resnet_nb.testing.own_pictures import Ready

BATCH = {"cpu": 16, "cuda": 256, "mps": 64}


def features(ready: Ready, folder: Path, out: Path, *, device: str = "auto") -> dict:
    """Write the features of every picture in `folder` to `out`, a .npz of NumPy's.

    folder: class folders, or pictures in it with no classes. Under the `1-crop` protocol of `ready` a picture's features are the mean of the last
    map over the crop, which the classifier takes: `features` (N, D) float32; `names` (N,) relative to `folder`; `labels` (N,) int64, places in
    `classes`, the sorted names of the class folders, or -1 where there are none. Returns {"out", "images", "features", "classes", "unreadable"}.
    Raises InputError for a net without a global average pool and one linear layer, and where no picture can be read.
    """
    if out.suffix != ".npz":
        raise InputError(f"--out {out}: the file is NumPy's, so let its name end in .npz.")
    paths, labels, classes = listed(folder)
    place = resolve_device(device)
    (protocol,) = ready.protocols
    net = ready.net.to(place).eval()
    body = split(net, protocol.crop).body.to(memory_format=torch.channels_last)
    kept, rows, unreadable = [], [], []
    with tqdm(total=len(paths), unit="image", disable=silenced(), file=sys.stderr, leave=False, delay=1) as bar:
        for _, loaded in decoded(paths, ready.protocols, BATCH[place.type], workers=2):
            unreadable += [one for one in loaded if isinstance(one, Failure)]
            pictures = [one for one in loaded if isinstance(one, Loaded)]
            kept += [one.place for one in pictures]
            rows += [pooled(body, pictures, ready, place)] if pictures else []
            bar.update(len(loaded))
    if not rows:
        raise InputError(f"None of the {len(paths)} pictures can be read; the first: {unreadable[0].reason}")
    found = np.concatenate(rows)
    if not np.isfinite(found).all():
        raise InputError("The features are not numbers: the weights hold nan or infinity, or the normalisation is far off.")
    names = np.array([paths[number].relative_to(folder).as_posix() for number in kept], dtype=np.str_)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, features=found, names=names, labels=labels[kept], classes=np.array(classes, dtype=np.str_))
    write_atomically(out, buffer.getvalue())
    failures = [{"name": one.name, "reason": one.reason} for one in unreadable]
    return {"out": str(out), "images": len(found), "features": found.shape[1], "classes": list(classes), "unreadable": failures}


def listed(folder: Path) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    """Pictures, their labels (N,) int64 and the class names: of class folders, or of pictures in `folder` itself, with -1 for labels."""
    if folder.is_dir() and not any(entry.is_dir() for entry in folder.iterdir()):
        paths = image_files(folder)
        return paths, np.full(len(paths), -1, dtype=np.int64), ()
    classes = class_names(folder)
    files = [(path, label) for label, name in enumerate(classes) for path in image_files(folder / name)]
    return [path for path, _ in files], np.array([label for _, label in files], dtype=np.int64), classes


@torch.inference_mode()
def pooled(body: nn.Module, pictures: list[Loaded], ready: Ready, place: torch.device) -> np.ndarray:
    """(n, D) float32: the last map of each picture's crop, averaged."""
    (protocol,) = ready.protocols
    (source,), (view,) = sources(protocol), protocol.views()
    crops = []
    for picture in pictures:
        whole = picture.sources[source]
        top, left, height, width = box(view, *whole.shape[1:], protocol.crop)
        crops.append(whole[:, top : top + height, left : left + width])
    normalisation = ready.normalisation.for_size(protocol.crop, protocol.crop).to(place)
    return body(normalisation(torch.stack(crops).to(place))).mean((2, 3)).float().cpu().numpy()
