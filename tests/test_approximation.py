"""One wide hidden layer against depth: exact nets by hand, what no weights can reach, and trained nets."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_nb import figures
from resnet_nb.findings import approximation as hand
from resnet_nb.findings.verdicts import approximation as verdicts
from resnet_nb.live import approximation_runs as runs


def teeth(x: np.ndarray, folds: int) -> np.ndarray:
    """The sawtooth without composing: the distance to the nearest even multiple of 2^-folds, in those units."""
    place = np.mod(x * 2**folds, 2)
    return np.minimum(place, 2 - place)


@given(st.integers(1, 12), st.floats(0, 1))
@settings(deadline=None)
def test_folding_gives_the_sawtooth_and_both_nets_by_hand_give_it(folds: int, x: float) -> None:
    point = np.array([x])
    assert hand.sawtooth(point, folds) == pytest.approx(teeth(point, folds), abs=1e-9)
    for net in (hand.deep_by_hand(folds), hand.wide_by_hand(folds)):
        assert hand.apply(net, point) == pytest.approx(teeth(point, folds), abs=1e-8)


@pytest.mark.parametrize("folds", [1, 4, 9])
def test_parameters_are_counted(folds: int) -> None:
    assert hand.parameters(hand.deep_by_hand(folds)) == 6 * folds + 1
    assert hand.parameters(hand.wide_by_hand(folds)) == 3 * 2**folds + 1


@given(st.integers(3, 8), st.integers(1, 20), st.integers(0, 1_000))
@settings(deadline=None, max_examples=60)
def test_no_single_layer_comes_below_the_bound(folds: int, units: int, seed: int) -> None:
    """Random bends, and weights fitted to the sawtooth by least squares, or bends at its own teeth."""
    rng, x = np.random.default_rng(seed), np.linspace(0, 1, 4_097)
    bends = np.sort(rng.random(units)) if seed % 2 else np.arange(units) / 2**folds
    features = np.column_stack([np.maximum(x[:, None] - bends, 0), np.ones_like(x)])
    truth = hand.sawtooth(x, folds)
    found = features @ np.linalg.lstsq(features, truth)[0]
    assert np.abs(found - truth).mean() >= hand.least_error(folds, units) - 1e-3


def test_the_bound_by_counting_teeth() -> None:
    """64 pieces, 12 units: 13 pieces cut at most 13 of 63 teeth; of 50 in 14 runs at least 18 lie on the wrong side, 1/256 each."""
    assert hand.least_error(6, 12) == pytest.approx(18 / 256)
    assert hand.least_error(6, 64) == 0 and hand.least_error(20, 1) == pytest.approx(1 / 8, abs=1e-4)


def test_the_smooth_curve_is_one_period_between_0_and_1() -> None:
    assert hand.smooth(np.array([0, 0.25, 0.5, 0.75, 1, 1 / 12])) == pytest.approx([0.5, 1, 0.5, 0, 0.5, 0.75])


def test_a_net_by_hand_is_judged_by_its_largest_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leaves out its last bend errs by 1 at the end, and nowhere before the last piece."""
    (inner, biases), (last, offset) = hand.wide_by_hand(3)
    monkeypatch.setattr(hand, "wide_by_hand", lambda folds: [(inner[:-1], biases[:-1]), (last[:, :-1], offset)])
    (row,) = hand.by_hand(range(3, 4)).itertuples()
    assert (row.wide_error, row.deep_error) == (2.0, 0.0)  # from 1 at the last bend on to 2 in place of 0


def test_forms_have_equal_parameters() -> None:
    for form in runs.FORMS:
        assert sum(tensor[0].numel() for tensor in runs.start(form, [0])) == runs.count_parameters(form) == 385


def test_batched_nets_answer_as_single_ones() -> None:
    net, x = runs.start("deep", [0, 1]), np.linspace(0, 1, 9)
    with torch.no_grad():
        found = runs.answers(net, "deep", torch.tensor(x, dtype=torch.float32))
    for place in range(2):
        pairs = zip(net[::2], net[1::2], strict=True)
        layers = [(w[place].detach().double().numpy().T, b[place, 0].detach().double().numpy()) for w, b in pairs]
        assert found[place].numpy() == pytest.approx(hand.apply(layers, x), abs=1e-5)


def test_a_shortcut_adds_a_layers_input() -> None:
    net = runs.start("deep with shortcuts", [0])
    with torch.no_grad():
        for tensor in net[2:-2]:
            tensor.zero_()  # then the middle layers pass on what they get
        first, biases, last, offset = net[0], net[1], net[-2], net[-1]
        x = torch.linspace(0, 1, 9)
        expected = torch.relu(x.view(-1, 1) @ first[0] + biases[0]) @ last[0] + offset[0]
        assert torch.allclose(runs.answers(net, "deep with shortcuts", x)[0], expected[:, 0], atol=1e-6)


def test_adam_side_by_side_is_torchs_one_by_one() -> None:
    x, truth = torch.linspace(0, 1, 16), torch.linspace(0, 1, 16).expand(2, -1).square()
    rates = torch.tensor([0.01, 0.001])
    net = runs.start("deep", [3, 4])
    runs._train(net, "deep", x, truth, rates, 5)
    for place in range(2):
        alone = [tensor.detach()[place : place + 1].clone().requires_grad_() for tensor in runs.start("deep", [3, 4])]
        optimiser = torch.optim.Adam(alone, lr=float(rates[place]))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
        for _ in range(5):
            optimiser.zero_grad()
            (runs.answers(alone, "deep", x) - truth[:1]).square().mean().backward()
            optimiser.step()
            schedule.step()
        for ours, theirs in zip(net, alone, strict=True):
            assert torch.allclose(ours[place], theirs[0], atol=1e-5)


def test_training_is_repeatable_and_fits_the_smooth_curve() -> None:
    asked = {"forms": ("wide",), "folds": (1,), "seeds": (0, 1), "rates": (0.01,), "steps": 300}
    table = runs.fit_curves(**asked)
    pd.testing.assert_frame_equal(table, runs.fit_curves(**asked))
    assert len(table) == 4 and set(table["target"]) == {"sawtooth", "smooth"}
    assert (table["error"] < 0.1).all() and table["seed"].tolist() == [0, 1, 0, 1]


# verdicts


def fits(errors: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    """Errors by (form, pieces), a seed each, at one rate."""
    rows = [
        {"form": form, "target": "sawtooth" if pieces else "smooth", "pieces": pieces, "seed": seed, "rate": 0.01, "loss": error, "error": error}
        for (form, pieces), values in errors.items()
        for seed, error in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_what_exists_and_what_depth_is_needed_for() -> None:
    table = hand.by_hand()
    assert verdicts.exists(table).supported is True and verdicts.needs_no_depth(table).supported is False
    assert verdicts.exists(table.assign(wide_error=0.1)).supported is False
    assert verdicts.needs_no_depth(table[table["folds"] < 4]).supported is None
    assert verdicts.needs_no_depth(table.assign(deep_error=0.1)).supported is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_net_by_hand_without_a_finite_error_decides_nothing(value: float) -> None:
    table = hand.by_hand()
    for damaged in (table.iloc[:0], table.assign(wide_error=value), table.assign(wide_error=table["wide_error"].where(table["folds"] != 3, value))):
        assert verdicts.exists(damaged).supported is None
    assert verdicts.exists(table.assign(wide_error=verdicts.EXACT)).supported is None
    for column in ("deep_error", "equal_least_error"):
        assert verdicts.needs_no_depth(table.assign(**{column: table[column].where(table["folds"] != 3, value)})).supported is None
    assert verdicts.needs_no_depth(table.iloc[:0]).supported is None


@pytest.mark.parametrize("column", ["loss", "error"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("error", [0.001, 0.3])
def test_fits_without_a_finite_error_or_with_one_seed_decide_nothing(column: str, value: float, error: float) -> None:
    whole = fits({("wide", 8): [error] * 3, ("deep", 8): [0.01] * 3})
    damaged = whole.copy()
    damaged.loc[0, column] = value
    for made in (damaged, whole[whole["seed"] == 0], whole.iloc[:0]):
        assert verdicts.training_finds_it(made).supported is None
        assert verdicts.depth_matters(made, "sawtooth", 8).supported is None
    assert verdicts.training_finds_it(whole).supported is (error < 0.1)
    assert verdicts.depth_matters(whole, "sawtooth", 8).supported is (error < 0.1)
    elsewhere = pd.concat([whole, damaged.assign(form="other", target="smooth", pieces=0)])  # of no concern here
    assert verdicts.training_finds_it(elsewhere).supported is (error < 0.1)


def test_a_rate_at_which_training_failed_is_not_chosen() -> None:
    whole = fits({("wide", 8): [0.3] * 3, ("deep", 8): [0.01] * 3})
    failed = pd.concat([whole, whole.assign(rate=0.1, loss=np.inf, error=np.nan)])
    assert verdicts.training_finds_it(failed).supported is False and verdicts.depth_matters(failed, "sawtooth", 8).supported is False


def test_whether_training_finds_what_exists() -> None:
    assert verdicts.training_finds_it(fits({("wide", 8): [0.001, 0.5, 0.002], ("wide", 64): [0.01] * 3})).supported is True
    missed = verdicts.training_finds_it(fits({("wide", 8): [0.001] * 3, ("wide", 64): [0.2, 0.01, 0.2]}))
    assert missed.supported is False and "64 pieces" in missed.why
    assert verdicts.training_finds_it(fits({("wide", 0): [0.2]})).supported is None


def test_whether_depth_matters_where_it_was_trained() -> None:
    def verdict(wide: list[float], deep: list[float]) -> bool | None:
        return verdicts.depth_matters(fits({("wide", 8): wide, ("deep", 8): deep}), "sawtooth", 8).supported

    assert verdict([0.1] * 3, [0.01] * 3) is False and verdict([0.03] * 3, [0.2] * 3) is False
    assert verdict([0.001] * 3, [0.018] * 3) is True and verdict([0.1] * 3, [0.15] * 3) is True
    assert verdict([0.2, 0.2, 0.01], [0.05, 0.05, 0.3]) is None
    assert verdicts.depth_matters(fits({("wide", 8): [0.1]}), "sawtooth", 8).supported is None


def test_the_rate_is_chosen_by_training_loss_for_each_form_and_target() -> None:
    table = fits({("wide", 8): [0.1, 0.2, 0.3], ("deep", 8): [0.3] * 3})
    worse = table.assign(rate=0.1, loss=table["loss"] + (table["form"] == "wide") - 0.1, error=9.0)
    chosen = verdicts.best_rate(pd.concat([table, worse]))
    assert dict(chosen.groupby("form")["rate"].first()) == {"wide": 0.01, "deep": 0.1} and len(chosen) == 6


def test_one_seed_that_fails_at_a_rate_does_not_rule_it_out() -> None:
    """By the median loss; the mean and the worst would choose the other rate."""
    table = fits({("wide", 8): [0.1, 0.1, 0.9], ("deep", 8): [0.1, 0.1, 0.9]})
    assert set(verdicts.best_rate(pd.concat([table, table.assign(rate=0.1, loss=0.2)]))["rate"]) == {0.01}


def test_the_figure_sets_the_smooth_curve_apart() -> None:
    errors = {(form, pieces): [0.01, 0.02] for form in runs.FORMS for pieces in (0, 2, 8)}
    drawn = figures.approximation_errors(hand.by_hand(range(1, 4)), fits(errors), "A finding")
    assert [tick.get_text() for tick in drawn.axes[1].get_xticklabels()] == ["smooth", "2", "8"]
