"""The verdicts on redundancy: computed from tables, with each outcome possible."""

import itertools

import numpy as np
import pandas as pd
import pytest

from resnet_nb import figures
from resnet_nb.findings.verdicts import redundancy as verdicts

STATEMENTS = {one.key: one for one in verdicts.STATEMENTS}


def table(gains: dict[str, float] | float, *, seeds: int = 4, noise: float = 0.01, blocks: int = 2) -> pd.DataFrame:
    """Rows of nets in which the residual one is ahead by `gains` (towards each statement's side), plus a little that differs by net."""
    rng, rows = np.random.default_rng(0), []
    kinds = ("state", "branch", "change")
    for seed, family, stage, place, kind in itertools.product(range(seeds), ("plain", "residual"), (1, 2, 3), range(blocks), kinds):
        block = (stage - 1) * blocks + place + 1
        row = {"source": "made", "model": f"{family}20", "family": family, "depth": 20, "seed": seed, "kind": kind, "block": block, "stage": stage}
        for key, one in STATEMENTS.items():
            gain = gains if isinstance(gains, float) else gains.get(key, 0.0)
            if one.kind == kind:
                row[one.measure] = 0.5 + (one.more * gain if family == "residual" else 0) + noise * rng.normal()
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("gain", "supported"), [(0.2, True), (-0.2, False)])
def test_where_all_measures_agree_the_verdict_does(gain: float, supported: bool) -> None:
    judged = verdicts.judge(table(gain))
    assert judged["supported"].tolist() == [supported] * len(STATEMENTS)
    assert (judged["agree"] == (4 if supported else 0)).all() and (judged["pairs"] == 4).all()
    assert (judged["side"] * judged["difference"]).to_numpy() == pytest.approx(gain, abs=0.03)
    for scale_free in (False, True):
        assert verdicts.verdict(judged, scale_free).supported is supported


def test_where_measures_disagree_it_depends_on_the_measure() -> None:
    gains = {key: 0.2 if one.kind == "branch" else -0.2 for key, one in STATEMENTS.items()}
    judged = verdicts.judge(table(gains))
    found = verdicts.verdict(judged)
    assert found.supported is None and "depends" in found.text and found.why.startswith("3 of 11 statements supported, 8 contradicted")
    opposite = verdicts.judge(table({key: -gain for key, gain in gains.items()}))
    assert verdicts.at_odds(judged, opposite) == list(STATEMENTS) and verdicts.at_odds(judged, judged) == []


def test_a_difference_within_the_spread_or_with_two_pairs_decides_nothing() -> None:
    halves = pd.concat([table(0.2, seeds=2), table(-0.2, seeds=4).query("seed > 1")])
    assert verdicts.judge(halves)["supported"].isna().all() and (verdicts.judge(halves)["agree"] == 2).all()
    assert verdicts.verdict(verdicts.judge(halves)).text == "These nets do not tell."
    few = verdicts.judge(table(0.2, seeds=2))
    assert few["supported"].isna().all() and few["low"].isna().all() and (few["difference"].abs() > 0.1).all()


def test_pairs_on_one_side_whose_spread_reaches_zero_decide_nothing() -> None:
    little = table(0.01, noise=0.0)
    uneven = pd.concat([little.query("seed > 0"), table(0.4, noise=0.0).query("seed == 0")])
    judged = verdicts.judge(uneven)
    assert (judged["agree"] == judged["pairs"]).all() and judged["supported"].isna().all()
    assert (judged["low"] < 0).all() and (judged["high"] > 0).all()


def test_one_pair_on_the_other_side_leaves_a_statement_undecided() -> None:
    made = table(0.2, seeds=8, noise=0.0)
    flipped = (made["seed"] == 0) & (made["family"] == "residual") & (made["kind"] == "state")
    made.loc[flipped, "correlation"] = 0.6
    judged = verdicts.judge(made).set_index("key")
    row = judged.loc["state correlation"]
    assert row["supported"] is None and row["agree"] == 7 and row["high"] < 0
    assert judged.drop("state correlation")["supported"].eq(True).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("families", [["plain"], ["residual"], ["plain", "residual"]])
def test_a_value_that_is_not_finite_leaves_its_statement_undecided(value: float, families: list[str]) -> None:
    made = table(0.2)
    made.loc[(made["seed"] == 0) & made["family"].isin(families) & (made["kind"] == "state"), "cka"] = value
    judged = verdicts.judge(made).set_index("key")
    assert judged.loc["state cka", "supported"] is None and judged.loc["state cka", "pairs"] == 3
    assert judged.drop("state cka")["supported"].eq(True).all()
    assert verdicts.verdict(judged.reset_index()).supported is None


def test_without_statements_or_nets_nothing_is_decided() -> None:
    judged = verdicts.judge(table(0.2))
    assert verdicts.verdict(pd.DataFrame()).supported is None
    for empty in (judged.iloc[:0], judged.assign(scale_free=False)):
        assert verdicts.verdict(empty, scale_free=True).supported is None
    for none in (verdicts.judge(table(0.2).iloc[:0]), verdicts.judge(table(0.2), stage=0)):
        assert none["supported"].isna().all() and none["pairs"].eq(0).all()
        assert verdicts.verdict(none).text == "These nets do not tell."
    assert verdicts.by_net(table(0.2), stage=0).empty and len(verdicts.by_net(table(0.2))) == 8


def test_stages_count_equally_and_the_first_blocks_input_does_not() -> None:
    made = table(0.0, noise=0.0)
    made.loc[made["stage"] == 3, "effective_rank"] = 0.8
    more = made[(made["stage"] == 3) & (made["block"] == 6)].assign(block=7)  # one block more in the last stage
    stem = made[(made["block"] == 1) & (made["kind"] == "state")].assign(block=0, effective_rank=99.0)
    nets = verdicts.by_net(pd.concat([made, more, stem]))
    assert nets["state effective_rank"].to_numpy() == pytest.approx((0.5 + 0.5 + 0.8) / 3)
    assert verdicts.by_net(made, stage=3)["state effective_rank"].to_numpy() == pytest.approx(0.8)


def test_nets_without_a_partner_and_seeds_that_nobody_says() -> None:
    public = table(0.2).assign(depth=lambda rows: 20 + 12 * rows["seed"], seed=None, source="public")
    alone = table(-0.5, seeds=1).query("family == 'residual'").assign(source="other", depth=110)
    apart = verdicts.differences(pd.concat([public, alone]))
    assert apart["depth"].tolist() == [20, 32, 44, 56] and apart["source"].unique().tolist() == ["public"]
    judged = verdicts.judge(pd.concat([public, alone]))
    assert judged["supported"].eq(True).all() and (judged["residual"] - judged["plain"]).to_numpy() == pytest.approx(judged["difference"])
    assert len(verdicts.differences(alone)) == 0 and verdicts.judge(alone)["pairs"].eq(0).all()


def test_statements_are_said_with_what_would_support_them() -> None:
    said = verdicts.statements()
    assert len(said) == 11 and not said.duplicated(["kind", "measure"]).any()
    for row in said.itertuples():  # to be less redundant is to be less alike, to vary in more directions, and to follow less from what was before
        alike = row.measure in ("correlation", "cka", "position_cka")
        assert row.supported_by == ("lower" if alike else "higher"), row.says
        assert row.scale_free == (row.measure in ("correlation", "scaled_rank", "unexplained")), row.says  # as `regauge` leaves them


def test_figures_mark_what_is_decided_and_leave_gaps_where_stages_begin() -> None:
    made = table(0.2).assign(size=0.3)
    made.loc[made["block"].isin([1, 3, 5]), "cka"] = np.nan
    drawn = figures.redundancy_by_depth(made, [("state", "cka"), ("branch", "cka"), ("change", "size")], "A finding")
    lines = [line for line in drawn.axes[0].lines if line.get_linewidth() == 2]
    assert len(lines) == 2 and np.isnan(lines[0].get_ydata()[[0, 2, 4]]).all() and not drawn.axes[3].axison
    both = figures.redundancy_verdicts({"one": verdicts.judge(made), "two": verdicts.judge(table(-0.2))}, "A finding")
    places = [[line.get_xdata()[0] for line in axis.lines if line.get_marker() in "^v"] for axis in both.axes]
    assert min(places[0]) > 0 > max(places[1]) and len(places[0]) == len(places[1]) == 11
