"""What notebook 08 says in prose is what the data say."""

from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
from scipy import stats

from resnet_nb.porting import reference
from resnet_nb.published import cifar_errors
from resnet_nb.recipes import get_recipe
from resnet_nb.scoreboard import reproduction, scoreboard

PATH = Path(__file__).parents[1] / "notebooks" / "08_reproduce.ipynb"
PROSE = rules.prose(nbformat.read(PATH, as_version=4))


def says(*texts: str) -> None:
    for text in texts:
        assert text in PROSE, text


def test_the_rule_is_the_one_that_was_fixed_and_sees_what_is_said() -> None:
    says("within 0.6 points", "95 times in 100")
    assert scoreboard.MARGIN == 0.6 and reproduction.FEWEST_RUNS == 3
    assert reproduction.chance_of_reproduced(0, 5) == pytest.approx(0.95, abs=0.01)


def test_published_spreads_lie_where_the_notebook_says() -> None:
    table = cifar_errors()
    spreads = table["std"].dropna()
    says(f"between {spreads.min():.2f} and {spreads.max():.2f} points")


def test_the_public_anchor_is_as_described() -> None:
    deep = reproduction.public_runs().set_index("model").loc["resnet110"]
    says(f"{deep['mean']:.2f} ± {deep['std']:.2f}", f"{deep['difference']:.2f} points above the paper's mean")
    assert "0.1 to 0.001" in deep["fault"]
    assert (reproduction.public_runs()["verdict"] == "reproduced").all(), "section 2 says that all pass"


def test_the_rate_of_the_fault_is_a_tenth_of_the_papers_after_the_first_drop() -> None:
    says("at a tenth of the paper's rate", "32,000 and 48,000")
    recipe = get_recipe("paper-cifar")
    assert recipe.drops == (32_000, 48_000) and recipe.rate_at(40_000) == pytest.approx(0.01) and recipe.warmup_iterations == 400


def test_what_would_change_our_mind_is_the_margin_about_the_papers_number() -> None:
    paper = cifar_errors().query("family == 'residual' and depth == 20").iloc[0]["value"]
    says(f"outside {paper - scoreboard.MARGIN:.2f} to {paper + scoreboard.MARGIN:.2f}")


def test_the_exercises_power_is_that_of_the_t_test() -> None:
    says("probability 0.93", "0.126")
    error = 0.2 * (1 / 5 + 1 / 5) ** 0.5
    power = 1 - stats.nct.cdf(stats.t.ppf(0.975, 8), 8, 0.5 / error)
    assert error == pytest.approx(0.126, abs=0.001) and power == pytest.approx(0.93, abs=0.005)


def test_plain_56s_first_gradient_is_as_said() -> None:
    norms = reference.load()["nets"]["plain56"]["gradient_norms"]
    says(f"{norms['first_convolution']:,.0f}", f"{norms['classifier']:.1f}")


def test_the_runs_of_full_length_end_where_the_closing_says() -> None:
    says("ResNet-20 ends 0.3 points below the paper's number", "plain-20 near what its figure shows")
    board = scoreboard.scoreboard()
    paper = board[(board["runs"] > 0) & board["source_label"].fillna("").str.startswith("He et al.")].set_index("model")
    assert paper.loc["resnet20", "published"] - paper.loc["resnet20", "mean"] == pytest.approx(0.3, abs=0.05)
    assert abs(paper.loc["plain20", "published"] - paper.loc["plain20", "mean"]) < 1
