"""Each verdict says what its table says: fed one of either kind, and one that cannot tell."""

import math

import numpy as np
import pandas as pd
import pytest

from resnet_nb.findings.verdicts import block


def lesions(**errors: tuple[float, list[float]]) -> pd.DataFrame:
    """model=(intact, after each deletion); a downsampling block at chance is added, which must not count."""
    rows = []
    for model, (intact, after) in errors.items():
        family, depth = ("plain", model.removeprefix("plain")) if model.startswith("plain") else ("residual", model.removeprefix("resnet"))
        own = [("none", 0, False, intact), *(("layer1.0", 1, False, error) for error in after), ("layer2.0", 2, True, 90.0)]
        rows += [("someone", model, family, int(depth), *row) for row in own]
    return pd.DataFrame(rows, columns=["owner", "model", "family", "depth", "block", "stage", "downsampling", "error"])


GOOD = {"resnet56": (7.0, [7.5, 8.0, 20.0]), "resnet20": (8.0, [20.0, 30.0, 60.0]), "plain20": (9.0, [80.0, 88.0, 90.0])}


def test_damage_is_the_medians_share_of_the_way_to_chance() -> None:
    table = block.damage(lesions(**GOOD)).set_index("model")
    assert table.loc["resnet56", ["intact", "median", "worst", "rise"]].tolist() == [7.0, 8.0, 20.0, 1.0]
    assert table["damage"].tolist() == pytest.approx([1 / 83, 22 / 82, 79 / 81])
    assert table["fate"].tolist() == ["survives", "suffers", "is lost"]


@pytest.mark.parametrize(
    ("change", "supported", "says"),
    [
        ({}, True, "7.0 % intact, 8.0 % without a block"),
        ({"resnet56": (7.0, [40.0, 41.0, 42.0])}, False, "fails for residual, 56 layers"),
        ({"resnet20": (8.0, [8.1, 8.2, 8.3])}, False, "fails for residual, 20 layers"),
        ({"plain20": (9.0, [12.0, 13.0, 90.0])}, False, "fails for plain"),
        ({"plain56": (9.0, [12.0, 13.0, 14.0])}, False, "fails for plain"),
        ({"resnet20": (8.0, [12.0, 13.0, 14.0])}, False, "fails for residual, 20 layers"),  # more than the deep net, and still little
        ({"resnet56": (7.0, [40.0, 41.0, 42.0])}, False, "fails for residual, 56 layers, residual, 20 layers."),  # much, and less than the deep net
    ],
)
def test_survival_follows_its_table(change: dict, supported: bool, says: str) -> None:
    verdict = block.survival(lesions(**GOOD | change))
    assert verdict.supported is supported and says in verdict.why and ("not supported" in str(verdict)) is not supported


def test_survival_cannot_be_told_without_plain_nets_or_a_second_depth() -> None:
    for left_out in ("plain20", "resnet20"):
        verdict = block.survival(lesions(**{name: value for name, value in GOOD.items() if name != left_out}))
        assert verdict.supported is None and "cannot be told" in str(verdict)


@pytest.mark.parametrize(
    "change",
    [
        {"resnet56": (7.0, [7.5, np.nan, 8.0])}, {"resnet56": (np.nan, [7.5, 8.0])}, {"plain20": (9.0, [88.0, np.inf, np.inf])},
        {"resnet56": (7.0, [])}, {"plain20": (90.0, [90.0, 91.0])}, {"resnet20": (91.0, [20.0])}, {"resnet56": (95.0, [99.0])},
        {"resnet56": (10.0, [18.0])}, {"plain20": (10.0, [50.0])},
    ],
)  # fmt: skip
def test_errors_that_are_missing_chance_or_at_a_bound_leave_survival_undecided(change: dict) -> None:
    verdict = block.survival(lesions(**GOOD | change))
    assert verdict.supported is None and verdict.why.endswith(".")


def test_a_net_without_its_intact_error_is_refused() -> None:
    made = lesions(**GOOD)
    assert block.damage(lesions(plain20=(91.0, [95.0])))["fate"].tolist() == ["unknown"]
    with pytest.raises(ValueError, match="intact net's error, for someone plain20"):
        block.survival(made[(made["block"] != "none") | (made["model"] != "plain20")])
    assert block.survival(made.iloc[:0]).supported is None


def responses(**means: float) -> pd.DataFrame:
    rows = []
    for key, mean in means.items():
        owner, family, depth = key.split("_")
        rows += [(owner, family, int(depth), value) for value in (0.5 * mean, mean, 1.5 * mean)]
    return pd.DataFrame(rows, columns=["owner", "family", "depth", "response"])


def test_responses_are_compared_within_an_owner() -> None:
    falling = responses(a_residual_20=0.7, a_residual_56=0.4, b_residual_20=0.3, b_residual_56=0.2, a_plain_56=0.1)
    assert block.smaller_when_deeper(falling).supported is True
    assert block.smaller_than_plain(falling).supported is False
    rising = responses(a_residual_20=0.7, a_residual_56=0.4, b_residual_20=0.2, b_residual_56=0.3)
    assert block.smaller_when_deeper(rising).supported is False and block.smaller_than_plain(rising).supported is None
    assert block.smaller_when_deeper(responses(a_residual_20=1, b_residual_56=0.1)).supported is None
    both = responses(a_residual_20=0.7, a_plain_20=0.8, a_residual_56=0.4, a_plain_56=0.5)
    assert block.smaller_than_plain(both).supported is True and "20 layers: residual 0.700, plain 0.800" in block.smaller_than_plain(both).why
    assert block.smaller_when_deeper(both.drop(columns="owner").assign(seed=3)).supported is True


@pytest.mark.parametrize(
    ("means", "supported"),
    [
        ({"a_residual_20": 0.7, "a_residual_32": 0.2, "a_residual_56": 0.4}, False),  # the last is below the first, and yet not every step falls
        ({"a_residual_20": 0.7, "a_residual_32": 0.4, "a_residual_56": 0.4}, None),
        ({"a_residual_20": 0.4, "a_residual_32": 0.4, "a_residual_56": 0.5}, False),
        ({"a_residual_20": 0.7, "a_residual_56": 0.4, "b_residual_20": 0.7, "b_residual_56": np.nan}, None),
        ({"a_residual_20": np.inf, "a_residual_56": 0.4}, None),
        ({}, None),
    ],
)
def test_responses_fall_from_each_depth_to_the_next(means: dict, supported: bool | None) -> None:
    verdict = block.smaller_when_deeper(responses(**means))
    assert verdict.supported is supported and verdict.why.endswith(".")


@pytest.mark.parametrize(
    ("means", "supported"),
    [
        ({"a_residual_20": 0.7, "a_plain_20": 0.8, "a_residual_56": 0.5, "a_plain_56": 0.1}, False),  # of two depths one
        ({"a_residual_20": 0.7, "a_plain_20": 0.8, "a_residual_56": 0.5, "a_plain_56": 0.5}, None),
        ({"a_residual_20": 0.7, "a_plain_20": np.nan}, None),
        ({"a_residual_20": 0.7, "a_plain_20": np.inf}, None),
        ({}, None),
    ],
)
def test_responses_are_smaller_at_every_depth(means: dict, supported: bool | None) -> None:
    verdict = block.smaller_than_plain(responses(**means))
    assert verdict.supported is supported and verdict.why.endswith(".")


def test_one_response_that_is_missing_is_not_passed_over() -> None:
    made = responses(a_residual_20=0.7, a_plain_20=0.8, a_residual_56=0.4)
    made.loc[0, "response"] = np.nan
    assert block.smaller_when_deeper(made).supported is None and block.smaller_than_plain(made).supported is None


def paths(model: str, centre: int, spread: float, blocks: int = 20) -> pd.DataFrame:
    lengths = np.arange(blocks + 1)
    share = np.exp(-((lengths - centre) ** 2) / (2 * spread**2))
    return pd.DataFrame({"owner": "someone", "model": model, "length": lengths, "share": share / share.sum()})


def test_the_range_of_paths_is_the_shortest_that_holds_enough() -> None:
    assert block.path_range(paths("a", 5, 1.0)) == (3, 7)
    point = paths("a", 5, 1.0).assign(share=[0.0] * 5 + [1.0] + [0.0] * 15)
    assert block.path_range(point) == (5, 5)
    low, high = block.path_range(paths("a", 5, 1.0).sample(frac=1, random_state=0))
    assert (low, high) == (3, 7)
    assert block.short_paths(paths("a", 5, 1.0)).supported is True
    two = block.short_paths(pd.concat([paths("a", 5, 1.0), paths("b", 9, 2.0)]))
    assert two.supported is False and "someone b: 5 to 12 of 20 blocks" in two.why


LENGTHS = np.arange(21)
FLAT_TO_HALF = np.where((LENGTHS > 0) & (LENGTHS <= 10), 0.1, 0.0)  # ends at half of the blocks


@pytest.mark.parametrize(
    "net",
    [
        paths("a", 5, 1.0).iloc[:0],
        paths("a", 5, 1.0).assign(share=np.nan),
        paths("a", 5, 1.0).assign(share=lambda net: net["share"].where(net["length"] != 15)),
        paths("a", 5, 1.0).assign(share=lambda net: net["share"] / 2),
        paths("a", 5, 1.0).iloc[1:],
        paths("a", 5, 1.0).drop(index=15),
        pd.concat([paths("a", 5, 1.0), paths("a", 5, 1.0)]),
        paths("a", 5, 1.0).assign(paths=[math.comb(30, length) for length in LENGTHS]),  # of 30 blocks
        paths("a", 5, 1.0).assign(share=FLAT_TO_HALF),
    ],
    ids=["empty", "no share", "a share missing", "half of it", "no length 0", "a length missing", "each length twice", "truncated", "a tie"],
)
def test_paths_that_are_not_all_there_or_end_at_the_half_decide_nothing(net: pd.DataFrame) -> None:
    verdict = block.short_paths(net)
    assert verdict.supported is None and verdict.why.endswith(".")


def test_all_paths_of_a_net_are_counted() -> None:
    counted = paths("a", 5, 1.0).assign(paths=[math.comb(20, length) for length in LENGTHS])
    assert block.short_paths(counted).supported is True
    assert block.short_paths(pd.concat([paths("b", 9, 2.0), paths("a", 5, 1.0).iloc[1:]])).supported is None
    with pytest.raises(ValueError, match="less than 95% together"):
        block.path_range(counted.assign(share=0.01))


def slices(family: str, width: float, rough: float = 0.0) -> pd.DataFrame:
    steps = np.linspace(-1, 1, 21)
    loss = (steps / width) ** 2 + rough * np.cos(20 * steps)
    return pd.DataFrame({
        "owner": "someone", "model": family, "family": family, "depth": 20, "direction": 0, "statistics": "kept", "step": steps, "loss": loss,
        "error": np.minimum(90, 10 + 40 * (steps / width) ** 2),
    })  # fmt: skip


def test_the_wider_basin_is_seen_and_dips_are_counted() -> None:
    table = block.basins(pd.concat([slices("plain", 0.3), slices("residual", 0.6, rough=0.3)])).set_index("family")
    assert table["width"].tolist() == pytest.approx([0.4, 1.0], abs=0.2) and table["width"].iloc[0] < table["width"].iloc[1]
    assert table.loc["plain", "dips"] == 1 and table.loc["residual", "dips"] > 1
    assert block.wider_basin(pd.concat([slices("plain", 0.3), slices("residual", 0.6)])).supported is True
    assert block.wider_basin(pd.concat([slices("plain", 0.6), slices("residual", 0.3)])).supported is False
    assert block.wider_basin(slices("plain", 0.3)).supported is None


def test_a_basin_ends_half_way_from_its_least_error_to_chance() -> None:
    """From 10 to 90 that is 50; what is good again farther out is another basin."""
    errors = [20, 51, 49, 30, 10, 30, 49.9, 50, 20]
    line = pd.DataFrame({"model": "plain8", "family": "plain", "depth": 8, "direction": 0, "statistics": "own"} | {"step": np.arange(9) - 4.0})
    line = line.assign(error=errors, loss=np.array(errors) / 10)
    (found,) = block.basins(line).itertuples()
    assert (found.width, found.dips, found.least) == (4.0, 1, 1.0)  # steps -2 to 2


@pytest.mark.parametrize(
    ("plain", "residual", "supported"),
    [
        (slices("plain", 5), slices("residual", 5), None),  # both longer than what was measured
        (slices("plain", 0.3), slices("residual", 5), True),
        (slices("plain", 5), slices("residual", 0.3), False),
        (slices("plain", 0.3), slices("residual", 0.3), False),  # measured, and not longer
        (slices("plain", 0.3).assign(error=np.nan), slices("residual", 0.6), None),
        (slices("plain", 0.6), slices("residual", 0.3).replace({"error": {10.0: np.nan}}), None),
        (slices("plain", 0.6), slices("residual", 0.3).assign(error=90.0), None),
        (slices("plain", 0.6).iloc[:0], slices("residual", 0.3).iloc[:0], None),
    ],
)
def test_basins_that_were_not_measured_to_their_ends_are_not_compared(plain: pd.DataFrame, residual: pd.DataFrame, supported: bool | None) -> None:
    verdict = block.wider_basin(pd.concat([plain, residual]))
    assert verdict.supported is supported and verdict.why.endswith(".")


@pytest.mark.parametrize(("other", "supported"), [((0.3, 0.6), None), ((0.6, 0.3), False)])
def test_a_whole_length_beside_a_measured_width(other: tuple[float, float], supported: bool | None) -> None:
    deep = [slices(family, width).assign(depth=56) for family, width in zip(("plain", "residual"), other, strict=True)]
    assert block.wider_basin(pd.concat([slices("plain", 5), slices("residual", 5), *deep])).supported is supported
