"""Published numbers as tables for figures and the scoreboard. Each row names its fact; no number is typed here."""

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from resnet_nb.published.loader import Fact, fact

FAMILIES = {"r": "residual", "p": "plain"}
PAPER_TABLE6 = "He et al. 2015, Table 6"
FIGURE6 = "He et al. 2015, Figure 6"
SINGLE_VIEW, NOT_STATED = "1-crop: the whole 32x32 image", "not stated"

# facts whose value is a dict of test errors by net, such as r20 or p56
REIMPLEMENTATIONS = {"ir.aka": "akamaster", "ir.gcr": "gcr (Torch)", "ir.nabla": "nabla0001, 5 runs", "ir.cntk": "CNTK"}
PROTOCOLS = {"c1": "1-crop (repository)", "c10": "10-crop (Table 3)", "multiscale": "multi-scale (Table 4)"}

CIFAR_COLUMNS = [
    "fact_id", "source_label", "family", "depth", "value", "mean", "std", "runs", "bound", "approximate", "verified",
    "protocol", "fault", "caveat", "note",
]  # fmt: skip


def cifar_errors() -> pd.DataFrame:
    """Every published CIFAR-10 test error of the paper's nets, a row each, in percent.

    Columns: fact_id; source_label, short; family ("plain" or "residual"); depth; value, as printed (the best run where
    one was chosen); mean, std and runs where printed, else missing; bound: the value is a lower bound, and one on the
    curve that the paper left out of its Figure 6, not on a printed test error (plain-110 alone); approximate: read off
    a figure or rounded by its source; verified; protocol, in words, "not stated" where the source is silent; fault, of the
    code that trained the net, and caveat, on how it was trained otherwise than in the paper, both where known, else missing; note, on the fact.
    """
    rows = [*_table6(), *_reimplementations(), *_figure6()]
    types = {"value": "float64", "mean": "float64", "std": "float64", "runs": "Int64"}
    return pd.DataFrame(rows, columns=CIFAR_COLUMNS).astype(types)


def _row(known: Fact, label: str, family: str, depth: int, value: float, **more: Any) -> dict[str, Any]:
    usual = {"mean": None, "std": None, "runs": None, "bound": False, "approximate": "approximate" in known.source}
    where = {"fact_id": known.id, "source_label": label, "family": family, "depth": depth, "value": value}
    single = known.source.startswith("paper Table 6") or known.extra.get("protocol") == "single view"
    protocol = SINGLE_VIEW if single else NOT_STATED
    said = {kind: known.extra.get(f"{kind}s", {}).get(f"{family[0]}{depth}") for kind in ("fault", "caveat")}
    return {**usual, **where, **said, "verified": known.verified, "protocol": protocol, "note": known.note, **more}


def _table6() -> Iterator[dict[str, Any]]:
    for depth in (20, 32, 44, 56, 110, 1202):
        known = fact(f"c6.resnet{depth}")
        yield _row(known, PAPER_TABLE6, "residual", depth, known.value, **known.extra.get("mean_std", {}))


def _reimplementations() -> Iterator[dict[str, Any]]:
    for id, label in REIMPLEMENTATIONS.items():
        known = fact(id)
        runs = re.search(r"mean of (\d+) runs", known.source)
        for net, value in known.value.items():
            spread = {"mean": value, "std": known.extra["std"][net], "runs": int(runs[1])} if runs else {}
            yield _row(known, label, FAMILIES[net[0]], int(net[1:]), value, **spread)
    blog = fact("ir.torchblog")  # by the author of "ir.gcr", on the same experiments
    yield _row(blog, REIMPLEMENTATIONS["ir.gcr"], "residual", 110, blog.value)


def _figure6() -> Iterator[dict[str, Any]]:
    for depth in (20, 32, 44, 56):
        known = fact(f"f6.plain{depth}_testerr")
        yield _row(known, FIGURE6, "plain", depth, known.value, approximate=True, protocol=SINGLE_VIEW)
    known = fact("f6.plain110")
    yield _row(known, FIGURE6, "plain", 110, known.value, bound=True, note=known.unit)


def imagenet_table2() -> pd.DataFrame:
    """The paper's Table 2: columns fact_id, family, depth, error (top-1, percent), protocol, verified."""
    rows = []
    for family, name in (("plain", "plain"), ("residual", "resnet")):
        for depth in (18, 34):
            known = fact(f"t2.{name}{depth}")
            rows.append((known.id, family, depth, known.value["top1"], known.extra["protocol"], known.verified))
    return pd.DataFrame(rows, columns=["fact_id", "family", "depth", "error", "protocol", "verified"])


def three_protocols() -> pd.DataFrame:
    """The same nets under three protocols: columns depth, protocol (in order), error (top-1, %), verified, fact_id."""
    rows = []
    for depth in (50, 101, 152):
        known = fact(f"tp.r{depth}")
        rows += [(depth, label, known.value[key], known.verified, known.id) for key, label in PROTOCOLS.items()]
    return pd.DataFrame(rows, columns=["depth", "protocol", "error", "verified", "fact_id"])
