"""Reference values for those who port the nets to another framework: the rule for weights and batch, the stored values, and how to compare one's own.

The rule needs integers alone. One sequence, x[0] = 48271 and x[n + 1] = 48271 x[n] mod p with p = 2^31 - 1, which C++ calls std::minstd_rand (its
10,000th value is 399268537), gives, in this order:

- the bytes of 16 images (16, 3, 32, 32), each floor(256 x / p), the last axis running fastest;
- the 16 labels, floor(10 x / p);
- the weights of the convolutions in the order in which the net applies them, (out, in, 3, 3), then the classifier's, (10, in), each
  (2 x / p - 1) sqrt(6 / fan-in): uniform, with the variance 2 / fan-in of He et al. (2015, arXiv 1502.01852, eq. 10). A convolution's fan-in is
  9 in, the classifier's is in.

The classifier's biases and all offsets are 0, the scales 1. The net sees (byte - mean) / 255, with the mean of that pixel and channel over the 16
images. docs/reference.md has the recipe of the eleven steps. Nothing here needs torch; `reference_runs` computes the values.
"""

import json
import math
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from resnet_nb.errors import InputError

MULTIPLIER, MODULUS = 48271, 2**31 - 1  # Park, Miller and Stockmeyer 1993; products stay under 2^62, and with one factor the multiplier under 2^47
IMAGES = (16, 3, 32, 32)
PRECISIONS = ("float64", "float32")
KEPT = ("logits", "losses", "gradient_norms", "weight_norms", "evaluation_loss")
OTHERS = ("rate", "tolerance")  # what an entry of the stored file holds beside them, and a copy of it may hold too
PLACE = {
    "first_convolution": "the first convolution", "convolutions": "all convolutions", "scales": "all scales", "offsets": "all offsets",
    "classifier": "the classifier's weights", "classifier_bias": "the classifier's biases",
}  # fmt: skip


def draws(count: int) -> np.ndarray:
    """The first `count` values of the rule's sequence, int64 in 1 to 2^31 - 2."""
    values = np.array([MULTIPLIER])
    while len(values) < count:  # the n-th value is the n-th power of the multiplier, so that the next n are these times the last
        values = np.concatenate([values, values * values[-1] % MODULUS])
    return values[:count]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """The rule's images, (16, 3, 32, 32) uint8, and labels, (16,) int64."""
    pixels = math.prod(IMAGES)
    values = draws(pixels + IMAGES[0])
    return (values[:pixels] * 256 // MODULUS).astype(np.uint8).reshape(IMAGES), values[pixels:] * 10 // MODULUS


def weights(shapes: Sequence[tuple[int, ...]], fan_axis: int = 1) -> list[np.ndarray]:
    """The rule's weights, float64, for convolutions (out, in, k, k) and a classifier (classes, in) in the order of `shapes`.

    fan_axis: 1 for the fan-in that the rule says, 0 for the fan-out.
    """
    skipped = math.prod(IMAGES) + IMAGES[0]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    values = draws(skipped + int(ends[-1]))[skipped:]
    parts = np.split((2 * values - MODULUS) / MODULUS, ends[:-1])
    return [part.reshape(shape) * math.sqrt(6 / (shape[fan_axis] * math.prod(shape[2:]))) for part, shape in zip(parts, shapes, strict=True)]


def load() -> dict:
    """The stored values: {"nets": {model: {"rate", the values named in KEPT, "tolerance": {precision: as the values}}}, "mistakes": [...]}.

    A mistake is {"does": in words, and the values of resnet20 with it}. Tolerances are absolute.
    """
    return json.loads((resources.files(__package__) / "reference_values.json").read_text(encoding="utf-8"))


def flat(values: dict) -> dict[str, float]:
    """The values of one net, or its tolerances, one number to a name in words, in the order in which a run meets them. What is absent is left out."""
    losses = {f"the loss at step {step}": loss for step, loss in enumerate(values.get("losses", ()))}
    named = {f"score {number} of the first image at step 0": score for number, score in enumerate(values.get("logits", ()))}
    named |= dict(list(losses.items())[:1])
    named |= {f"the norm of the gradient of {PLACE[part]} at step 0": norm for part, norm in values.get("gradient_norms", {}).items()}
    named |= dict(list(losses.items())[1:])
    named |= {f"the norm of {PLACE[part]} after step 10": norm for part, norm in values.get("weight_norms", {}).items()}
    return named | ({"the loss in evaluation mode after step 10": values["evaluation_loss"]} if "evaluation_loss" in values else {})


def read_own(path: Path, stored: dict) -> tuple[dict[str, dict], str]:
    """One's own values, {model: any of those in KEPT}, and their precision, from a file laid out as the stored one; fewer losses may be given.

    Raises InputError naming what is wrong with the file: unreadable, an unknown net or value, something that is no number, nothing to compare.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise InputError(f"{path} cannot be read ({error}): give a JSON file laid out as `resnet-nb reference --json` prints it.") from error
    nets = content.get("nets") if isinstance(content, dict) else None
    if not isinstance(nets, dict) or not nets:
        raise InputError(f'{path} holds no nets: write {{"nets": {{"resnet20": {{"losses": [...]}}}}}}.')
    precision = content.get("precision", "float64")
    if precision not in PRECISIONS:
        raise InputError(f"{path}: the precision is {precision!r}; write one of {', '.join(PRECISIONS)}.")
    for model, values in nets.items():
        if model not in stored["nets"]:
            raise InputError(f"{path}: there are no values for {model!r}; there are for {', '.join(stored['nets'])}.")
        _check(f"{path}, {model}", values, stored["nets"][model])
    return {model: {name: values[name] for name in KEPT if name in values} for model, values in nets.items()}, precision


def _check(where: str, values: object, like: dict) -> None:
    """Raise InputError unless `values` are some of those of `like`, in its layout, and at least one of them."""
    if not isinstance(values, dict) or not any(values.get(name) not in (None, [], {}) for name in KEPT):
        raise InputError(f"{where}: nothing to compare; give any of {', '.join(KEPT)}.")
    for name, given in values.items():
        if name in OTHERS:
            continue
        if name not in KEPT:
            raise InputError(f"{where}: unknown value {name!r}; give any of {', '.join(KEPT)}.")
        wanted = like[name]
        if isinstance(wanted, dict):
            fits = isinstance(given, dict) and given.keys() <= wanted.keys() and all(map(_is_number, given.values()))
            layout = f"an object with numbers for any of {', '.join(wanted)}"
        elif isinstance(wanted, list):
            fits = isinstance(given, list) and len(given) <= len(wanted) and all(map(_is_number, given))
            layout = f"a list of at most {len(wanted)} numbers"
        else:
            fits, layout = _is_number(given), "a number"
        if not fits:
            raise InputError(f"{where}: {name} is not {layout}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def departure(own: dict, values: dict, tolerance: dict) -> str | None:
    """The name, as `flat` has it, of the first value that is further from `values` than the tolerance, or not a number; None if all agree."""
    own, values, tolerance = flat(own), flat(values), flat(tolerance)
    return next((name for name in values if name in own and not abs(own[name] - values[name]) <= tolerance[name]), None)


def compare(own: dict[str, dict], precision: str, stored: dict) -> list[dict]:
    """For each net: {"model", "compared": how many values, "departs": the first that disagrees, or None, "own", "reference", "tolerance": there,
    "mistakes": those that fit further, in words, "fits_until": where the best of these departs in its turn, None if nowhere}.
    """
    return [_compared(model, values, precision, stored) for model, values in own.items()]


def _compared(model: str, own: dict, precision: str, stored: dict) -> dict:
    entry = stored["nets"][model]
    tolerance = entry["tolerance"][precision]
    names = [name for name in flat(entry) if name in flat(own)]
    first = departure(own, entry, tolerance)
    found = {"model": model, "compared": len(names), "departs": first, "mistakes": [], "fits_until": None}
    if first is None:
        return found
    found |= {"own": flat(own)[first], "reference": flat(entry)[first], "tolerance": flat(tolerance)[first]}
    if model == "resnet20":  # the mistakes were made on it alone
        reached = {mistake["does"]: departure(own, mistake, tolerance) for mistake in stored["mistakes"]}
        places = {does: len(names) if name is None else names.index(name) for does, name in reached.items()}
        best = max(places.values())
        if best > names.index(first):
            found["mistakes"] = [does for does, place in places.items() if place == best]
            found["fits_until"] = names[best] if best < len(names) else None
    return found


def verdicts(found: Sequence[dict]) -> Iterator[str]:
    """What `compare` found, a sentence or two for each net."""
    for net in found:
        if net["departs"] is None:
            yield f"{net['model']}: all {net['compared']} values agree."
            continue
        yield (
            f"{net['model']}: {net['departs']} is {net['own']:.12g} and should be {net['reference']:.12g}, to within {net['tolerance']:.1g}; "
            "what comes before it agrees."
        )
        if net["mistakes"]:
            until = f" until {net['fits_until']}, where something else differs too" if net["fits_until"] else " to the end"
            yield f"  This fits{until}: {'; or '.join(net['mistakes'])}."
        elif net["model"] == "resnet20":
            yield "  None of the usual mistakes gives this."
        else:
            yield "  The usual mistakes are known for resnet20: compare that net first."


def lines(stored: dict) -> Iterator[str]:
    """The stored values as a table, each to the digits that its tolerance leaves, and what the usual mistakes give."""
    nets = stored["nets"]
    yield f"{'':46}" + "".join(f"{model:>18}" for model in nets)
    yield f"{'rate of steps 0 to 5':46}" + "".join(f"{entry['rate']:>18g}" for entry in nets.values())
    columns = [(flat(entry), flat(entry["tolerance"]["float64"])) for entry in nets.values()]
    for name in columns[0][0]:
        label = name.removeprefix("the ").replace("norm of the gradient", "gradient")
        yield f"{label:46}" + "".join(f"{_shown(values[name], tolerance[name]):>18}" for values, tolerance in columns)
    yield ""
    yield "The usual mistakes, by the first loss of resnet20 that they change (in float32 they show where the last number says):"
    right = nets["resnet20"]
    yield f"{'step':11}{'with the mistake':>16}{'right':>16}{'float32':>12}"
    for mistake in stored["mistakes"]:
        losses = {name: mistake[name] for name in ("losses", "evaluation_loss")}
        seen, in_float32 = (departure(losses, right, right["tolerance"][precision]) for precision in PRECISIONS)
        yield f"{_place(seen):11}{flat(mistake)[seen]:16.12f}{flat(right)[seen]:16.12f}{_place(in_float32):>12}  {mistake['does']}"


def _shown(value: float, tolerance: float) -> str:
    return f"{value:.{min(12, max(0, math.floor(-math.log10(tolerance))))}f}"


def _place(name: str | None) -> str:
    """Which loss a name of `flat` is: "3", "evaluation", or "nowhere"."""
    if name is None:
        return "nowhere"
    return "evaluation" if "evaluation" in name else name.removeprefix("the loss at step ")
