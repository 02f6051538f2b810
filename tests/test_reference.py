"""The reference values are what the package computes and what a port in NumPy alone computes, and a comparison with them names the mistake."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy_net
import pytest
import torch
from typer.testing import CliRunner

from resnet_nb import cli
from resnet_nb.porting import reference
from resnet_nb.porting.reference_mistakes import MISTAKES
from resnet_nb.porting.reference_runs import RATES, entry, recipe, rule_net, run

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
STORED = reference.load()
RIGHT = STORED["nets"]["resnet20"]
NET = {"resnet": True, "plain": False}


def relative(values: dict, others: dict) -> float:
    """The largest relative difference of like values."""
    flat, other = reference.flat(values), reference.flat(others)
    assert flat.keys() == other.keys()
    return max(abs(flat[name] / other[name] - 1) for name in flat)


def test_the_sequence_is_minstd() -> None:
    values = reference.draws(10_000)
    assert values[-1] == 399268537  # the C++ standard's check, [rand.predef]
    assert values.tolist() == numpy_net.rule_numbers(10_000).tolist()


def test_the_page_shows_the_first_values_of_the_rule() -> None:
    images, labels = reference.batch()
    first, classifier = reference.weights([(16, 3, 3, 3), (10, 64)])
    text = PAGE.read_text(encoding="utf-8")
    assert f"labels {', '.join(map(str, labels))}" in text
    assert f"bytes {', '.join(map(str, images.ravel()[:4]))}" in text and f"{images[15, 2, 31, 31]} is the last" in text
    assert f"weights {', '.join(f'{value:.15f}' for value in first.ravel()[:3])}" in text
    (*_, last) = reference.weights([weight.shape for weight in rule_net("resnet20").parameters() if weight.ndim > 1])
    assert f"classifier of resnet20 or plain20 begins with {last[0, 0]:.15f} and ends with {last[9, 63]:.15f}" in text


def test_a_weight_has_hes_variance() -> None:
    values = reference.weights([(64, 64, 3, 3), (10, 64)])
    assert values[0].var() == pytest.approx(2 / 576, rel=0.02) and abs(values[0]).max() < math.sqrt(6 / 576)
    assert abs(values[1]).max() == pytest.approx(math.sqrt(6 / 64), rel=0.01)


@pytest.mark.parametrize("model", ("resnet8", "plain8", "resnet14"))
def test_a_port_in_numpy_alone_gives_the_same_values(model: str) -> None:
    family, depth = model.rstrip("0123456789"), int(model.lstrip("resntplai"))
    port = numpy_net.eleven_steps(numpy_net.Net(depth, NET[family], width=4), 0.05)
    assert relative(port, run(rule_net(model, width=4), recipe(0.05))) < 1e-11


@pytest.mark.parametrize("model", ("resnet20", "plain20"))
def test_the_stored_values_are_those_of_the_package_and_of_the_port(model: str) -> None:
    stored = STORED["nets"][model]
    for values in (run(rule_net(model), recipe(RATES[model])), numpy_net.eleven_steps(numpy_net.Net(20, NET[model[:-2]]), stored["rate"])):
        assert reference.departure(values, stored, stored["tolerance"]["float64"]) is None


@pytest.mark.parametrize("model", RATES)
def test_the_stored_values_of_every_net_start_as_the_package_does(model: str) -> None:
    stored, net = STORED["nets"][model], rule_net(model).train()
    images, labels = (torch.from_numpy(values) for values in reference.batch())
    with torch.no_grad():
        scores = net((images - images.double().mean(0)) / 255)
    own = {"logits": scores[0].tolist(), "losses": [torch.nn.functional.cross_entropy(scores, labels).item()]}
    assert stored["rate"] == RATES[model] and reference.departure(own, stored, stored["tolerance"]["float64"]) is None


def test_single_precision_is_within_its_tolerance_and_not_within_that_of_double() -> None:
    single = run(rule_net("resnet20").float(), recipe(RATES["resnet20"]))
    assert reference.departure(single, RIGHT, RIGHT["tolerance"]["float32"]) is None
    assert "at step 0" in reference.departure(single, RIGHT, RIGHT["tolerance"]["float64"])


@pytest.mark.parametrize("model", RATES)
def test_tolerances_leave_digits_to_compare(model: str) -> None:
    values, tolerance = STORED["nets"][model], STORED["nets"][model]["tolerance"]
    assert max(reference.flat({"losses": tolerance["float64"]["losses"]}).values()) < 1e-7
    assert all(allowed > 0 for precision in reference.PRECISIONS for allowed in reference.flat(tolerance[precision]).values())
    for precision in reference.PRECISIONS:
        assert tolerance[precision]["losses"] == sorted(tolerance[precision]["losses"])
        assert reference.flat(tolerance[precision]).keys() == reference.flat(values).keys()


def test_an_entry_is_made_as_the_stored_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RATES, "plain8", 0.01)
    monkeypatch.setattr("resnet_nb.porting.reference_runs.TRIALS", 1)
    made = entry("plain8")
    assert reference.flat(made["tolerance"]["float32"]).keys() == reference.flat(made).keys() == reference.flat(RIGHT).keys()
    assert all(tolerance["losses"] == sorted(tolerance["losses"]) for tolerance in made["tolerance"].values())
    port = numpy_net.eleven_steps(numpy_net.Net(8, False), 0.01)
    assert reference.departure(port, made, made["tolerance"]["float64"]) is None


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_every_stored_mistake_shows_and_is_recognised(number: int) -> None:
    mistake = STORED["mistakes"][number]
    assert mistake["does"] == list(MISTAKES)[number]
    (found,) = reference.compare({"resnet20": mistake}, "float64", STORED)
    assert found["departs"] is not None and found["mistakes"] == [mistake["does"]] and found["fits_until"] is None


def biased_variances(net: numpy_net.Net) -> None:
    correct, biased = net.normalise, {}

    def normalise(x: np.ndarray, number: int, training: bool) -> tuple:
        answer = correct(x, number, training)
        if training:
            biased[number] = net.running[number][1] = 0.9 * biased.get(number, 1) + 0.1 * x.var((0, 2, 3))
        return answer

    net.normalise = normalise


def padding_behind(net: numpy_net.Net) -> None:
    correct = net.convolve

    def convolve(x: np.ndarray, number: int, stride: int) -> tuple:
        y, back = correct(x, number, 1)

        def strided_back(gradient: np.ndarray) -> np.ndarray:
            whole = np.zeros(y.shape)
            whole[:, :, 1::2, 1::2] = gradient
            return back(whole)

        return (y, back) if stride == 1 else (y[:, :, 1::2, 1::2], strided_back)  # the windows of stride 1 that begin at pixels 0, 2, 4 ...

    net.convolve = convolve


def torchs_momentum(net: numpy_net.Net) -> None:
    def update(rate: float) -> None:
        for key, parameter in net.parameters.items():
            decay = 1e-4 * parameter if key[0] == "weight" else 0
            net.velocities[key] = 0.9 * net.velocities.get(key, 0) + net.gradients[key] + decay
            net.parameters[key] = parameter - rate * net.velocities[key]

    net.update = update


@pytest.mark.parametrize(("make", "word"), [(biased_variances, "biased"), (padding_behind, "SAME"), (torchs_momentum, "torch's form")])
def test_a_mistake_made_in_the_port_is_recognised(make: Callable[[numpy_net.Net], None], word: str) -> None:
    net = numpy_net.Net(20, residual=True)
    make(net)
    (found,) = reference.compare({"resnet20": numpy_net.eleven_steps(net, RIGHT["rate"])}, "float64", STORED)
    (does,) = found["mistakes"]
    assert word in does and found["fits_until"] is None


def test_the_first_disagreement_is_named_and_two_mistakes_are_told_from_one() -> None:
    own = copy.deepcopy({name: STORED["mistakes"][5][name] for name in reference.KEPT})
    own["losses"][4] += 1e-6
    (found,) = reference.compare({"resnet20": own}, "float64", STORED)
    assert found["departs"] == "score 0 of the first image at step 0"
    assert found["mistakes"] == [STORED["mistakes"][5]["does"]] and found["fits_until"] == "the loss at step 4"
    unknown = {"losses": [*RIGHT["losses"][:3], RIGHT["losses"][3] + 1e-3]}
    (found,) = reference.compare({"resnet20": unknown}, "float64", STORED)
    assert found["departs"] == "the loss at step 3" and found["mistakes"] == [] and found["compared"] == 4
    assert found["own"] == unknown["losses"][3] and found["reference"] == RIGHT["losses"][3]


def check(content: object, path: Path, *words: str) -> tuple[int, str]:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    done = CliRunner().invoke(cli.app, ["reference", "--check", str(path), *words])
    return done.exit_code if done.exception is None or isinstance(done.exception, SystemExit) else repr(done.exception), done.output


def test_the_command_compares_any_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    printed = CliRunner().invoke(cli.app, ["reference", "--json"]).output
    assert json.loads(printed) == STORED
    status, said = check(printed, path)
    assert status == 0 and said.count("all 30 values agree") == len(RATES)
    assert check({"nets": {"resnet56": {"losses": STORED["nets"]["resnet56"]["losses"][:2]}}}, path) == (0, "resnet56: all 2 values agree.\n")
    status, said = check({"nets": {"resnet20": {"losses": STORED["mistakes"][4]["losses"]}}}, path)
    assert status == 1 and "the loss at step 0 is" in said and "TensorFlow's SAME" in said and "to the end" in said
    status, said = check({"nets": {"plain56": {"losses": [2.0]}}}, path, "--json")
    assert status == 1 and json.loads(said)[0]["departs"] == "the loss at step 0"
    status, said = check('{"nets": {"resnet20": {"losses": [NaN]}}}', path)
    assert status == 1 and "is nan" in said
    assert check({"precision": "float32", "nets": {"resnet20": {"losses": [RIGHT["losses"][0] + 1e-7]}}}, path)[0] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ([], "holds no nets"),
        ({"nets": {}}, "holds no nets"),
        ({"nets": {"resnet21": {}}}, "no values for 'resnet21'; there are for plain20"),
        ({"nets": {"resnet20": {}}}, "nothing to compare"),
        ({"nets": {"resnet20": {"losses": []}}}, "nothing to compare"),
        ({"nets": {"resnet20": {"loss": [1], "losses": [1]}}}, "unknown value 'loss'"),
        ({"nets": {"resnet20": {"losses": ["1"]}}}, "losses is not a list of at most 11 numbers"),
        ({"nets": {"resnet20": {"losses": [1] * 12}}}, "losses is not a list of at most 11 numbers"),
        ({"nets": {"resnet20": {"evaluation_loss": True}}}, "evaluation_loss is not a number"),
        ({"nets": {"resnet20": {"weight_norms": {"all": 1}}}}, "weight_norms is not an object"),
        ({"precision": "bfloat16", "nets": {"resnet20": {"losses": [1]}}}, "one of float64, float32"),
    ],
)
def test_a_file_that_cannot_be_compared_is_one_sentence_with_status_2(content, said, tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "own.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["resnet-nb", "reference", "--check", str(path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and error.count("\n") == 1


def test_an_absent_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(reference.InputError, match="cannot be read"):
        reference.read_own(tmp_path / "none.json", STORED)


def test_the_page_holds_what_the_command_prints() -> None:
    printed = CliRunner().invoke(cli.app, ["reference"]).output
    assert printed in PAGE.read_text(encoding="utf-8")
    assert all(len(line) <= 150 for line in printed.splitlines())


def test_the_file_is_small_and_travels_with_the_package() -> None:
    file = Path(reference.__file__).with_name("reference_values.json")
    assert file.stat().st_size < 40_000
