"""What theory says of a layer, and verdicts that follow their tables, both ways."""

import math

import numpy as np
import pandas as pd
import pytest

from resnet_nb.findings.vanishing import growth, kinds, mean_field, net_name, of_kind, ratio, theory
from resnet_nb.findings.verdicts import Verdict, below, complete
from resnet_nb.findings.verdicts.gradients import (
    article,
    closes_gap,
    frozen_by_the_first_steps,
    healthy,
    pace,
    remedies,
    removes_slowness,
    vanishes_at_birth,
)

NAN = math.nan


@pytest.mark.parametrize("values", [[], [1.0, NAN], [math.inf], [-math.inf, 0.0]])
def test_nothing_is_compared_with_what_is_not_there(values: list[float]) -> None:
    assert not complete(values) and complete([1, 2])
    for pair in ((values, 1.0), (1.0, values)):
        supported, doubt = below(*pair)
        assert supported is None and "missing or not finite" in doubt


@pytest.mark.parametrize(
    ("low", "high", "supported"), [([1, 2], [2, 3], True), ([1, 3], 3, None), ([1, 4], 3, False), ([3, 4], 3, False), (0.5, [0.6, 0.5], None)]
)
def test_an_equal_pair_is_undecided_where_none_contradicts(low, high, supported: bool | None) -> None:
    found, doubt = below(low, high)
    assert found is supported and ("equal" in doubt) == (supported is None)


def table(factor: float, layers: int = 6, stage: str = "layer1") -> pd.DataFrame:
    """An atlas whose gradients grow backwards by `factor` a layer."""
    names = ["conv1", *(f"{stage}.{place // 2}.conv{place % 2 + 1}" for place in range(layers)), "fc"]
    return pd.DataFrame({"layer": names, "output_gradient": [factor**-place for place in range(layers + 2)]})


@pytest.mark.parametrize("factor", (0.41, 1.0, 1.21))
def test_growth_is_the_factor_a_layer_of_the_stage_alone(factor: float) -> None:
    found = table(factor)
    found.loc[0, "output_gradient"] *= 100  # the first layer is not the stage's
    assert growth(found) == pytest.approx(factor) and ratio(found) == pytest.approx(100 * factor**6)
    blocks = pd.DataFrame({"layer": [f"layer1.{n}" for n in range(4)], "output_gradient": factor ** np.arange(8, 0, -2.0)})
    assert growth(blocks, layers_apart=2) == pytest.approx(factor)
    with pytest.raises(ValueError, match="two rows"):
        growth(found, "layer3")
    found.loc[found["layer"] == "layer1.2.conv2", "output_gradient"] = 0
    assert math.isnan(growth(found)) and math.isnan(ratio(found))


def test_the_known_factors_of_theory() -> None:
    assert theory("plain", "batch", "he-fan-in") == pytest.approx(1.2112, abs=1e-4)
    assert [theory("plain", "none", init) for init in ("he-fan-in", "glorot", "pytorch")] == pytest.approx([1, 2**-0.5, 6**-0.5])
    assert theory("residual", "none", "he-fan-in") ** 2 == pytest.approx(2**0.5) and theory("residual", "batch", "zero-last-scale") == 1
    assert theory("residual", "batch", "he-fan-in") is None and theory("plain", "none", "small") is None
    assert theory("plain", "none", "delta-orthogonal", "none") == 1 and theory("plain", "none", "delta-orthogonal") == 1


def test_the_mean_field_factor_is_that_of_drawn_units() -> None:
    """A million normal units a layer, in the place of the quadrature."""
    generator = np.random.default_rng(0)
    for activation, function, slope in (("sigmoid", lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
                                        ("tanh", np.tanh, lambda z: 1 / np.cosh(z) ** 2)):
        q = 1.0
        for _ in range(6):
            q = 2.0 * float((function(q**0.5 * generator.standard_normal(1_000_000)) ** 2).mean())
        drawn = (2.0 * float((slope(q**0.5 * generator.standard_normal(1_000_000)) ** 2).mean())) ** 0.5
        assert mean_field(2.0, activation, layers=6) == pytest.approx(drawn, rel=3e-3)
    assert mean_field(1.0, "sigmoid") == pytest.approx(0.24, abs=0.01) and mean_field(2.0, "relu") == 1 and mean_field(4.0, "none") == 2


@pytest.mark.parametrize(
    ("growths", "supported"),
    [({20: 1.24, 56: 1.2}, False), ({20: 1.0, 56: 0.98}, False), ({20: 0.7, 56: 0.4}, True), ({20: 0.7, 56: 1.2}, None), ({20: 0.9, 56: 0.92}, True)],
)
def test_vanishing_at_birth_follows_the_growths(growths: dict, supported: bool | None) -> None:
    verdict = vanishes_at_birth(growths)
    assert verdict.supported is supported and f"{max(growths.values()):.2f}" in verdict.why


@pytest.mark.parametrize("growths", [{}, {20: 1.2}, {20: 0.5}, {20: NAN, 56: 1.2}, {20: 1.2, 56: NAN}, {20: 0.5, 56: NAN}, {20: 1.2, 56: math.inf}])
def test_one_depth_or_a_growth_that_is_missing_tells_nothing_of_birth(growths: dict) -> None:
    verdict = vanishes_at_birth(growths)
    assert verdict.supported is None and verdict.why == ("It takes two depths." if len(growths) < 2 else "A value is missing or not finite.")


@pytest.mark.parametrize(
    ("ratios", "supported"),
    [((3.0, 50.0), True), ((2e4, 2e7), False), ((2e-3, 5e-4), False), ((22.0, 8e3), None), ((1.0, 120.0), None), ((70.0, 80.0), True)],
)
def test_healthy_norms_follow_the_ratios(ratios: tuple, supported: bool | None) -> None:
    verdict = healthy(pd.DataFrame({"depth": [20, 56], "ratio": ratios}), "at initialisation")
    assert verdict.supported is supported and f"{ratios[1]:.2g} (56 layers)" in verdict.why
    assert ("holds for some nets and not for others" in verdict.why) == (supported is None)


@pytest.mark.parametrize("ratios", [(), (3.0, NAN), (NAN, NAN), (3.0, 0.0), (3.0, -2.0), (2e4, math.inf)])
def test_ratios_that_are_none_tell_nothing_of_health(ratios: tuple) -> None:
    verdict = healthy(pd.DataFrame({"depth": [20, 56][: len(ratios)], "ratio": ratios}, dtype=float), "at initialisation")
    assert verdict.supported is None and ("not above 0" if ratios else "no net") in verdict.why


def trace(norms: tuple[float, float], beside: float) -> pd.DataFrame:
    """The first stage's norms at first and late, and its late angle over the third stage's."""
    rows = [("stage 1", 0, norms[0], 1.0), ("stage 1", 30, norms[1], 0.01 * beside), ("stage 1", 90, 1e9, 1e-9)]
    rows += [("stage 3", 0, 1.0, 0.1), ("stage 3", 30, 99.0, 0.01), ("stage 3", 90, 1.0, 1.0), ("classifier", 0, 1.0, 1.0)]
    return pd.DataFrame(rows, columns=["stage", "iteration", "weight_norm", "angle"])


FROZEN, FREE = trace((5, 50), 0.05), trace((5, 5), 0.9)


@pytest.mark.parametrize(
    ("norms", "beside", "supported"),
    [
        ((5, 50), 0.05, True), ((5, 6), 0.9, False), ((5, 6), 0.05, None), ((5, 50), 0.9, None),
        ((5, 15), 0.05, True), ((5, 10), 0.05, True), ((5, 15), 0.9, None), ((5, 6), 0.3, False), ((5, 50), 0.3, None),
    ],
)  # fmt: skip
def test_freezing_follows_the_first_stages_norms_and_angles(norms: tuple, beside: float, supported: bool | None) -> None:
    for late in (30, 61):  # the last one looked at before 61 is 30
        assert frozen_by_the_first_steps(trace(norms, beside), late).supported is supported
    found = pace(trace(norms, beside), 30)
    assert found["stretched"] == norms[1] / norms[0] and found["beside"] == pytest.approx(beside) and found["turned"] == pytest.approx(0.01 * beside)


def test_one_layer_far_off_does_not_set_the_pace() -> None:
    others = [FROZEN.assign(layer=number) for number in range(2)]
    far = FROZEN.assign(layer=2, weight_norm=FROZEN["weight_norm"] * (1 + FROZEN["iteration"]), angle=FROZEN["angle"] * (1 + FROZEN["iteration"]))
    assert pace(pd.concat([*others, far]), 30).tolist() == pytest.approx(pace(FROZEN, 30).tolist())


@pytest.mark.parametrize("value", [NAN, math.inf, 0.0])
@pytest.mark.parametrize(
    ("stage", "iteration", "column"), [("stage 1", 0, "weight_norm"), ("stage 1", 0, "angle"), ("stage 3", 30, "angle")]
)
def test_nothing_is_measured_against_a_norm_or_an_angle_that_is_none(stage: str, iteration: int, column: str, value: float) -> None:
    damaged = FROZEN.copy()
    damaged.loc[(damaged["stage"] == stage) & (damaged["iteration"] == iteration), column] = value
    with pytest.raises(ValueError, match="missing, not finite, or 0"):
        pace(damaged, 30)
    assert frozen_by_the_first_steps(damaged, 30).supported is None
    several = pd.concat([FROZEN, FROZEN, damaged])  # a median passes over one that is missing
    assert frozen_by_the_first_steps(several, 30).supported is (True if value == 0 else None)


@pytest.mark.parametrize(
    ("query", "late"),
    [
        ("stage != 'stage 1'", 30), ("stage != 'stage 3'", 30), ("iteration == 30", 30), ("iteration < 0", 30), ("iteration >= 0", 0),
        ("iteration >= 0", -1),
    ],
)  # fmt: skip
def test_a_pace_takes_two_updates_of_both_stages(query: str, late: int) -> None:
    for made in (FROZEN, FREE):
        with pytest.raises(ValueError, match="two updates or more"):
            pace(made.query(query), late)
        verdict = frozen_by_the_first_steps(made.query(query), late)
        assert verdict.supported is None and "two updates or more" in verdict.why


def by_change(value: str, **each: tuple[float, ...]) -> pd.DataFrame:
    """A run for each value, of the seeds from 0."""
    rows = [(change, seed, found) for change, values in each.items() for seed, found in enumerate(values)]
    return pd.DataFrame(rows, columns=["change", "seed", value])


@pytest.mark.parametrize(
    ("control", "kept"), [((270,), (90,)), ((270,), (300,)), ((270, 270), (NAN, 90)), ((NAN, 270), (300, 300)), ((90, 90, 90), (90, 30, 30))]
)
def test_one_seed_a_missing_number_or_a_tie_leaves_the_speed_undecided(control: tuple, kept: tuple) -> None:
    verdict = removes_slowness(by_change("iterations", control=control, kept=kept), "kept", control="control")
    assert verdict.supported is None and "nan" not in verdict.why


@pytest.mark.parametrize(
    ("change", "control", "says"),
    [("gone", "control", "No run has the change 'gone'"), ("kept", "gone", "No run has the change 'gone'"), ("kept", "kept", "compared with itself"),
     ("twice", "control", "Two runs have one change and seed"), ("never", "control", "above 0"), ("back", "control", "above 0")],
)  # fmt: skip
def test_times_that_cannot_be_compared_are_refused(change: str, control: str, says: str) -> None:
    times = by_change("iterations", control=(270, 270), kept=(90, 90), twice=(90, 90), never=(90, 0), back=(-5, 90))
    times = pd.concat([times, times[times["change"] == "twice"]])
    with pytest.raises(ValueError, match=says):
        removes_slowness(times, change, control=control)
    if "above" not in says:
        with pytest.raises(ValueError, match=says):
            closes_gap(times.rename(columns={"iterations": "train_error"}), change, control=control, goal="never")
    assert removes_slowness(times, "kept", control="control").supported is True  # what is not compared does not matter


@pytest.mark.parametrize(
    ("control", "kept", "goal"),
    [((90,), (20,), (10,)), ((90, 90), (20, NAN), (10, 10)), ((90, 90), (20, math.inf), (10, 10)), ((90, NAN), (80, 80), (10, 10)),
     ((10, 10), (20, 20), (10, 10)), ((10, 10), (5, 5), (30, 30)), ((90, 10), (20, 20), (10, 10)), ((90, 10), (20, 15), (10, 20)),
     ((90, 10), (80, 9), (10, 20))],
)  # fmt: skip
def test_where_there_is_no_gap_none_is_closed(control: tuple, kept: tuple, goal: tuple) -> None:
    verdict = closes_gap(by_change("train_error", control=control, kept=kept, goal=goal), "kept", control="control", goal="goal")
    assert verdict.supported is None and verdict.why


@pytest.mark.parametrize(
    ("changed", "supported"), [((100, 110, 90), True), ((230, 250, 240), False), ((300, 400, math.inf), False), ((100, 110, 280), None)]
)
def test_removing_slowness_follows_the_times_seed_by_seed(changed: tuple, supported: bool | None) -> None:
    rows = [("as it is", seed, 270.0) for seed in range(3)] + [("kept", seed, value) for seed, value in enumerate(changed)]
    times = pd.DataFrame(rows, columns=["change", "seed", "iterations"])
    assert removes_slowness(times, "kept", control="as it is").supported is supported
    with pytest.raises(ValueError, match="No seed"):
        removes_slowness(times.assign(seed=times["seed"] + 9 * (times["change"] == "kept")), "kept", control="as it is")


@pytest.mark.parametrize(
    ("control", "changed", "supported"),
    [
        ((900, math.inf), (400, 300), True), ((900, math.inf), (600, 800), None), ((900, 900), (600, 300), None), ((900, 900), (500, 600), False),
        ((math.inf, math.inf), (math.inf, math.inf), False), ((math.inf, math.inf), (math.inf, 300), None),
    ],
)  # fmt: skip
def test_a_control_that_never_arrives_is_no_proof_of_a_remedy(control: tuple, changed: tuple, supported: bool | None) -> None:
    rows = [(change, "plain", seed, time) for change, times in (("as it is", control), ("clipped", changed)) for seed, time in enumerate(times)]
    rows.append(("residual net, as it is", "residual", 0, 100))
    found = remedies(pd.DataFrame(rows, columns=["change", "family", "seed", "iterations"]), control="as it is")
    assert list(found) == ["clipped"] and found["clipped"].supported is supported and "nan" not in found["clipped"].why
    assert ("without limit" in found["clipped"].why) == any(math.isinf(c) and not math.isinf(t) for c, t in zip(control, changed, strict=True))


@pytest.mark.parametrize(("errors", "supported"), [((60, 40), True), ((60, 48), None), ((75, 55), False)])
def test_the_gap_is_closed_seed_by_seed(errors: tuple, supported: bool | None) -> None:
    each = {"as it is": (90, 60), "clipped": errors, "residual net": (40, 30)}
    rows = [(change, seed, error) for change, found in each.items() for seed, error in enumerate(found)]
    ends = pd.DataFrame(rows, columns=["change", "seed", "train_error"])
    verdict = closes_gap(ends, "clipped", control="as it is", goal="residual net")
    assert verdict.supported is supported and f"{2 * (90 - errors[0]):.1f} %" in verdict.why
    with pytest.raises(ValueError, match="No seed"):
        closes_gap(ends.assign(seed=ends["seed"] + 9 * (ends["change"] == "clipped")), "clipped", control="as it is", goal="residual net")


def test_the_articles_verdict_follows_from_the_others() -> None:
    vanishing, growing = vanishes_at_birth({20: 0.5, 56: 0.5}), vanishes_at_birth({20: 1.2, 56: 1.2})
    frozen = frozen_by_the_first_steps(FROZEN, 30)
    each = {"as it is": 270.0, "kept": 100.0, "limited": 300.0}
    rows = [(change, seed, iterations) for change, iterations in each.items() for seed in range(3)]
    times = pd.DataFrame(rows, columns=["change", "seed", "iterations"])
    helps, null = (removes_slowness(times, change, control="as it is") for change in ("kept", "limited"))
    assert article(growing, frozen, {"limited": null}).supported is False
    assert article(growing, frozen, {"kept": helps, "limited": null}).supported is None
    assert article(vanishing, frozen, {"kept": helps}).supported is True
    assert article(vanishing, frozen, {"limited": null}).supported is None
    assert "do not slow" in article(growing, frozen_by_the_first_steps(FREE, 30), {}).why
    assert "kept" in article(growing, frozen, {"kept": helps}).why and "supported" in str(article(vanishing, frozen, {"kept": helps}))


@pytest.mark.parametrize(
    ("birth", "tried", "supported", "says"),
    [
        (False, (False, False), False, "no change that was tried"), (False, (), None, "no change was tried"),
        (False, (False, None), None, "undecided (b)"),
        (False, (None, None), None, "undecided (a, b)"), (None, (False, False), None, "no change that was tried"), (None, (True,), None, "helps (a)"),
        (False, (True, None), None, "helps (a)"), (True, (True, None), True, "helps (a)"), (True, (), None, "no change was tried"),
    ],
)  # fmt: skip
def test_the_article_is_contradicted_by_decided_remedies_alone(birth: bool | None, tried: tuple, supported: bool | None, says: str) -> None:
    remedies = {name: Verdict("", one, "") for name, one in zip("ab", tried, strict=False)}
    verdict = article(Verdict("", birth, ""), frozen_by_the_first_steps(FROZEN, 30), remedies)
    assert verdict.supported is supported and says in verdict.why


def test_kinds_have_growth_and_ratio_of_their_blocks_and_their_theory() -> None:
    what = {"family": "plain", "norm": "none", "init": "glorot", "activation": "relu", "depth": 8}
    blocks = pd.DataFrame({"layer": ["layer1.0", "layer1.1", "layer2.0"], "output_gradient": [1.0, 4.0, 16.0]}).assign(rows="blocks", **what)
    layers = pd.DataFrame({"layer": ["layer1.0.conv1", "layer1.0.conv2"], "output_gradient": [3.0, 4.0]}).assign(rows="layers", **what)
    (found,) = kinds(pd.concat([blocks, layers, blocks.assign(rows="none")])).itertuples()
    assert (found.net, found.depth, found.growth, found.ratio) == ("plain, no BN, Glorot, ReLU", 8, 0.5, 1 / 16)
    assert found.conv_growth == 0.75 and found.theory == pytest.approx(2**-0.5)
    assert len(of_kind(pd.concat([blocks, layers]), 8, "plain", "none", "glorot")) == 2
    assert net_name("residual", "batch", "zero-last-scale", "relu") == "residual, BN, zero last scale, ReLU"
    with pytest.raises(ValueError, match="no rows"):
        of_kind(blocks, 20, "plain", "none", "glorot")
