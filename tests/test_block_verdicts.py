"""Each verdict says what its table says: fed one of either kind, and one that cannot tell."""

import numpy as np
import pandas as pd
import pytest

from resnet_nb.verdicts import block


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
    ],
)
def test_survival_follows_its_table(change: dict, supported: bool, says: str) -> None:
    verdict = block.survival(lesions(**GOOD | change))
    assert verdict.supported is supported and says in verdict.why and ("not supported" in str(verdict)) is not supported


def test_survival_cannot_be_told_without_plain_nets_or_a_second_depth() -> None:
    for left_out in ("plain20", "resnet20"):
        verdict = block.survival(lesions(**{name: value for name, value in GOOD.items() if name != left_out}))
        assert verdict.supported is None and "cannot be told" in str(verdict)


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
