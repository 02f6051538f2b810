"""Published errors of ResNet-50, -101 and -152 on ImageNet, each beside its test protocol, and which of them later papers compared themselves with.

Each row names its fact; no number is typed here. A number that its fact has in prose alone is taken out by a pattern, or the row says that it is
missing. Facts that repeat a number of another fact have no row.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from resnet_nb.errors import InputError
from resnet_nb.published.loader import Fact, document, fact, facts
from resnet_nb.published.tables import NOT_STATED

DEPTHS = (50, 101, 152)
PROTOCOLS = ("1-crop", "10-crop", "multi-scale")  # section 3.4 of the paper, from the cheapest to the dearest
COLUMNS = [
    "fact_id", "depth", "source_label", "group", "year", "protocol", "details", "recipe", "weights", "top1", "top5", "std", "runs", "verified",
]  # fmt: skip
COMPARISONS = ["paper", "year", "net", "value", "whose", "protocol", "fact_id", "verified"]


class Source(NamedTuple):
    """Who printed a number. group: sources that a figure draws alike; recipe, weights: as `imagenet_by_protocol` explains them."""

    label: str
    group: str
    recipe: str
    weights: str = "own"


# "2015": trained once, by the paper's authors. "re-trained": close to that recipe (SGD, steps of the rate, about 90 to 120 epochs), with the
# augmentation of fb.resnet.torch in most. "later recipe": what came after, such as label smoothing, mixup, cosine schedules, hundreds of epochs.
PAPER = Source("He et al. 2015", "the original", "2015", "original")
REPOSITORY = Source("author's repository", "the original", "2015", "original")
PREACT = Source("pre-activation paper", "the original, tested again", "2015", "original")
FB = Source("fb.resnet.torch", "fb.resnet.torch", "re-trained")
TORCHVISION = Source("torchvision V1", "torchvision", "re-trained")
CONVERSIONS = {
    "khe.cntk": Source("CNTK conversion", "the original, tested again", "2015", "original"),
    "khe.tensorpack": Source("tensorpack conversion", "the original, tested again", "2015", "original"),
    "khe.tfslim": Source("TensorFlow's list", "the original, tested again", "2015", "original"),
}
RETRAININGS = {
    "re.cvjena2016": (Source("CVJena", "other re-trainings", "re-trained"), ""),
    "re.tornadomeet2016": (Source("tornadomeet", "other re-trainings", "re-trained"), "pre-activation"),
    "re.tensorpack_old": (Source("tensorpack, older", "other re-trainings", "re-trained"), "pre-activation"),
    "re.tensorpack_new": (Source("tensorpack", "other re-trainings", "re-trained"), ""),
    "re.resnext2016": (Source("ResNeXt's baseline", "other re-trainings", "re-trained"), ""),
    "re.goyal_256": (Source("Goyal et al.", "other re-trainings", "re-trained"), "mini-batch 256"),
    "re.goyal_8k": (Source("Goyal et al., 8k", "other re-trainings", "re-trained"), "mini-batch 8192"),
    "re.senet": (Source("SENet's baseline", "other re-trainings", "re-trained"), ""),
    "re.bag_base": (Source("Bag of Tricks, baseline", "other re-trainings", "re-trained"), ""),
    "re.bag_final": (Source("Bag of Tricks", "later recipes", "later recipe"), "ResNet-50-D"),
    "re.rsb_a1_paper": (Source("ResNet strikes back", "later recipes", "later recipe"), "A1"),
}
# timm's results carry the training in a tag. tv: torchvision's V1 weights tested once more. gluon: GluonCV, of the authors of Bag of Tricks.
TIMM = {
    "tv": Source("timm, torchvision V1", "torchvision", "re-trained"),
    "tv2": Source("timm, torchvision V2", "later recipes", "later recipe"),
    **{tag: Source(f"timm {tag}", "later recipes", "later recipe") for tag in ("a1", "a1h", "a2", "a3", "b1k", "c1", "d", "gluon")},
    "fb_swsl_ig1b_ft": Source("timm swsl", "later recipes", "later recipe"),
}
TIMM_DETAILS = {"fb_swsl_ig1b_ft": "pre-trained on a billion other images"}  # the fact re.swsl


def imagenet_by_protocol() -> pd.DataFrame:
    """Every published error of ResNet-50, -101 and -152 on ImageNet's validation set, a row each; top1, top5, std in percent.

    Columns: fact_id; depth; source_label, short; group: sources of one kind; year, missing where the facts do not have it; protocol, one of
    PROTOCOLS or "not stated"; details: sizes and what else differs, such as another crop, pre-activation or ResNet-50-D; recipe: "2015" (the
    authors' training), "re-trained" (close to it) or "later recipe"; weights: "original", whoever tested them, or "own"; top1; top5, std over
    runs and number of runs where printed, else missing; verified. Accuracies are turned into errors, to their printed decimals.
    """
    rows = [*_original(), *_conversions(), *_fb(), *_torchvision(), *_timm(), *_retrainings(), *_in_papers_on_other_nets()]
    types = {"year": "Int64", "top1": "float64", "top5": "float64", "std": "float64", "runs": "Int64"}
    return pd.DataFrame(rows, columns=COLUMNS).astype(types)


def _row(source: Source, known: Fact, depth: int, errors: dict[str, float], details: str = "", **more: Any) -> dict[str, Any]:
    words = _tested(known)
    values = {"year": _year(known), "protocol": _protocol(words), "details": _joined(details, _sizes(words)), "verified": known.verified}
    whole = {"fact_id": known.id, "depth": depth, "source_label": source.label, "group": source.group}
    return whole | values | {"recipe": source.recipe, "weights": source.weights} | {"std": None, "runs": None, "top5": None} | errors | more


def _original() -> Iterator[dict[str, Any]]:
    for depth in DEPTHS:
        for id, source in (("kh1.resnet", REPOSITORY), ("kh10.resnet", REPOSITORY), ("t3.resnet", PAPER), ("t4.resnet", PAPER)):
            known = fact(f"{id}{depth}")
            yield _row(source, known, depth, _errors(known))
    known = fact("v.preact.base320")
    yield _row(PREACT, known, 152, _errors(known))


def _conversions() -> Iterator[dict[str, Any]]:
    """The released weights in other frameworks. Their top-5 errors stand in the unit, in the order of the nets."""
    for id, source in CONVERSIONS.items():
        known = fact(id)
        fifth = re.search(r"top-5 ([\d.]+) / ([\d.]+) / ([\d.]+)", known.unit)
        accuracy = "accuracy" in known.unit
        details = "that these are the original's weights is from memory" if "from memory" in (known.note or "") else ""
        for place, (net, value) in enumerate(known.value.items(), start=1):
            errors = {"top1": _complement(value) if accuracy else value, "top5": float(fifth[place]) if fifth else None}
            yield _row(source, known, _depth(net), errors, details)


def _fb() -> Iterator[dict[str, Any]]:
    for depth in DEPTHS:
        for id in (f"fb1.{depth}", f"fb10.{depth}"):
            known = fact(id)
            yield _row(FB, known, depth, _errors(known))
    blog = fact("fbb.r50")  # three trainings: batch norm after the convolution or the addition, and the stride's place
    for key, value in blog.value.items():
        norm, stride = key.split("_")
        details = f"batch norm after the {dict(conv='last convolution', add='addition')[norm]}, stride on the {stride}"
        yield _row(FB._replace(label="fb.resnet.torch, blog"), blog, 50, {"top1": value}, details, protocol=_protocol(blog.section))


def _torchvision() -> Iterator[dict[str, Any]]:
    later = Source("torchvision V2", "later recipes", "later recipe")
    older = TORCHVISION._replace(label="torchvision V1, old page")
    for depth in DEPTHS:
        names = {f"tvold.resnet{depth}": older, f"tv.resnet{depth}.IMAGENET1K_V1": TORCHVISION, f"tv.resnet{depth}.IMAGENET1K_V2": later}
        for id, source in names.items():
            known = fact(id)
            yield _row(source, known, depth, _errors(known))


def _timm() -> Iterator[dict[str, Any]]:
    for known in facts("torchvision_timm"):
        net = re.fullmatch(r"timm\.resnet(v2_)?(50|101|152)\.(\w+)_in1k@\d+", known.id)
        if net:
            details = _joined("pre-activation" if net[1] else "", TIMM_DETAILS.get(net[3], ""))
            yield _row(TIMM[net[3]], known, int(net[2]), _errors(known), details)


def _retrainings() -> Iterator[dict[str, Any]]:
    for id, (source, details) in RETRAININGS.items():
        known = fact(id)
        yield _row(source, known, 50, _errors(known), details)
    goyal, source = fact("re.goyal_8k"), RETRAININGS["re.goyal_8k"][0]
    for start in ("no warm-up", "constant warm-up"):
        mean, std = _numbers(rf"{start} ([\d.]+) \+- ([\d.]+)", goyal.note, goyal)
        yield _row(source, goyal, 50, {"top1": mean, "std": std}, f"mini-batch 8192, {start}")
    tensorpack, source = fact("re.tensorpack_new"), RETRAININGS["re.tensorpack_new"][0]
    for depth in (101, 152):
        (error,) = _numbers(rf"ResNet-18.*-{depth} ([\d.]+)", tensorpack.note, tensorpack)
        yield _row(source, tensorpack, depth, {"top1": error})


def _in_papers_on_other_nets() -> Iterator[dict[str, Any]]:
    """What papers on other nets trained for themselves; ResNeXt's ResNet-50 is the fact re.resnext2016."""
    known = fact("v.resnext.base")
    yield _row(RETRAININGS["re.resnext2016"][0], known, 101, {"top1": known.value["r101"]})
    known = fact("v.preact.r152")
    yield _row(Source("pre-activation paper", "other re-trainings", "re-trained"), known, 152, _errors(known), "pre-activation")


def _errors(known: Fact) -> dict[str, float]:
    """top1, and what else is printed of top5, std and runs; errors in percent, whether the fact has errors or accuracies."""
    value = known.value if isinstance(known.value, dict) else {"acc1" if "accuracy" in known.unit else "top1": known.value}
    if "acc1" in value:
        value = {"top1": value.get("err1", _complement(value["acc1"]))} | ({"top5": _complement(value["acc5"])} if "acc5" in value else {})
    if "mean" in value:
        value = {"top1": value["mean"], "std": value["std"], "runs": value["runs"]}
    return {key: value[key] for key in ("top1", "top5", "std", "runs") if key in value}


def _complement(accuracy: float) -> float:
    return round(100 - accuracy, 3)  # three decimals are the most that any of them has


def _tested(known: Fact) -> str | dict:
    """How a fact's number was measured: torchvision and timm have it in numbers, the others in a sentence, or beside the unit."""
    words = known.extra.get("protocol", known.unit)
    return fact("re.goyal_256").extra["protocol"] if words == "as above" else words  # the fact above re.goyal_8k, of the same paper


def _protocol(words: str | dict) -> str:
    if isinstance(words, dict):
        return {1: "1-crop", 10: "10-crop"}[words["crops"]]
    forms = (("multi-scale", r"fully-convolutional|multi-scale"), ("10-crop", r"\b10[ -]crop"), ("1-crop", r"\b(1|single|centre)\b.*crop|1crop"))
    return next((name for name, pattern in forms if re.search(pattern, words)), NOT_STATED)


def _sizes(words: str | dict) -> str:
    if not isinstance(words, dict):
        return "" if words.startswith("%") else words.removesuffix(", ImageNet validation")  # a unit names no size
    resize = words.get("resize") or math.floor(words["size"] / words["crop_pct"])  # as timm rounds
    return _joined(f"resize {resize}, crop {words.get('crop') or words['size']}", words.get("interp", ""))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _year(known: Fact) -> int | None:
    """From the arXiv id, the source, the paper's own entry, or the repository's first commit; conversions, torchvision's and timm's have none."""
    arxiv, named = known.extra.get("arxiv"), re.search(r"\((20\d\d)\)", known.source)
    if arxiv or named:
        return 2000 + int(arxiv[:2]) if arxiv else int(named[1])
    paper = _paper(known)
    if paper:
        return paper["year"]
    if known.file == "paper_imagenet":
        return document("paper_imagenet")["meta"]["year"]
    first = {"kaiming_repo": "khh.created", "fb_resnet_torch": "fbh.first"}.get(known.file)
    return int(fact(first).value[:4]) if first and known.id not in CONVERSIONS else None


def _paper(known: Fact) -> dict[str, Any] | None:
    """The entry of the paper that a fact of variants.yaml is in."""
    papers = document("variants")["variants"] if known.file == "variants" else []
    return next((paper for paper in papers if known.section.startswith(f"{paper['name']}: ")), None)


def _depth(net: str) -> int:
    return int(re.search(r"\d+$", net)[0])


def _numbers(pattern: str, words: str, known: Fact) -> list[float]:
    """The numbers that `pattern` finds in a fact's prose, so that a fact which is written anew is not misread."""
    found = re.search(pattern, words)
    if not found:
        raise InputError(f"The fact {known.id} no longer reads as {pattern!r}: adapt the pattern in resnet_nb/published/protocols.py.")
    return [float(number) for number in found.groups()]


ORIGINAL, TORCH, OWN, LIBRARY = "the original's", "fb.resnet.torch's", "its own", "torchvision's"

# fact, key of the number in its value, net, and whose number it is, as the fact's note has it
QUOTED = (
    ("v.preact.base224", "top1", "ResNet-152", ORIGINAL),
    ("v.preact.base320", "top1", "ResNet-152", ORIGINAL),
    ("v.wrn.base", "r50", "ResNet-50", TORCH),
    ("v.wrn.base", "r101", "ResNet-101", TORCH),
    ("v.wrn.base", "r152", "ResNet-152", TORCH),
    ("v.densenet.base", None, "ResNets, in a figure", TORCH),
    ("v.resnext.base", "r50", "ResNet-50", OWN),
    ("v.resnext.base", "r101", "ResNet-101", OWN),
    ("v.dpn.base", "r101", "ResNet-101", "ResNeXt's"),
    ("v.shuf2.base", None, "ResNet-50", TORCH),
    ("v.r2n.base50", "top1", "ResNet-50", LIBRARY),
    ("v.r2n.base101", "top1", "ResNet-101", LIBRARY),
)


def against_original(table: pd.DataFrame) -> pd.DataFrame:
    """Others' errors less the original's under the same protocol: columns of `table`, difference (points).

    table: `imagenet_by_protocol()`. Rows: what was trained anew with a recipe of that time, and the original's weights tested again; checked at their
    source, with crops of 224 pixels; torchvision's weights once, as torchvision prints them. The original's own 10-crop errors are Table 3's.
    """
    own = table["fact_id"].str.match(r"kh1\.|t3\.|t4\.")
    original = table[own].set_index(["depth", "protocol"])["top1"].rename("original")
    repeated = table["fact_id"].str.match(r"kh10\.|tvold\.|timm\.") | table["details"].str.contains("320")
    kept = table[~own & ~repeated & table["verified"] & (table["recipe"] != "later recipe") & table["protocol"].isin(PROTOCOLS)]
    rows = kept.join(original, on=["depth", "protocol"])
    return rows.assign(difference=rows["top1"] - rows["original"]).drop(columns="original").reset_index(drop=True)


def compared_with() -> pd.DataFrame:
    """Which number of ResNet-50, -101 or -152 later papers compared themselves with, a row each, by year.

    Columns: paper; year; net; value: top-1 error in percent, missing where the fact gives none; whose: "the original's", "fb.resnet.torch's",
    "torchvision's", "ResNeXt's" or "its own"; protocol; fact_id; verified. Papers that compare with no ResNet have no row.
    """
    rows = [*_quoted(), *_large_batch(), *_senet(), *_bag_of_tricks()]
    table = pd.DataFrame(rows, columns=COMPARISONS).astype({"year": "Int64", "value": "float64"})
    return table.sort_values("year", kind="stable", ignore_index=True)


def _comparison(known: Fact, paper: str, net: str, value: float | None, whose: str, **more: Any) -> dict[str, Any]:
    words = _tested(known)
    size = re.search(r"crop (320)x", words)
    protocol = _protocol(words) + (f" of {size[1]}" if size else "")
    whole = {"paper": paper, "year": _year(known), "net": net, "value": value, "whose": whose, "protocol": protocol}
    return whole | {"fact_id": known.id, "verified": known.verified} | more


def _quoted() -> Iterator[dict[str, Any]]:
    for id, key, net, whose in QUOTED:
        known = fact(id)
        value = known.value[key] if key else None if isinstance(known.value, str) else known.value
        yield _comparison(known, _paper(known)["name"], net, value, whose)


def _large_batch() -> Iterator[dict[str, Any]]:
    """Its quotations stand in one sentence; that they are of one crop is what D02 of the claims says."""
    known = fact("re.goyal_reference")
    torch, original = _numbers(r"fb\.resnet\.torch ([\d.]+) and the original ([\d.]+)", known.value, known)
    for value, whose in ((original, ORIGINAL), (torch, TORCH)):
        yield _comparison(known, "Goyal et al.", "ResNet-50", value, whose, protocol=PROTOCOLS[0])
    own = fact("re.goyal_256")
    yield _comparison(own, "Goyal et al.", "ResNet-50", own.value["mean"], OWN)


def _senet() -> Iterator[dict[str, Any]]:
    """Its column of original values is known from memory alone."""
    known = fact("re.senet")
    original, _ = _numbers(r"its values ([\d.]+)/([\d.]+) are from memory", known.note, known)
    yield _comparison(known, "SENet", "ResNet-50", original, ORIGINAL, verified=False)
    yield _comparison(known, "SENet", "ResNet-50", known.value["top1"], OWN)


def _bag_of_tricks() -> Iterator[dict[str, Any]]:
    """Its quotation is an accuracy, and the fact's note says that it is that of one crop."""
    known = fact("re.bag_quote")
    yield _comparison(known, "Bag of Tricks", "ResNet-50", _errors(known)["top1"], ORIGINAL, protocol=_protocol(known.note))
    own = fact("re.bag_base")
    yield _comparison(own, "Bag of Tricks", "ResNet-50", _errors(own)["top1"], OWN)
