"""Averages of views obey Jensen and the law of correlated errors, and a ladder's rungs are compared picture by picture."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from test_views import views as random_views

from resnet_nb.errors import InputError
from resnet_nb.findings import averaging
from resnet_nb.findings.ladder import Rung, by_confidence, errors, gains, ladder, loss, verdicts
from resnet_nb.records.views import COLUMNS, Views

CROP = {"protocols": [{"crop": 32}]}


def crops(count: int = 60, views: int = 5, seed: int = 0, classes: int = 4) -> Views:
    """Views that agree in part: a picture's own logits, and noise for each view."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 1, classes)) + random.normal(0, 1, (count, views, classes))
    rows = [("crop", 0, 0, f"place {view}", False, "") for view in range(views)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Views(logits.astype(np.float32), random.integers(0, classes, count), tuple(map(str, range(count))), table, CROP)


def squared_by_hand(views: Views, chosen: tuple[int, ...]) -> float:
    truth = np.eye(views.logits.shape[2])[views.labels]
    return float(((softmax(views.logits.astype(float), axis=2)[:, chosen].mean(1) - truth) ** 2).sum(1).mean())


@given(st.integers(0, 200), st.integers(2, 6))
def test_the_law_is_the_mean_over_all_subsets(seed: int, count: int) -> None:
    views = crops(20, count, seed)
    r, one = averaging.correlation(views)
    for size in range(1, count + 1):
        by_hand = np.mean([squared_by_hand(views, chosen) for chosen in combinations(range(count), size)])
        assert one * (r + (1 - r) / size) == pytest.approx(by_hand, rel=1e-9)


def test_views_that_repeat_each_other_are_wholly_correlated_and_gain_nothing() -> None:
    views = crops()
    views.logits[:] = views.logits[:, :1]
    assert averaging.correlation(views)[0] == pytest.approx(1)
    assert np.ptp(averaging.by_count(views)["loss"]) < 1e-6


def test_more_views_lower_the_loss_and_the_squared_error_follows_the_law() -> None:
    table = averaging.by_count(crops())
    assert table["subsets"].tolist() == [5, 10, 10, 5, 1] and table["loss"].is_monotonic_decreasing
    assert table["squared"].to_numpy() == pytest.approx(table["law"].to_numpy(), rel=1e-5)
    assert (table["least_error"] <= table["error"]).all() and (table["error"] <= table["most_error"]).all()


def test_every_subset_is_counted_as_by_hand() -> None:
    views = crops(40, 4)
    table = averaging.by_count(views).set_index("views")
    pairs = [softmax(views.logits.astype(float), axis=2)[:, chosen].mean(1) for chosen in combinations(range(4), 2)]
    wrong = [100 * np.mean(pair.argmax(1) != views.labels) for pair in pairs]
    losses = [-np.log(pair[np.arange(40), views.labels]).mean() for pair in pairs]
    row = table.loc[2]
    assert (row["error"], row["least_error"], row["most_error"]) == pytest.approx((np.mean(wrong), min(wrong), max(wrong)))
    assert row["loss"] == pytest.approx(np.mean(losses)) and row["subsets"] == 6


def test_a_ladder_counts_what_each_rung_repairs_and_breaks() -> None:
    views = crops(200)
    one, all_of_them = Rung(views.where(place="place 0")), Rung(views)
    table = ladder({"one view": one, "all": all_of_them, "all, logits": Rung(views, "logits")}).set_index("rung")
    before, after = one.views.right(), views.right()
    row = table.loc["all"]
    assert row["repaired"] == (after & ~before).sum() and row["broken"] == (before & ~after).sum()
    assert row["difference"] == pytest.approx(row["error"] - table.loc["one view", "error"])
    assert row["difference_low"] < row["difference"] < row["difference_high"] and row["low"] < row["error"] < row["high"]
    assert table["passes"].tolist() == [1, 5, 5] and table["pixels"].tolist() == [1, 5, 5]
    assert pd.isna(table.loc["one view", "repaired"]) and row["loss"] == pytest.approx(loss(all_of_them))
    with pytest.raises(InputError, match="other pictures"):
        ladder({"one view": one, "others": Rung(crops(100))})
    with pytest.raises(InputError, match="other pictures"):
        ladder({"one view": one, "in another order": Rung(replace(views, names=views.names[::-1]))})


def test_dense_passes_cost_their_pixels() -> None:
    found = random_views()
    found.about.update(CROP)
    assert Rung(found.where(form="dense", rule="softmax")).pixels == 2 * 40**2 and Rung(found.where(form="crop")).pixels == 2 * 32**2


def test_harm_is_counted_in_groups_of_confidence() -> None:
    views = crops(300)
    one = Rung(views.where(place="place 0"))
    table = by_confidence(one, Rung(views))
    whole = ladder({"one": one, "all": Rung(views)}).iloc[1]
    assert table["right"].sum() + table["wrong"].sum() == 300
    assert table["broken"].sum() == whole["broken"] and table["repaired"].sum() == whole["repaired"]
    sure = one.views.posterior().max(1) > 0.9
    assert table[table["low"] >= 0.9][["right", "wrong"]].sum().sum() == sure.sum()
    assert table["broken_share"].to_numpy() == pytest.approx((100 * table["broken"] / table["right"]).to_numpy(), nan_ok=True)


def test_a_rung_is_better_worse_or_not_to_be_told_apart() -> None:
    rows = [("first", 0, 1.0), ("a", -1, 0.01), ("b", 1, 0.01), ("c", -1, 0.2)]
    table = pd.DataFrame(rows, columns=["rung", "difference", "p"])
    assert verdicts(table) == {"better": ["a"], "worse": ["b"], "not to be told apart": ["c"]}


def test_errors_of_each_net_under_each_choice() -> None:
    views = crops(50)
    table = errors({20: views, 56: views}, {"one": {"place": "place 0"}, "all": {}})
    assert table["error"].tolist() == [views.where(place="place 0").error(), views.error()] * 2 and table["depth"].tolist() == [20, 20, 56, 56]


def test_gains_are_taken_from_the_shallowest_net_and_within_one_protocol() -> None:
    rows = [(50, "1-crop (here)", 24.7), (50, "10-crop", 22.85), (101, "1-crop (here)", 23.6), (152, "1-crop (here)", 23.0)]
    rows += [(101, "10-crop", 21.75), (152, "10-crop", 21.43)]
    table = gains(pd.DataFrame(rows, columns=["depth", "protocol", "error"]), "there", published=True)
    assert table["gain"].round(2).tolist() == [1.85, 1.7, 1.42] and table["what"].tolist() == ["protocol", "depth", "depth"]
    assert table["label"].tolist() == ["1-crop to 10-crop", "50 to 152 layers, 1-crop", "50 to 152 layers, 10-crop"]
