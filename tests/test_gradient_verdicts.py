"""What theory says of a layer, and verdicts that follow their tables, both ways."""

import math

import numpy as np
import pandas as pd
import pytest

from resnet_nb.vanishing import growth, kinds, mean_field, net_name, of_kind, ratio, theory
from resnet_nb.verdicts.gradients import article, closes_gap, frozen_by_the_first_steps, healthy, pace, remedies, removes_slowness, vanishes_at_birth


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
    [({20: 1.24, 56: 1.21}, False), ({20: 1.0, 56: 0.98}, False), ({20: 0.7, 56: 0.4}, True), ({20: 0.7, 56: 1.2}, None)],
)
def test_vanishing_at_birth_follows_the_growths(growths: dict, supported: bool | None) -> None:
    verdict = vanishes_at_birth(growths)
    assert verdict.supported is supported and f"{max(growths.values()):.2f}" in verdict.why


@pytest.mark.parametrize(("ratios", "supported"), [((3.0, 50.0), True), ((2e4, 2e7), False), ((2e-3, 5e-4), False), ((22.0, 8e3), None)])
def test_healthy_norms_follow_the_ratios(ratios: tuple, supported: bool | None) -> None:
    verdict = healthy(pd.DataFrame({"depth": [20, 56], "ratio": ratios}), "at initialisation")
    assert verdict.supported is supported and f"{ratios[1]:.2g} (56 layers)" in verdict.why


def trace(norms: tuple[float, float], beside: float) -> pd.DataFrame:
    """The first stage's norms at first and late, and its late angle over the third stage's."""
    rows = [("stage 1", 0, norms[0], 1.0), ("stage 1", 30, norms[1], 0.01 * beside), ("stage 1", 90, 1e9, 1e-9)]
    rows += [("stage 3", 0, 1.0, 0.1), ("stage 3", 30, 99.0, 0.01), ("stage 3", 90, 1.0, 1.0), ("classifier", 0, 1.0, 1.0)]
    return pd.DataFrame(rows, columns=["stage", "iteration", "weight_norm", "angle"])


FROZEN, FREE = trace((5, 50), 0.05), trace((5, 5), 0.9)


@pytest.mark.parametrize(("norms", "beside", "supported"), [((5, 50), 0.05, True), ((5, 6), 0.9, False), ((5, 6), 0.05, None), ((5, 50), 0.9, None)])
def test_freezing_follows_the_first_stages_norms_and_angles(norms: tuple, beside: float, supported: bool | None) -> None:
    for late in (30, 61):  # the last one looked at before 61 is 30
        assert frozen_by_the_first_steps(trace(norms, beside), late).supported is supported
    found = pace(trace(norms, beside), 30)
    assert found["stretched"] == norms[1] / norms[0] and found["beside"] == pytest.approx(beside) and found["turned"] == pytest.approx(0.01 * beside)


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
