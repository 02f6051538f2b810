"""Pictures per second under the test protocols: this package against the usual pipeline, in alternation, on real photographs.

    python benchmarks/protocols.py [--images DIR] [--model torchvision:resnet50] [--rounds 5] [--pictures 32] [--device auto] [--json FILE]

The usual pipeline is what most public code does: torchvision's Resize and TenCrop on PIL images in a DataLoader with 2 workers, each batch of
pictures flattened through the net as it is; for `multi-scale`, ten crops at each of the five short sides, fifty in all. A batch has about 320 crops
(32 pictures under `10-crop`). Each turn times both, in alternating order, and the ratio is taken within a turn, so that a machine whose speed drifts
does little harm. Starting the workers and making the net ready are not timed. Weights are random: times do not depend on them. Without --images the
photographs are 4:3 cuts of scikit-learn's two, 500x375 pixels, as JPEG files.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision import transforms

from resnet_nb.data.normalise import Normalisation
from resnet_nb.devices import device_name, resolve_device
from resnet_nb.models import build_model
from resnet_nb.protocols import Protocol, run
from resnet_nb.protocols.cost import flops
from resnet_nb.protocols.geometry import NAMES, SCALES
from resnet_nb.protocols.scoring import computing_in
from resnet_nb.protocols.sources import Source, load

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROPS = 320  # a batch of the usual pipeline
IMAGENET = 50_000  # validation images
WIDTH, HEIGHT = 500, 375  # ImageNet's most frequent size
SIDES = {"10-crop": (256,), "multi-scale": SCALES}  # at which the usual pipeline takes ten crops each


def cut_photographs(folder: Path, count: int) -> list[Path]:
    """`count` different 4:3 cuts of scikit-learn's two photographs, JPEG at quality 95."""
    paths = []
    for number in range(count):
        photograph = Image.fromarray(load_sample_images().images[number % 2])
        left, top = (number * 17) % (photograph.width - WIDTH), (number * 5) % (photograph.height - HEIGHT)
        paths.append(folder / f"{number:04d}.jpg")
        photograph.crop((left, top, left + WIDTH, top + HEIGHT)).save(paths[-1], quality=95)
    return paths


def found_photographs(folder: Path, count: int) -> list[Path]:
    """The first `count` pictures under `folder`, again from the first where they are fewer."""
    suffixes = {suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise SystemExit(f"There are no pictures under {folder}.")
    return [paths[number % len(paths)] for number in range(count)]


class TenCrops(torch.utils.data.Dataset):
    """The usual data set: each picture opened, then at each short side resized, cropped ten times, and each crop normalised."""

    def __init__(self, paths: list[Path], sides: tuple[int, ...]):
        one = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
        self.paths, self.resizes = paths, [transforms.Resize(side) for side in sides]
        self.crops = transforms.Compose([transforms.TenCrop(224), transforms.Lambda(lambda crops: torch.stack([one(crop) for crop in crops]))])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> torch.Tensor:
        with Image.open(self.paths[place]) as picture:
            picture = picture.convert("RGB")
        return torch.cat([self.crops(resize(picture)) for resize in self.resizes])


def usual_pipeline(net: nn.Module, paths: list[Path], sides: tuple[int, ...], device: torch.device, precision: str) -> Callable[[], float]:
    """A function that takes the pictures through the usual pipeline once and returns pictures per second."""
    size = max(1, CROPS // (10 * len(sides)))
    options = {"num_workers": 2, "persistent_workers": True, "pin_memory": device.type == "cuda"}
    loader = torch.utils.data.DataLoader(TenCrops(paths, sides), size, multiprocessing_context="spawn" if os.name == "nt" else "fork", **options)

    @torch.inference_mode()
    def run_once() -> float:
        started = time.perf_counter()
        with computing_in(precision, device):
            for batch in loader:
                pictures, views = batch.shape[:2]
                net(batch.to(device).flatten(0, 1)).view(pictures, views, -1).softmax(2).mean(1).cpu()
        return len(paths) / (time.perf_counter() - started)

    return run_once


def our_pipeline(net: nn.Module, paths: list[Path], name: str, device: torch.device, precision: str) -> Callable[[], float]:
    """The same for `resnet_nb.protocols.run`."""
    normalisation = Normalisation.of_channels(MEAN, STD)

    def run_once() -> float:
        chunks = run(net, paths, [Protocol.paper(name)], normalisation, device=device, precision=precision, compare_every=0)
        started = time.perf_counter()
        for chunk in chunks:
            assert not chunk.failures, chunk.failures[0].reason
        return len(paths) / (time.perf_counter() - started)

    return run_once


def compare(ours: Callable[[], float], other: Callable[[], float], rounds: int) -> dict:
    """Rates in pictures/s and the ratio ours / other: minimum, median, maximum over the rounds."""
    ours(), other()
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            other_rate = other()
            pairs.append((ours(), other_rate))
        else:
            pairs.append((ours(), other()))
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    return {
        "ours": round(statistics.median(mine for mine, _ in pairs), 3),
        "other": round(statistics.median(theirs for _, theirs in pairs), 3),
        "ratio": [round(r, 3) for r in (ratios[0], statistics.median(ratios), ratios[-1])],
    }


def operations(net: nn.Module) -> dict:
    """Passes of 224x224 pixels that a picture's operations amount to, multi-scale against fifty crops, on 4:3 and on squares."""
    crop = flops(net, Protocol.paper("1-crop"), HEIGHT, WIDTH)
    shapes = {"4:3": (HEIGHT, WIDTH), "squares": (HEIGHT, HEIGHT)}
    return {shape: {"multi-scale": round(flops(net, Protocol.paper("multi-scale"), *size) / crop, 1), "crops": 50} for shape, size in shapes.items()}


def resizers(paths: list[Path]) -> list[dict]:
    """What torchvision's resize of uint8 tensors changes against Pillow's, in levels of 255, and the time of both in ms a picture."""
    rows = []
    for short in SCALES:
        pictures, spent = {}, {}
        for resizer in ("pil", "tensor"):
            protocol = Protocol("dense", scales=(short,), resizer=resizer)
            started = time.perf_counter()
            pictures[resizer] = [load(0, path, [protocol]).sources[Source(short, "bilinear", resizer)].int() for path in paths]
            spent[resizer] = 1e3 * (time.perf_counter() - started) / len(paths)
        apart = [(pil - tensor).abs() for pil, tensor in zip(*pictures.values(), strict=True)]
        mean, most = statistics.mean(difference.double().mean().item() for difference in apart), max(difference.max().item() for difference in apart)
        rows.append({"short": short, "mean": round(mean, 4), "max": most, **{f"{name}_ms": round(value, 1) for name, value in spent.items()}})
    return rows


def whole_set(net: nn.Module, rates: dict[str, float]) -> list[dict]:
    """FLOPs and hours of ImageNet's 50,000 validation images under each protocol, as if all had 500x375 pixels, its most frequent size."""
    costs = {name: IMAGENET * flops(net, Protocol.paper(name), HEIGHT, WIDTH) for name in NAMES}
    return [{"protocol": name, "PFLOP": round(costs[name] / 1e15, 2), "hours": round(IMAGENET / rates[name] / 3600, 2)} for name in NAMES]


def measure(net: nn.Module, paths: list[Path], device: torch.device, precision: str, rounds: int) -> tuple[list[dict], dict[str, float]]:
    """Rows of both comparisons, printed as they come, and our rates under all four protocols."""
    rows, rates = [], {}
    for name, sides in SIDES.items():
        own = paths if name == "10-crop" else paths[: max(1, len(paths) // len(sides))]  # about as long a turn
        found = compare(our_pipeline(net, own, name, device, precision), usual_pipeline(net, own, sides, device, precision), rounds)
        low, median, high = found["ratio"]
        against = f"{10 * len(sides)} crops, {precision}"
        print(f"{name:14} {against:22} {found['ours']:9.2f} {found['other']:9.2f} {median:14.2f} ({low:.2f} to {high:.2f})", flush=True)
        rates[name] = found["ours"]
        rows.append({"protocol": name, "precision": precision, "against": against, "pictures": len(own), **found})
    for name in ("1-crop", "dense"):
        rates[name] = our_pipeline(net, paths, name, device, precision)()
    return rows, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--model", default="torchvision:resnet50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, help="a turn of 10-crop; multi-scale takes a fifth [32, on a GPU 640]")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    count = options.pictures or (CROPS // 10 if device.type == "cpu" else 20 * CROPS // 10)
    name = options.model if ":" in options.model else f"torchvision:{options.model}"
    net = build_model(name, classes=1000).to(device).eval()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"{name}, {device_name(device)}{threads}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f} at the start")
    print(f"{'':14} {'against':22} {'pictures/s':>19} {'ratio: median (min to max)':>30}")
    report = {"model": name, "device": device_name(device), "torch": torch.__version__, "rounds": options.rounds, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = found_photographs(options.images, count) if options.images else cut_photographs(Path(folder), count)
        for precision in ("float32",) if device.type == "cpu" else ("float32", "tf32"):
            rows, rates = measure(net, paths, device, precision, options.rounds)
            report["rows"] += rows
            report.setdefault("imagenet", {})[precision] = whole_set(net, rates)
        report |= {"operations": operations(net), "resizers": resizers(paths[:32])}
    for shape, found in report["operations"].items():
        print(f"operations of a picture, {shape}: multi-scale {found['multi-scale']:.1f} to {found['crops']} crops")
    for row in report["resizers"]:
        print("tensor resize to {short}: {mean:.4f} levels off Pillow's on average, {max} at most;".format(**row), end=" ")
        print("decoding and resizing {tensor_ms} ms a picture, with Pillow's {pil_ms}".format(**row))
    for precision, rows in report["imagenet"].items():
        for row in rows:
            print("ImageNet's 50,000 images, {protocol}: {PFLOP:.2f} PFLOP, {hours:.1f} hours at this speed".format(**row) + f" ({precision})")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
