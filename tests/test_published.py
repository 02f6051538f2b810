"""The published numbers: every file keeps its form, and no accessor changes a number or loses `verified: false`."""

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema
import pandas as pd
import pytest
import yaml

from resnet_nb import figures, published
from resnet_nb.errors import InputError

FOLDER = resources.files("resnet_nb.published")
FILES = published.files()
SCHEMA = json.loads((FOLDER / "facts.schema.json").read_text(encoding="utf-8"))


def text_of(file: str) -> str:
    return (FOLDER / f"{file}.yaml").read_text(encoding="utf-8")


def entries(part: Any) -> Iterator[dict]:
    """Every mapping with an id in a parsed file, wherever it stands: found without the loader."""
    if isinstance(part, dict):
        if "id" in part:
            yield part
        for value in part.values():
            yield from entries(value)
    elif isinstance(part, list):
        for value in part:
            yield from entries(value)


def raw(file: str) -> list[dict]:
    return list(entries(yaml.safe_load(text_of(file))))


RAW_FACTS = {entry["id"]: entry for file in FILES for entry in raw(file) if "value" in entry}


def test_seven_files_travel_with_the_package():
    assert FILES == [
        "dispute", "fb_resnet_torch", "kaiming_repo", "paper_cifar", "paper_imagenet", "torchvision_timm", "variants",
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_file_has_the_form_of_its_schema(file):
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(text_of(file)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda fact: fact.pop("verified"),
        lambda fact: fact.update(verified="yes"),
        lambda fact: fact.update(seen_in=[]),
        lambda fact: fact.update(value=None),
        lambda fact: fact.update(protocoll="1-crop"),
        lambda fact: fact.update(id="c6 resnet20"),
    ],
)
def test_schema_refuses_a_damaged_fact(damage):
    content = yaml.safe_load(text_of("paper_cifar"))
    damage(content["table6"][6])
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


@pytest.mark.parametrize("file", FILES)
def test_file_writes_no_key_twice(file):
    def check(node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            assert max(Counter(key.value for key, _ in node.value).values()) == 1, node.start_mark
            for _, value in node.value:
                check(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                check(value)

    check(yaml.compose(text_of(file)))  # the loader would keep the last one in silence


@pytest.mark.parametrize("file", FILES)
def test_every_copy_in_which_a_number_was_seen_is_described(file):
    described = published.sources(file)
    assert {key for entry in raw(file) for key in entry["seen_in"]} <= set(described)


def test_ids_are_unique_over_all_files():
    counts = Counter(entry["id"] for file in FILES for entry in raw(file))
    assert [id for id, count in counts.items() if count > 1] == []
    assert len(counts) > 500


def test_loader_hands_on_every_fact_whole():
    loaded = [known for file in FILES for known in published.facts(file)]
    assert [known.id for known in loaded] == list(RAW_FACTS)
    for known in loaded:
        own = {key: getattr(known, key) for key in ("id", "value", "unit", "source", "verified")}
        note = {} if known.note is None else {"note": known.note}
        assert {**own, "seen_in": list(known.seen_in), **note, **known.extra} == RAW_FACTS[known.id]
        assert published.fact(known.id) == known


def test_loader_hands_on_every_claim_whole():
    loaded = published.claims()
    assert [claim.id for claim in loaded] == [f"D{number:02}" for number in range(1, 72)]
    for claim, entry in zip(loaded, yaml.safe_load(text_of("dispute"))["claims"], strict=True):
        assert {key: value for key, value in vars(claim).items() if key in entry} == {**entry, "seen_in": claim.seen_in}
        assert list(claim.seen_in) == entry["seen_in"]
        assert "nuance" in entry or claim.nuance is None


def test_fact_knows_where_it_stands():
    assert (published.fact("c6.resnet20").file, published.fact("c6.resnet20").section) == ("paper_cifar", "table6")
    assert published.fact("v.resnext.base").section == "ResNeXt: resnet_baseline_in_that_paper"


def test_reader_of_a_fact_cannot_change_it_for_others():
    published.fact("tp.r50").value["c1"] = 0.0
    assert published.fact("tp.r50").value["c1"] == 24.7


def test_citation_says_when_a_number_was_not_checked():
    for file in FILES:
        for known in published.facts(file):
            assert published.citation(known).endswith(published.loader.UNCHECKED) is not known.verified
            assert known.source in published.citation(known)
    for claim in published.claims():
        assert published.citation(claim).endswith(published.loader.UNCHECKED) is not claim.verified
    assert "Full text of arXiv 1512.03385" in published.citation(published.fact("c6.resnet110"))


def test_unknown_id_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"c6\.resnet111.*did you mean .*c6\.resnet110"):
        published.fact("c6.resnet111")


def test_unknown_file_is_answered_with_the_files():
    for accessor in (published.facts, published.sources):
        with pytest.raises(InputError, match="paper_imagenet"):
            accessor("paper_imagnet")


# Tables


def printed(value: Any) -> set[float]:
    """Every number in the value of a fact."""
    if isinstance(value, dict):
        return set().union(*map(printed, value.values()))
    return {float(value)} if isinstance(value, int | float) else set()


@pytest.mark.parametrize("table", [published.cifar_errors, published.imagenet_table2, published.three_protocols])
def test_tables_hand_on_what_was_not_verified(table):
    for row in table().itertuples():
        assert row.verified is RAW_FACTS[row.fact_id]["verified"]


@pytest.mark.parametrize(
    "table, columns",
    [
        (published.cifar_errors, ["value", "mean", "std"]),
        (published.imagenet_table2, ["error"]),
        (published.three_protocols, ["error"]),
    ],
)
def test_every_number_of_a_table_is_printed_in_its_fact(table, columns):
    for row in table().to_dict("records"):
        entry = RAW_FACTS[row["fact_id"]]
        numbers = printed(entry["value"]) | printed(entry.get("mean_std", {})) | printed(entry.get("std", {}))
        for column in columns:
            assert math.isnan(row[column]) or row[column] in numbers


def test_numbers_stand_at_their_net():
    errors = published.cifar_errors().set_index(["source_label", "family", "depth"])
    paper, nabla = RAW_FACTS["c6.resnet110"], RAW_FACTS["ir.nabla"]
    row = errors.loc[("He et al. 2015, Table 6", "residual", 110)]
    assert row["value"] == paper["value"] == 6.43
    assert dict(row[["mean", "std", "runs"]]) == paper["mean_std"] == {"mean": 6.61, "std": 0.16, "runs": 5}
    for net in ("r20", "r56", "r110", "p20", "p56"):
        family = {"r": "residual", "p": "plain"}[net[0]]
        row = errors.loc[("nabla0001, 5 runs", family, int(net[1:]))]
        assert row["value"] == row["mean"] == nabla["value"][net]
        assert (row["std"], row["runs"]) == (nabla["std"][net], 5)
    for depth in (20, 32, 44, 56, 110):
        assert errors.loc[("akamaster", "residual", depth), "value"] == RAW_FACTS["ir.aka"]["value"][f"r{depth}"]


def test_cifar_errors_have_every_number_of_their_facts():
    """And the files hold no other test error of these nets: ir.bn_after_add is of nets that were changed."""
    errors = published.cifar_errors()
    for id, group in errors.groupby("fact_id"):
        assert len(group) == len(printed(RAW_FACTS[id]["value"]))
    in_files = {
        id for id, entry in RAW_FACTS.items()
        if id.startswith(("c6.resnet", "ir.", "f6.")) and "test error" in entry["unit"]
    }  # fmt: skip
    assert in_files - set(errors["fact_id"]) == {"ir.bn_after_add"}
    assert set(errors["fact_id"]) - in_files == {"f6.plain110"}


def test_only_plain_110_is_a_bound_and_what_was_read_off_says_so():
    errors = published.cifar_errors()
    bounds = errors[errors["bound"]]
    assert bounds[["fact_id", "family", "depth", "value"]].values.tolist() == [["f6.plain110", "plain", 110, 60.0]]
    assert "lower bound" in bounds["note"].iloc[0] and "left out" in bounds["note"].iloc[0]
    said = {id for id, entry in RAW_FACTS.items() if "read off" in entry.get("approximate", "")} | {"ir.cntk"}
    assert set(errors["fact_id"][errors["approximate"]]) == said & set(errors["fact_id"])
    assert not errors.loc[errors["fact_id"].isin(["f6.plain32_testerr", "f6.plain44_testerr"]), "verified"].any()


@pytest.mark.parametrize("kind", ("fault", "caveat"))
def test_what_is_known_of_a_training_stands_at_its_net_alone(kind):
    said = published.cifar_errors().dropna(subset=kind)
    by_hand = {(id, net): text for id, entry in RAW_FACTS.items() for net, text in entry.get(f"{kind}s", {}).items()}
    assert {(row["fact_id"], f"{row['family'][0]}{row['depth']}"): row[kind] for row in said.to_dict("records")} == by_hand
    assert len(said) == len(by_hand) > 0


def test_the_warm_up_bug_is_that_of_one_net():
    (row,) = published.cifar_errors().dropna(subset="fault").to_dict("records")
    assert (row["fact_id"], row["family"], row["depth"]) == ("ir.nabla", "residual", 110) and "0.1 to 0.001" in row["fault"]


def test_protocol_is_given_only_where_the_source_states_it():
    protocols = published.cifar_errors().drop_duplicates("fact_id").set_index("fact_id")["protocol"]
    stated = {"ir.aka", "ir.gcr", "ir.nabla", *(id for id in protocols.index if id.startswith("c6.") or id.endswith("_testerr"))}
    assert set(protocols[protocols == "1-crop: the whole 32x32 image"].index) == stated
    assert set(protocols[protocols == "not stated"].index) == {"ir.cntk", "ir.torchblog", "f6.plain110"}


def test_three_protocols_stand_in_the_order_of_the_dispute():
    table = published.three_protocols()
    protocols = ["1-crop (repository)", "10-crop (Table 3)", "multi-scale (Table 4)"]
    assert list(table["protocol"]) == protocols * 3
    assert list(table["depth"]) == [50] * 3 + [101] * 3 + [152] * 3
    assert list(table["error"]) == [24.7, 22.85, 20.74, 23.6, 21.75, 19.87, 23.0, 21.43, 19.38]
    assert table.groupby("depth")["error"].apply(lambda errors: errors.is_monotonic_decreasing).all()


def test_three_protocols_agree_with_the_tables_they_come_from():
    """Each number again in the facts of the repository and of the paper's Tables 3 and 4."""
    for depth in (50, 101, 152):
        views = RAW_FACTS[f"tp.r{depth}"]["value"]
        assert RAW_FACTS[f"kh1.resnet{depth}"]["value"]["top1"] == views["c1"]
        assert RAW_FACTS[f"kh10.resnet{depth}"]["paper_table3"]["top1"] == views["c10"]


def test_table_2_has_plain_nets_degrading_and_residual_ones_not():
    error = published.imagenet_table2().set_index(["family", "depth"])["error"]
    assert error["plain", 34] > error["plain", 18] and error["residual", 34] < error["residual", 18]
    assert error["plain", 34] - error["residual", 34] == pytest.approx(RAW_FACTS["t2.diff34"]["value"])
    assert set(published.imagenet_table2()["protocol"]) == {"10-crop"}


def test_figures_can_draw_the_tables():
    cifar = figures.published_cifar(published.cifar_errors(), "Published test errors")
    words = {text.get_text() for text in cifar.axes[0].texts}
    assert {"~?", "~", "*"} <= words and any("60 %" in word for word in words)
    assert figures.protocol_numbers(published.three_protocols(), "Three protocols").axes


def test_types_are_those_that_arithmetic_needs():
    errors = published.cifar_errors()
    assert pd.api.types.is_float_dtype(errors["value"]) and pd.api.types.is_bool_dtype(errors["bound"])
    assert pd.api.types.is_bool_dtype(errors["verified"]) and pd.api.types.is_integer_dtype(errors["depth"])


def test_published_numbers_import_no_torch():
    code = "import sys, resnet_nb.published as p; p.cifar_errors(); p.claims(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
