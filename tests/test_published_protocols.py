"""Each published error stands beside the protocol of its fact, none is forgotten, and later papers are said to quote what they quote."""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pandas as pd
import pytest
import yaml

from resnet_nb import published
from resnet_nb.errors import InputError
from resnet_nb.published import protocols

FOLDER = resources.files("resnet_nb.published")
NETS = re.compile(r"(?<![a-z])(?:resnet(?:v2_)?-?|r|fb1\.|fb10\.|crop\.)(50|101|152)(?![0-9])", re.IGNORECASE)


def entries(part: Any) -> Iterator[dict]:
    """Every mapping with an id and a value, wherever it stands: found without the loader."""
    if isinstance(part, dict):
        if "id" in part and "value" in part:
            yield part
        part = list(part.values())
    for value in part if isinstance(part, list) else []:
        yield from entries(value)


RAW = {entry["id"]: entry for file in published.files() for entry in entries(yaml.safe_load((FOLDER / f"{file}.yaml").read_text(encoding="utf-8")))}
TABLE = published.imagenet_by_protocol()

# fact, depth, protocol, top1, top5, recipe, weights: read off the files by eye
BY_HAND = [
    ("t3.resnet50", 50, "10-crop", 22.85, 6.71, "2015", "original"),
    ("t4.resnet50", 50, "multi-scale", 20.74, 5.25, "2015", "original"),
    ("t4.resnet101", 101, "multi-scale", 19.87, 4.60, "2015", "original"),
    ("t4.resnet152", 152, "multi-scale", 19.38, 4.49, "2015", "original"),
    ("kh1.resnet50", 50, "1-crop", 24.7, 7.8, "2015", "original"),
    ("kh10.resnet152", 152, "10-crop", 21.4, 5.7, "2015", "original"),
    ("v.preact.base320", 152, "1-crop", 21.3, 5.5, "2015", "original"),
    ("khe.cntk", 101, "1-crop", 23.56, 7.12, "2015", "original"),
    ("khe.tensorpack", 152, "1-crop", 23.28, 6.81, "2015", "original"),
    ("khe.tfslim", 50, "not stated", 24.8, None, "2015", "original"),
    ("fb1.101", 101, "1-crop", 22.44, 6.21, "re-trained", "own"),
    ("fb10.50", 50, "10-crop", 22.24, 6.08, "re-trained", "own"),
    ("tv.resnet50.IMAGENET1K_V1", 50, "1-crop", 23.87, 7.138, "re-trained", "own"),
    ("tv.resnet152.IMAGENET1K_V2", 152, "1-crop", 17.716, 3.998, "later recipe", "own"),
    ("timm.resnet101.gluon_in1k@224", 101, "1-crop", 20.694, 5.462, "later recipe", "own"),
    ("re.cvjena2016", 50, "1-crop", 24.6, 7.6, "re-trained", "own"),
    ("re.senet", 50, "1-crop", 24.8, 7.48, "re-trained", "own"),
    ("re.tensorpack_new", 152, "1-crop", 21.51, None, "re-trained", "own"),
    ("re.bag_final", 50, "1-crop", 20.71, 5.37, "later recipe", "own"),
    ("re.rsb_a1_paper", 50, "1-crop", 19.6, None, "later recipe", "own"),
    ("v.resnext.base", 101, "1-crop", 22.0, None, "re-trained", "own"),
]  # fmt: skip

# Facts without a row: those that repeat a number of another fact, and those that are no top-1 error.
REPEATING = {
    "tp.r50", "tp.r101", "tp.r152", "fbc.10crop.50", "fbc.10crop.101", "fbc.10crop.152", "fbc.1crop.50", "fbc.1crop.101", "fbc.1crop.152",
    "re.he2015", "re.fb2016", "re.bag_quote", "re.rsb_a1_timm", "re.rsb_a2_a3", "re.tv_v1", "re.tv_v2", "re.swsl", "bs.r50", "v.resnet.ladder",
    "v.preact.base224", "v.wrn.base", "v.shuf2.base", "v.r2n.base50", "v.r2n.base101", "v.dpn.base", "v.resnext.noshortcut",
}  # fmt: skip
NO_ERROR = {
    "tp.top5": "top-5 errors of the tables above", "khe.spread": "ranges over the conversions", "fbb.compare": "the same errors to one decimal",
}  # fmt: skip
ELSE = {"difference", "std", "runs", "r50_without", "x50_with", "x50_without", "r200", "preresnet200", "densenet161", "x101_64x4d"}


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for key, part in value.items() if key not in ELSE for number in numbers(part)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize("id, depth, protocol, top1, top5, recipe, weights", BY_HAND)
def test_row_says_what_its_fact_says(id, depth, protocol, top1, top5, recipe, weights):
    (row,) = TABLE[(TABLE["fact_id"] == id) & (TABLE["depth"] == depth)].to_dict("records")
    assert (row["protocol"], row["recipe"], row["weights"], row["top1"]) == (protocol, recipe, weights, top1)
    assert pd.isna(row["top5"]) if top5 is None else row["top5"] == top5


def test_no_error_of_these_nets_is_forgotten():
    """Every fact that names one of the nets beside a percentage has a row, or is known to have no new number; no number of any is missing."""
    speaking = {id for id, entry in RAW.items() if speaks_of_errors(entry)}
    assert len(speaking) > 80 and set(TABLE["fact_id"]) <= speaking
    assert speaking - set(TABLE["fact_id"]) == REPEATING | set(NO_ERROR)
    drawn = [*TABLE["top1"], *TABLE["top5"].dropna()]
    for id in speaking:
        for number in numbers(RAW[id]["value"]):
            assert any(min(abs(number - one), abs(100 - number - one)) < 0.011 for one in drawn), (id, number)


def speaks_of_errors(entry: dict) -> bool:
    """Whether a fact is a percentage of ImageNet and of a net of 50, 101 or 152 layers; what re-trainings are of stands in their section's name."""
    words = " ".join([entry["id"], entry["unit"], str(entry["value"]), entry["source"], entry.get("note", "")])
    percent = "%" in entry["unit"] and "mAP" not in entry["unit"]
    named = NETS.search(re.sub("wide_resnet|res2net|seresnet", "", words)) or entry["id"].startswith(("re.", "tp.", "bs."))
    return percent and bool(named)


def test_scan_would_notice_a_fact_without_a_row():
    entry = {"id": "new.fact", "value": {"top1": 24.0}, "unit": "% error", "source": "a table, ResNet-50"}
    assert speaks_of_errors(entry) and not speaks_of_errors(entry | {"source": "a table, ResNet-34"})
    assert not speaks_of_errors(entry | {"unit": "hours"})


def test_every_number_is_printed_in_its_fact():
    for row in TABLE.to_dict("records"):
        entry = RAW[row["fact_id"]]
        printed = [float(number) for number in re.findall(r"\d+\.\d+", f"{entry['value']} {entry['unit']} {entry.get('note', '')}")]
        for column in ("top1", "top5", "std"):
            assert pd.isna(row[column]) or any(round(number, 3) in printed for number in (row[column], 100 - row[column])), row
        assert row["verified"] is entry["verified"]


def test_three_protocols_of_the_original_are_those_of_the_other_table():
    original = TABLE[(TABLE["group"] == "the original") & ~TABLE["fact_id"].str.startswith("kh10")]
    other = published.three_protocols()
    assert list(original.sort_values(["depth", "top1"], ascending=[True, False])["top1"]) == list(other["error"])


def test_spread_of_five_runs_is_kept():
    row = TABLE[TABLE["fact_id"] == "re.goyal_256"].iloc[0]
    assert (row["top1"], row["std"], row["runs"], row["year"]) == (23.6, 0.12, 5, 2017)
    failed = TABLE[(TABLE["fact_id"] == "re.goyal_8k") & TABLE["runs"].isna()]
    assert list(failed["top1"]) == [24.84, 25.88] and list(failed["std"]) == [0.37, 0.56]


def test_details_tell_sizes_and_other_nets():
    details = TABLE.drop_duplicates("fact_id").set_index("fact_id")["details"]
    assert details["tv.resnet50.IMAGENET1K_V2"] == "resize 232, crop 224"
    assert details["timm.resnet50.a1_in1k@288"] == "resize 288, crop 288; bicubic"
    assert details["timm.resnetv2_50.a1h_in1k@224"] == "pre-activation; resize 235, crop 224; bicubic"
    assert details["re.bag_final"].startswith("ResNet-50-D") and "320x320" in details["v.preact.base320"]
    assert "from memory" in details["khe.tfslim"]


def test_years_are_those_of_the_sources():
    years = TABLE.drop_duplicates("fact_id").set_index("fact_id")["year"]
    known = {"t3.resnet50": 2015, "kh1.resnet50": 2016, "fb10.152": 2016, "re.cvjena2016": 2016, "re.senet": 2017, "re.rsb_a1_paper": 2021}
    assert {id: years[id] for id in known} == known
    assert years[["khe.cntk", "tv.resnet50.IMAGENET1K_V1", "timm.resnet50.a1_in1k@224", "re.tensorpack_new"]].isna().all()


def test_only_the_baseline_of_bag_of_tricks_is_unverified():
    assert list(TABLE.loc[~TABLE["verified"], "source_label"]) == ["Bag of Tricks, baseline"]


def test_prose_that_was_written_anew_is_not_misread():
    known = published.fact("re.goyal_8k")
    with pytest.raises(InputError, match=r"re\.goyal_8k no longer reads as"):
        protocols._numbers(r"no warm-up ([\d.]+) percent", known.note, known)


def test_papers_quote_the_numbers_of_those_that_they_are_said_to_quote():
    quoted = published.compared_with()
    repository = {f"ResNet-{depth}": RAW[f"kh1.resnet{depth}"]["value"]["top1"] for depth in (50, 101, 152)}
    torch = {f"ResNet-{depth}": RAW[f"fb1.{depth}"]["value"]["top1"] for depth in (50, 101, 152)}
    library = {f"ResNet-{depth}": RAW[f"tvold.resnet{depth}"]["value"]["top1"] for depth in (50, 101, 152)}
    for whose, theirs in (("the original's", repository), ("fb.resnet.torch's", torch), ("torchvision's", library)):
        rows = quoted[(quoted["whose"] == whose) & (quoted["protocol"] == "1-crop")].dropna(subset="value")
        assert len(rows) >= 2
        for row in rows.itertuples():
            assert row.value == pytest.approx(theirs[row.net], abs=0.011), row  # ShuffleNet v2 prints 24.0 for 24.01
    disputed = {RAW[f"{table}.resnet{depth}"]["value"]["top1"] for table in ("t3", "t4") for depth in (50, 101, 152)}
    assert not disputed & set(quoted["value"])  # the fact bs.never


def test_comparisons_are_in_order_and_keep_their_doubts():
    quoted = published.compared_with()
    assert quoted["year"].is_monotonic_increasing and set(quoted["protocol"]) == {"1-crop", "1-crop of 320"}
    assert set(quoted.loc[~quoted["verified"], "paper"]) == {"SENet", "Bag of Tricks", "DPN", "Res2Net"}
    assert list(quoted.loc[quoted["value"].isna(), "paper"]) == ["DenseNet"]
    goyal = quoted[quoted["paper"] == "Goyal et al."]
    assert list(goyal["value"]) == [24.7, 24.01, 23.6] and list(goyal["whose"]) == ["the original's", "fb.resnet.torch's", "its own"]
    for row in quoted.itertuples():
        assert RAW[row.fact_id]["verified"] or not row.verified


def test_others_are_held_against_the_original_under_the_same_protocol() -> None:
    table = published.against_original(published.imagenet_by_protocol()).set_index(["fact_id", "protocol"])
    assert table.loc[("fb1.50", "1-crop"), "difference"] == pytest.approx(24.01 - 24.7)
    assert table.loc[("fb10.152", "10-crop"), "difference"] == pytest.approx(20.69 - 21.43)
    assert table.loc[("khe.tensorpack", "1-crop"), "difference"].round(2).tolist() == [0.33, 0.14, 0.28]
    assert table["verified"].all() and not table["recipe"].eq("later recipe").any()
    assert set(table.index.get_level_values("protocol")) == {"1-crop", "10-crop"}
    assert table.index.get_level_values("fact_id").str.startswith("tv").sum() == 3 and "320" not in " ".join(table["details"])
