"""The scoreboard compares like with like, says why it does not where it does not, and shows what is missing."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from record_examples import training_record

from resnet_nb.published import cifar_errors
from resnet_nb.recipes import get_recipe
from resnet_nb.records import family_and_depth
from resnet_nb.scoreboard import scoreboard as board
from resnet_nb.scoreboard.scoreboard import format_scoreboard, scoreboard
from resnet_nb.stats import prediction_interval, wilson_interval

FIVE = [8.6, 8.7, 8.8, 8.9, 9.0]


def cifar_run(
    net: str, error: float, seed: int = 0, recipe: str = "paper-cifar", iterations: int = 64_000,
    width: int | None = 16, init: str = "he-fan-in", split: str = "all", protocol: str = "1-crop", **changed: object,
) -> dict:  # fmt: skip
    """A record of `net` on CIFAR-10 that ended with this test error, trained as in the paper unless said otherwise.

    changed: fields of the recipe.
    """
    fields = get_recipe(recipe).for_depth(family_and_depth(net)[1] or 0).as_dict()
    return training_record(
        model={"name": net, "width": width, "init": init, "in_channels": 3},
        data={"name": "cifar10", "split": split, "train_images": 50_000, "test_images": 10_000},
        recipe={**fields, **changed},
        iterations=iterations,
        final={"iteration": iterations, "test_error": error},
        seed=seed,
        protocol=protocol,
    )


def short_run(width: int = 16) -> dict:
    return cifar_run("resnet20", 20.0, recipe="short-cifar", iterations=2_000, width=width)


def five_runs() -> list[dict]:
    return [cifar_run("resnet20", error, seed) for seed, error in enumerate(FIVE)]


def only(table: pd.DataFrame) -> pd.Series:
    """The one row with recorded runs."""
    (row,) = (row for _, row in table[table["runs"] > 0].iterrows())
    return row


def test_full_length_runs_stand_beside_every_published_number_of_their_net():
    table = scoreboard(five_runs())
    rows = table[table["runs"] > 0]
    published = cifar_errors().query("family == 'residual' and depth == 20")
    assert list(rows["fact_id"]) == list(published["fact_id"])
    assert list(rows["published"]) == list(published["value"])
    assert set(rows["runs"]) == {5} and rows["mean"].to_numpy() == pytest.approx(8.8)
    assert rows["std"].to_numpy() == pytest.approx(0.025**0.5)
    assert (rows["low"].iloc[0], rows["high"].iloc[0]) == pytest.approx(prediction_interval(FIVE))
    assert set(rows["protocol"]) == {"1-crop: the whole 32x32 image"}
    assert rows["seeds"].iloc[0] == [0, 1, 2, 3, 4]


def test_verdict_is_that_of_the_prediction_interval():
    """Five runs of mean 8.8 predict 8.32 to 9.28: the paper's 8.75 lies there, akamaster's 8.27 does not."""
    verdicts = scoreboard(five_runs()).query("runs > 0").set_index("source_label")["verdict"]
    assert verdicts["He et al. 2015, Table 6"] == "reproduced"
    assert verdicts["akamaster"] == "not reproduced"


def test_one_run_has_the_interval_of_its_test_images_and_no_verdict():
    row = scoreboard([cifar_run("resnet56", 7.0)]).query("fact_id == 'c6.resnet56'").iloc[0]
    assert (row["runs"], row["mean"], row["verdict"]) == (1, 7.0, "too few runs")
    assert pd.isna(row["std"])
    assert (row["low"], row["high"], row["interval"]) == (*wilson_interval(700, 10_000), "test images")


def test_two_runs_predict_no_third():
    """Student's t with one degree of freedom would put a third one between 2.6 and 11.4 %."""
    row = scoreboard([cifar_run("resnet56", error, seed) for seed, error in enumerate([6.8, 7.2])]).iloc[0]
    assert prediction_interval([6.8, 7.2]) == pytest.approx((2.6, 11.4), abs=0.05)
    assert (row["low"], row["high"], row["interval"]) == (*wilson_interval(700, 10_000), "test images")
    assert row["std"] == pytest.approx(0.08**0.5)


def test_no_interval_goes_below_0():
    runs = [training_record(seed=seed, final={"test_error": error}) for seed, error in enumerate([0.0, 0.3, 0.9])]
    row = only(scoreboard(runs))
    assert row["low"] == 0 < row["high"] and row["interval"] == "one more run"


@pytest.mark.parametrize("name", ["cifar:resnet20", "resnet20-A"])
def test_a_longer_name_of_the_same_net_is_the_same_net(name):
    table = scoreboard([cifar_run(name, 8.6, seed=9), *five_runs()])
    assert set(table["runs"]) == {0, 6}


def test_how_often_a_curve_was_noted_does_not_part_runs():
    assert set(scoreboard([cifar_run("resnet20", 8.6, seed=9, curve_every=10), *five_runs()])["runs"]) == {0, 6}


def test_resnet_110_is_compared_with_the_papers_mean_and_not_with_its_best_run():
    runs = [cifar_run("resnet110", error, seed) for seed, error in enumerate([6.5, 6.6, 6.7])]
    row = scoreboard(runs).query("fact_id == 'c6.resnet110'").iloc[0]
    assert (row["published"], row["published_std"], row["published_runs"], row["printed"]) == (6.61, 0.16, 5, 6.43)
    assert row["verdict"] == "reproduced" and "best of 5 runs had 6.43" in row["remark"]


@pytest.mark.parametrize(
    "record, reason",
    [
        (short_run(), "2,000 of 64,000 iterations: speed, not the end"),
        (cifar_run("resnet20", 12.0, iterations=20_000), "20,000 of 64,000 iterations: speed, not the end"),
        (cifar_run("resnet20", 8.5, name="own", rate=0.2), "recipe own: rate 0.2 not as in the paper's"),
        (cifar_run("resnet110", 6.9, warmup_iterations=0), "recipe paper-cifar: warmup_iterations 0 not as in the paper's"),
        # fields that came after the first records, which leave them out
        (cifar_run("resnet20", 8.5, recipe="paper-cifar,clip_norm=1"), "recipe paper-cifar,clip_norm=1.0: clip_norm 1.0 not as in the paper's"),
        (cifar_run("resnet20", 8.7, precision="bfloat16"), "recipe paper-cifar: precision bfloat16 not as in the paper's"),
        (cifar_run("resnet20", 8.7, scales=[32, 40]), "recipe paper-cifar: scales [32, 40] not as in the paper's"),
        (cifar_run("plain56", 12.0, warmup_iterations=400), "recipe paper-cifar: warmup_iterations 400 not as in the paper's"),
        (cifar_run("resnet20", 10.0, width=8), "width 8, the paper's is 16: another net"),
        (cifar_run("resnet20", 9.0, init="zero-last"), "initialisation zero-last: not the paper's"),
        (cifar_run("resnet20", 9.0, split="45000/5000"), "split 45000/5000: not trained on all 50,000 images"),
        (cifar_run("resnet20", 8.0, protocol="10-crop"), "protocol 10-crop: not the paper's single view"),
        (cifar_run("resnet20-B", 8.7), "resnet20-B: nothing published"),
        (cifar_run("torchvision:resnet18", 5.0, width=None), "torchvision:resnet18: nothing published"),
        (training_record(), "digits: nothing published"),
    ],
)
def test_runs_made_otherwise_are_not_compared_and_the_board_says_why(record, reason):
    table = scoreboard([record])
    row = only(table)
    assert row["remark"] == reason
    assert pd.isna(row["published"]) and pd.isna(row["verdict"]) and pd.isna(row["fact_id"])
    text = format_scoreboard(table)
    assert f"not compared: {reason}" in text or (reason.startswith("digits") and "digits: 1 setting, 1 run;" in text)


def test_a_field_left_out_is_a_field_as_it_was():
    """A record that holds a later field's first value is of the setting of those that leave it out."""
    explicit = cifar_run("resnet20", 8.6, seed=9, clip_norm=0.0, precision="float32", scales=[])
    assert set(scoreboard([explicit, *five_runs()])["runs"]) == {0, 6}


@pytest.mark.parametrize("warmup, said", [(400, "these runs had 400 iterations of it"), (0, "these runs had none")])
def test_plain_110_is_compared_with_a_warm_up_and_without(warmup, said):
    """The paper prints one for ResNet-110, and nothing of the kind for the plain net."""
    recipe = "paper-cifar" if warmup else "paper-cifar,warmup_iterations=0"
    row = only(scoreboard([cifar_run("plain110", 70.0, recipe=recipe)]))
    assert row["fact_id"] == "f6.plain110" and pd.isna(row["verdict"])
    assert f"the paper does not say whether plain-110 had a warm-up: {said}" in row["remark"]


def test_plain_110_with_another_warm_up_is_another_recipe():
    row = only(scoreboard([cifar_run("plain110", 70.0, warmup_iterations=800)]))
    assert row["remark"] == "recipe paper-cifar: warmup_iterations 800 not as in the paper's"


def test_plain_110_with_and_without_a_warm_up_are_two_settings():
    table = scoreboard([cifar_run("plain110", 70.0), cifar_run("plain110", 50.0, recipe="paper-cifar,warmup_iterations=0")])
    assert list(table["mean"][table["runs"] > 0]) == [70.0, 50.0] and table["runs"].max() == 1


def test_the_warm_up_bug_of_the_public_anchor_is_told_wherever_it_is_shown():
    bug = "a warm-up bug took the rate of its ResNet-110 from 0.1 to 0.001 at the first drop"
    for runs in ([], [cifar_run("resnet110", error, seed) for seed, error in enumerate([6.5, 6.6, 6.7])]):
        table = scoreboard(runs)
        anchor = table[(table["fact_id"] == "ir.nabla") & (table["model"] == "resnet110")].iloc[0]
        assert bug in anchor["remark"] and (anchor["published"], anchor["published_std"]) == (7.14, 0.2)
        (line,) = (line for line in format_scoreboard(table).splitlines() if "7.14 ± 0.20" in line)
        assert bug in line
    assert table["remark"].str.contains(bug).sum() == 1  # not at its other nets


def test_a_miss_has_its_likeliest_reason_and_nothing_else_has_one():
    table = scoreboard(five_runs()).set_index("source_label")
    missed = table[table["verdict"] == "not reproduced"]
    assert set(missed.index) == {"akamaster", "gcr (Torch)", "CNTK"} - set(table.index[table["approximate"].astype(bool)])
    assert missed["reason"].notna().all() and table.loc[table["verdict"] != "not reproduced", "reason"].isna().all()
    assert "200 epochs" in missed.loc["akamaster", "reason"]
    anchor = scoreboard([cifar_run("resnet110", error, seed) for seed, error in enumerate([6.1, 6.2, 6.3])]).query("fact_id == 'ir.nabla'").iloc[0]
    assert anchor["reason"].startswith("0.94 points above these runs; a warm-up bug") and anchor["reason"].endswith("45,000 images")
    assert f"likely: {missed.loc['akamaster', 'reason']}" in format_scoreboard(scoreboard(five_runs()))


def test_the_papers_own_number_is_missed_by_what_the_paper_leaves_open():
    runs = [cifar_run("resnet20", error, seed) for seed, error in enumerate([9.6, 9.7, 9.8])]
    reason = scoreboard(runs).query("fact_id == 'c6.resnet20'").iloc[0]["reason"]
    assert reason.startswith("0.95 points below") and "of what the paper leaves open" in reason
    assert "decay_on weights" in reason and "momentum_form caffe" in reason


def test_a_near_miss_may_be_chance():
    """Mean 8.25, and one more run would lie in [7.77, 8.73]; the paper's 8.75 lies outside, and within 0.6 points of the mean."""
    shifted = [cifar_run("resnet20", error - 0.55, seed) for seed, error in enumerate(FIVE)]
    row = scoreboard(shifted).query("fact_id == 'c6.resnet20'").iloc[0]
    assert row["verdict"] == "not reproduced" and "chance: at most one comparison in 20" in row["reason"]


def test_every_difference_is_named():
    assert only(scoreboard([short_run(width=8)]))["remark"].split("; ") == [
        "width 8, the paper's is 16: another net",
        "2,000 of 64,000 iterations: speed, not the end",
    ]


def test_runs_that_differ_in_more_than_the_seed_are_never_averaged():
    records = [
        training_record(),
        training_record(model={"width": 16}),
        training_record(model={"init": "zero-last"}),
        training_record(model={"name": "resnet20"}),
        training_record(data={"split": "1000/400"}),
        training_record(data={"fingerprint": "sha256:" + "1" * 64}),
        training_record(iterations=100),
        training_record(recipe={"name": "own"}),
        training_record(recipe={"rate": 0.1}),
        training_record(protocol="10-crop"),
    ]
    table = scoreboard(records)
    assert list(table["runs"][table["runs"] > 0]) == [1] * len(records)


def test_a_seed_that_two_studies_hold_counts_once():
    """A second copy is no second draw: it would halve the spread and prove nothing."""
    records = [training_record(seed=seed, study=study) for study in ("first", "second") for seed in (0, 1)]
    row = only(scoreboard(records))
    assert (row["runs"], row["seeds"]) == (2, [0, 1])


def test_published_numbers_without_runs_are_shown():
    table = scoreboard([])
    assert len(table) == len(cifar_errors()) and set(table["runs"]) == {0}
    assert set(table["fact_id"]) == set(cifar_errors()["fact_id"])
    assert table["remark"].str.startswith("no full-length run recorded").all() and table["verdict"].isna().all()


def test_truncated_runs_do_not_fill_a_gap():
    table = scoreboard([cifar_run("resnet20", 20.0, iterations=2_000)])
    assert len(table) == 1 + len(cifar_errors())
    table = scoreboard(five_runs())
    assert len(table) == len(cifar_errors())


def test_bound_and_readings_get_no_verdict():
    errors = {"plain56": [12.9, 13.0, 13.1], "plain110": [69.0, 70.0, 71.0]}
    runs = [cifar_run(net, error, seed) for net, values in errors.items() for seed, error in enumerate(values)]
    table = scoreboard(runs).query("runs > 0").set_index("fact_id")
    reading, bound, measured = (table.loc[id] for id in ("f6.plain56_testerr", "f6.plain110", "ir.nabla"))
    assert pd.isna(reading["verdict"]) and reading["remark"] == "approximate: no verdict"
    assert pd.isna(bound["verdict"]) and "not a test error" in bound["remark"]
    assert measured["verdict"] == "reproduced"


def test_numbers_that_nobody_checked_are_marked():
    table = scoreboard([])
    unverified = table[~table["verified"].astype(bool)]
    assert set(unverified["fact_id"]) == {"f6.plain32_testerr", "f6.plain44_testerr"}
    assert unverified["remark"].str.contains("not checked at its source").all()
    assert format_scoreboard(table).count("not checked at its source") == 2


def test_board_reads_well_with_runs_of_every_kind():
    text = format_scoreboard(scoreboard([*five_runs(), *(training_record(seed=seed) for seed in range(2))]))
    lines = text.splitlines()
    place = lines.index("resnet20, width 16; cifar10, paper-cifar, 64,000 iterations, all training images")
    assert lines[place + 1].strip() == (
        "8.80 ± 0.16 [8.32, 9.28]  5 runs (seeds 0, 1, 2, 3, 4); 1-crop: the whole 32x32 image"
    )
    assert lines[place + 2].split() == "He et al. 2015, Table 6 8.75 reproduced".split()
    assert "digits: 1 setting, 2 runs; nothing is published to compare them with (--json lists them)." in lines
    for words in ("6.61 ± 0.16", "over 60", "about 13"):
        assert words in text
    assert "nan" not in text.lower() and "None" not in text


def test_runs_that_ended_at_a_loss_are_no_errors_to_compare():
    stopped = cifar_run("resnet20", 30.0)
    stopped["recipe"]["stop_at_loss"] = 0.15
    assert scoreboard([stopped])["runs"].sum() == 0


def test_a_net_without_normalisation_is_another_setting():
    record = cifar_run("resnet20", 9.0)
    record["model"]["norm"] = "none"
    table = scoreboard([record, cifar_run("resnet20", 8.7)])
    assert sorted(table[table["runs"] > 0]["norm"].unique()) == ["batch", "none"]
    assert "normalisation none: not the paper's" in format_scoreboard(table)


def test_board_of_no_runs_says_how_to_record_one():
    assert "resnet-nb train MODEL --study NAME" in format_scoreboard(scoreboard([]))


def test_recorded_runs_are_read_where_none_are_given(monkeypatch):
    monkeypatch.setattr(board, "all_records", lambda: five_runs())
    pd.testing.assert_frame_equal(scoreboard(), scoreboard(five_runs()))


def test_board_becomes_json_with_missing_values_as_null():
    rows = json.loads(scoreboard([training_record()]).to_json(orient="records"))
    assert rows[0]["published"] is None and rows[0]["runs"] == 1 and rows[0]["seeds"] == [0]
    assert list(rows[0]) == board.COLUMNS


def test_scoreboard_imports_no_torch():
    code = "import sys, resnet_nb.scoreboard.scoreboard; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
