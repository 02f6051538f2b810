"""Images per second in training: this package's step against the usual loop, in alternation, and as shares of what the device can do.

    python benchmarks/training.py [--device auto] [--model resnet20 ...] [--path eager ...] [--precision float32 ...] [--beside 2]
                                  [--rounds 7] [--steps 20] [--floor] [--json FILE]

The usual loop is what most public CIFAR code does: a data set of PIL images with torchvision's transforms, a DataLoader, contiguous tensors in
float32, torch's SGD, operation by operation, loss and accuracy read back at every step. The images are random: times do not depend on them.
Each turn times both loops, first one, then the other, in alternating order; the ratio is taken within a turn, so that a machine whose speed
drifts does little harm. "Convolutions alone" are the net's own in float32, forward and backward, in the layout that is faster.

The shares are of the device's bandwidth and arithmetic as measured in the same run (ceilings.py says how), for what a step needs at the least.
--floor: the same for the paper's ten networks at 64,000 iterations, in seconds, beside the time at the best rate measured of each --model.
"""

import argparse
import json
import statistics
import warnings
from pathlib import Path

import torch
from ceilings import BATCH, PASSES, TEN, Ceilings, floor, kind_of, measure, work_of
from loops import CPU_PATHS, PATHS, WARM_STEPS, Loop, convolutions, our_loop, random_images, side_by_side, usual_loop

from resnet_nb.data import Images
from resnet_nb.devices import device_name, resolve_device
from resnet_nb.models import build_model

WORKERS = {"cpu": (2, 4), "cuda": (4, 8)}  # of the usual loop's DataLoader
STEPS = {"cpu": 20, "cuda": 200}  # of a turn
USUAL = {"cpu": {"path": ["eager"], "precision": ["float32"]}, "cuda": {"path": ["eager", "graph"], "precision": ["float32", "bfloat16"]}}


def compare(ours: Loop, other: Loop, rounds: int, steps: int, warm: int) -> dict:
    """Rates in images/s, medians, and the ratio ours / other: minimum, median, maximum over the rounds."""
    ours(warm), other(warm)
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            other_rate = other(steps)
            pairs.append((ours(steps), other_rate))
        else:
            pairs.append((ours(steps), other(steps)))
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    return {
        "ours": round(statistics.median(mine for mine, _ in pairs), 1),
        "other": round(statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": [round(r, 3) for r in (ratios[0], statistics.median(ratios), ratios[-1])],
    }


def loops_of(model: str, images: Images, device: torch.device, options: argparse.Namespace) -> dict[tuple[str, str], Loop]:
    """The loops to be compared, by name and precision."""
    loops = {}
    for precision in options.precision:
        for path in options.path:
            loops[path, precision] = our_loop(model, images, device, precision, path)
        if options.beside > 1:
            how = "graphs" if device.type == "cuda" else "processes, a thread each"
            loops[f"{options.beside} {how}", precision] = side_by_side(model, images, device, precision, options.beside)
    return loops


def time_model(model: str, images: Images, device: torch.device, options: argparse.Namespace) -> list[dict]:
    """Compare every loop of a model with the usual one, print a line each, and return them."""
    rows = []
    others = {f"usual loop, {n} workers": usual_loop(model, images, n, device) for n in WORKERS[device.type]}
    alone = {"its convolutions alone": convolutions(model, device)}
    print(f"\n{model:40} {'':24} {'images/s':>17} {'ratio: median (min to max)':>28}")
    for (name, precision), ours in loops_of(model, images, device, options).items():
        for other_name, other in (others | (alone if (name, precision) == ("eager", "float32") else {})).items():
            found = compare(ours, other, options.rounds, options.steps, WARM_STEPS[device.type])
            low, median, high = found["ratio"]
            rates = f"{found['ours']:8.0f} {found['other']:8.0f} {median:12.2f} ({low:.2f} to {high:.2f})"
            print(f"{name + ', ' + precision:40} {other_name:24} {rates}", flush=True)
            rows.append({"model": model, "loop": name, "precision": precision, "against": other_name, **found})
    return rows


def with_shares(rows: list[dict], ceilings: Ceilings, device: torch.device) -> list[dict]:
    """The rows with the shares of the ceilings that their own loop's rate needs."""
    works = {model: work_of(build_model(model)) for model in dict.fromkeys(row["model"] for row in rows)}
    found = []
    for row in rows:
        kind = kind_of(row["precision"], device)
        arithmetic, bandwidth = ceilings.shares(works[row["model"]], row["ours"], row["precision"], kind)
        found.append({**row, "arithmetic": kind, "share_of_arithmetic": round(arithmetic, 4), "share_of_bandwidth": round(bandwidth, 4)})
    return found


def print_shares(rows: list[dict], ceilings: Ceilings) -> None:
    """The ceilings, and a line for each loop: its shares of them, at the higher of its comparisons' median rates."""
    arithmetic = ", ".join(f"{speed / 1e9:,.0f} GFLOP/s in {kind}" for kind, speed in ceilings.arithmetic.items())
    print(f"\nmeasured ceilings: {ceilings.bandwidth / 1e9:,.1f} GB/s, {arithmetic}")
    print(f"    by {ceilings.method}, before and after")
    print(f"a step needs at the least 3 x the forward pass's operations, and {sum(PASSES.values())} reads or writes of each convolution's output:")
    best = {(row["model"], row["loop"], row["precision"]): row for row in sorted(rows, key=lambda row: row["ours"])}  # the last of a name stays
    for name, row in best.items():
        share = f"{row['share_of_arithmetic']:6.1%} of the arithmetic ({row['arithmetic']}), {row['share_of_bandwidth']:6.1%} of the bandwidth"
        print(f"{', '.join(name):52} {share}")


def print_floor(rows: list[dict], precision: str) -> None:
    """The table of `ceilings.floor`; the gap is the measured time over the longer of the two others."""
    print(f"\nThe paper's ten networks, 64,000 iterations of {BATCH} images, {precision}: seconds at the least")
    print(f"{'':10} {'MMAC':>8} {'PFLOP':>7} {'arithmetic':>11} {'bandwidth':>10} {'measured':>9} {'gap':>6}")
    for row in rows:
        least = max(row["arithmetic"], row["bandwidth"])
        measured = f"{'':>9} {'':>6}" if row["measured"] is None else f"{row['measured']:9.0f} {row['measured'] / least:5.1f}x"
        counted = f"{row['macs'] / 1e6:8.1f} {row['petaflop']:7.2f} {row['arithmetic']:11.1f} {row['bandwidth']:10.1f}"
        print(f"{row['model']:10} {counted} {measured}".rstrip())


def best_rates(rows: list[dict], precision: str) -> dict[str, float]:
    """The highest rate of each model in a precision, alone or side by side."""
    rates: dict[str, float] = {}
    for row in rows:
        if row["precision"] == precision:
            rates[row["model"]] = max(row["ours"], rates.get(row["model"], 0.0))
    return rates


def read_options() -> tuple[argparse.Namespace, torch.device]:
    """The command line, with what is left out as is usual on the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", nargs="+", default=["resnet20"], help=f"the ten are {' '.join(TEN)}")
    parser.add_argument("--path", nargs="+", choices=PATHS, help="how the step is taken; compiling takes minutes for a deep net")
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"))
    parser.add_argument("--beside", type=int, default=2, help="nets at once; 1: none")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = resolve_device(options.device)
    if device.type not in USUAL:
        parser.error(f"there are no graphs or streams to time on {device}: choose --device cpu or cuda")
    for name, usual in {**USUAL[device.type], "steps": STEPS[device.type]}.items():
        setattr(options, name, getattr(options, name) or usual)
    if device.type == "cpu" and not set(options.path) <= set(CPU_PATHS):
        parser.error(f"a graph needs a GPU: on a CPU choose --path {' or '.join(CPU_PATHS)}")
    return options, device


def main() -> None:
    options, device = read_options()
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # 4 workers on 2 cores are one of the questions
    print(f"{device_name(device)}, batch {BATCH}, {torch.get_num_threads()} CPU threads, torch {torch.__version__}")
    before = measure(device, options.precision)
    images = random_images()
    timed = [row for model in options.model for row in time_model(model, images, device, options)]
    ceilings = before.or_higher(measure(device, options.precision))
    rows = with_shares(timed, ceilings, device)
    print_shares(rows, ceilings)
    floors = {}
    if options.floor:
        for precision in options.precision:
            floors[precision] = floor(ceilings, precision, kind_of(precision, device), best_rates(rows, precision))
            print_floor(floors[precision], precision)
    if options.json:
        found = {"device": device_name(device), "torch": torch.__version__, "ceilings": vars(ceilings), "rows": rows, "floors": floors}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
