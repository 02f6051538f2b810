"""What the training benchmark counts is counted by hand here; the times that it takes are nobody's claim."""

import math

import ceilings
import loops
import pytest
import steps
import torch
import training
from ceilings import BATCH, STEPS, TEN, Ceilings, Work, floor, kind_of, measure, work_of
from torch import nn

from resnet_nb.data import Images
from resnet_nb.models import build_model

CPU = torch.device("cpu")


def test_the_operations_of_resnet_20_by_hand() -> None:
    """40.6 million multiply-adds forward: a first layer, three stages of six 3x3 convolutions, and a classifier; six operations each in training."""
    first = 9 * 3 * 16 * 32**2
    stages = 6 * 9 * 16 * 16 * 32**2 + (9 * 16 * 32 + 5 * 9 * 32 * 32) * 16**2 + (9 * 32 * 64 + 5 * 9 * 64 * 64) * 8**2
    assert work_of(build_model("resnet20")).flop == 6 * (first + stages + 64 * 10)
    assert round((first + stages + 640) / 1e6, 1) == 40.6


def test_the_bytes_of_one_convolution_by_hand() -> None:
    """A stride of 2 leaves 16 channels of 4 x 4 of an image of 8 x 8: 256 values, 14 times, of 4 or 2 bytes. Only convolutions count."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    work = work_of(net, (3, 8, 8))
    assert work.activations == 256
    assert (work.bytes("float32"), work.bytes("bfloat16")) == (256 * 14 * 4, 256 * 14 * 2)
    assert work.flop == 6 * (9 * 3 * 256 + 256 * 10)


def test_the_activations_of_resnet_20_by_hand() -> None:
    values = 7 * 16 * 32**2 + 6 * 32 * 16**2 + 6 * 64 * 8**2
    work = work_of(build_model("resnet20"))
    assert work.activations == values and BATCH * work.bytes("bfloat16") == pytest.approx(0.68e9, rel=0.01)


def test_counting_leaves_the_net_as_it_was() -> None:
    net = build_model("resnet8").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    work_of(net)
    assert net.training and all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_plain_net_needs_what_the_residual_one_needs() -> None:
    assert work_of(build_model("plain32")) == work_of(build_model("resnet32"))


def test_shares_and_seconds_by_hand() -> None:
    work, device = Work(flop=1000, activations=10), Ceilings(28e6, {"float32": 1e6, "bfloat16": 4e6}, "")
    assert work.bytes("bfloat16") == 280
    assert device.shares(work, 500.0, "bfloat16", "bfloat16") == (0.125, 0.005)
    assert device.shares(work, 500.0, "float32", "float32") == (0.5, 0.01)
    assert device.seconds(work, "float32", "float32") == pytest.approx((8_192_000 / 1000, 8_192_000 * 560 / 28e6))


def test_the_ten_networks_are_fifty_eight_petaflop() -> None:
    device = Ceilings(4e12, {"bfloat16": 8e14}, "")
    rows = floor(device, "bfloat16", "bfloat16", {"resnet20": 102_400.0})
    assert [row["model"] for row in rows] == [*TEN, "all ten"] and len(set(TEN)) == 10
    total, by_model = rows[-1], {row["model"]: row for row in rows}
    macs = 2 * (40.6 + 68.9 + 97.2 + 125.5 + 252.9) * 1e6
    assert total["macs"] == pytest.approx(macs, rel=1e-3) and total["petaflop"] == pytest.approx(6 * macs * STEPS * BATCH / 1e15, rel=1e-3)
    assert total["petaflop"] == pytest.approx(57.5, abs=0.1)
    assert total["arithmetic"] == pytest.approx(total["petaflop"] / 0.8)
    assert total["bandwidth"] == pytest.approx(sum(row["bandwidth"] for row in rows[:-1]))
    assert by_model["resnet20"]["measured"] == 80.0 and by_model["plain20"]["measured"] is None and total["measured"] is None


def test_the_sum_is_measured_once_all_ten_are() -> None:
    rows = floor(Ceilings(1e12, {"float32": 1e12}, ""), "float32", "float32", dict.fromkeys(TEN, 81_920.0))
    assert rows[-1]["measured"] == 1000.0


def test_the_higher_of_two_measurements_counts_in_each_part() -> None:
    early, late = Ceilings(1.0, {"a": 5.0, "b": 2.0}, "how"), Ceilings(3.0, {"a": 4.0, "b": 6.0}, "how")
    assert early.or_higher(late) == late.or_higher(early) == Ceilings(3.0, {"a": 5.0, "b": 6.0}, "how")


def test_ceilings_are_measured_for_the_precisions_that_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPIED", {"cpu": 2**20})
    monkeypatch.setattr(ceilings, "SIDE", {"cpu": 64})
    found = measure(CPU, ["float32", "bfloat16"])
    assert set(found.arithmetic) == {"float32", "bfloat16"} and set(measure(CPU, ["float32"]).arithmetic) == {"float32"}
    assert all(0 < speed < math.inf for speed in (found.bandwidth, *found.arithmetic.values()))
    assert "copying 1 MiB" in found.method and "64 x 64" in found.method


def test_float32_convolutions_compute_in_tf32_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert [kind_of("float32", CPU), kind_of("bfloat16", CPU), kind_of("bfloat16", gpu)] == ["float32", "bfloat16", "bfloat16"]
    assert kind_of("float32", gpu) == ("TF32" if torch.backends.cudnn.allow_tf32 else "float32")


def test_a_ratio_is_of_one_turn_and_turns_alternate() -> None:
    """The machine halves its speed at each turn: medians of the rates would not tell 2, the ratio within a turn does."""
    calls, speed = [], {"ours": 200.0, "other": 100.0}

    def loop(name: str) -> loops.Loop:
        def run(steps: int) -> float:
            turn = (len(calls) - 2) // 2
            calls.append((name, steps))
            return speed[name] / 2**turn

        return run

    found = training.compare(loop("ours"), loop("other"), rounds=3, steps=7, warm=2)
    assert calls[:2] == [("ours", 2), ("other", 2)] and {steps for _, steps in calls[2:]} == {7}
    assert [name for name, _ in calls[2:]] == ["ours", "other", "other", "ours", "ours", "other"]
    assert found == {"ours": 100.0, "other": 50.0, "ratio": [2.0, 2.0, 2.0]}


def test_shares_are_those_of_the_rows_own_loop_and_the_best_rate_counts_for_the_floor() -> None:
    rows = [
        {"model": "resnet8", "loop": name, "precision": precision, "ours": rate, "other": 1e9}
        for name, precision, rate in (("eager", "float32", 100.0), ("2 graphs", "float32", 300.0), ("eager", "bfloat16", 500.0))
    ]
    device = Ceilings(1e12, {"float32": 1e12, "bfloat16": 1e13}, "")
    found = training.with_shares(rows, device, CPU)
    flop = work_of(build_model("resnet8")).flop
    assert [row["share_of_arithmetic"] for row in found] == [round(100 * flop / 1e12, 4), round(300 * flop / 1e12, 4), round(500 * flop / 1e13, 4)]
    assert training.best_rates(rows, "float32") == {"resnet8": 300.0} and training.best_rates(rows, "bfloat16") == {"resnet8": 500.0}


def test_a_loop_is_shown_once_at_its_higher_rate(capsys: pytest.CaptureFixture) -> None:
    device = Ceilings(1e12, {"float32": 1e12}, "a method")
    rows = [{"model": "resnet8", "loop": "eager", "precision": "float32", "ours": rate} for rate in (2000.0, 4000.0, 3000.0)]
    training.print_shares(training.with_shares(rows, device, CPU), device)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet8, eager, float32"))
    assert f"{round(4000 * work_of(build_model('resnet8')).flop / 1e12, 4):.1%} of the arithmetic (float32)" in line


def test_a_graph_on_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["training.py", "--device", "cpu", "--path", "graph"])
    with pytest.raises(SystemExit, match="2"):
        training.read_options()
    assert "a graph needs a GPU" in capsys.readouterr().err


def test_what_is_left_out_is_as_usual_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["training.py", "--device", "cpu"])
    options, device = training.read_options()
    assert (options.model, options.path, options.precision, options.beside) == (["resnet20"], ["eager"], ["float32"], 2)
    assert (options.steps, options.rounds, device) == (20, 7, CPU)


@pytest.mark.parametrize("precision", ("float32", "bfloat16"))
def test_every_loop_of_a_cpu_runs(precision: str) -> None:
    images = loops.random_images()
    made = [loops.our_loop("plain8", images, CPU, precision), loops.usual_loop("plain8", images, 0, CPU), loops.convolutions("plain8", CPU)]
    assert all(run(1) > 0 for run in made)


def test_the_time_of_a_step_is_told_for_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "random_images", lambda: Images(torch.zeros(200, 3, 32, 32, dtype=torch.uint8), torch.zeros(200, dtype=torch.int64)))
    lines: list[str] = []
    steps.report(["plain8"], ["plain8"], CPU, 1, 0.1, lines.append)
    assert [line.split()[:3] for line in lines] == [["plain8", precision, "eager"] for precision in steps.PRECISIONS]
    assert all(float(line.split()[3]) > 0 for line in lines) and sum(map(steps.depth_of, steps.TEN)) == 524


@pytest.mark.gpu
def test_nets_of_different_depths_side_by_side_all_take_steps() -> None:
    images = loops.random_images().to(torch.device("cuda"))
    assert min(steps.beside(["plain8", "resnet14"], images, torch.device("cuda"), "float32", "graph", 0.3)) > 0


@pytest.mark.gpu
def test_every_loop_of_a_gpu_runs() -> None:
    gpu, images = torch.device("cuda"), loops.random_images()
    made = [loops.our_loop("resnet8", images, gpu, precision, path) for precision in ("float32", "bfloat16") for path in ("eager", "graph")]
    made += [loops.side_by_side("resnet8", images, gpu, "bfloat16", 3), loops.usual_loop("resnet8", images, 2, gpu)]
    for run in (*made, loops.convolutions("resnet8", gpu)):
        assert run(loops.WARM_STEPS["cuda"]) > 0 and run(3) > 0


@pytest.mark.gpu
def test_a_gpus_ceilings_are_measured_and_its_settings_left_as_they_were() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    found = measure(torch.device("cuda"), ["float32", "bfloat16"])
    assert set(found.arithmetic) == {"float32", kind_of("float32", torch.device("cuda")), "bfloat16"}
    assert all(0 < speed < math.inf for speed in (found.bandwidth, *found.arithmetic.values()))
    assert torch.backends.cuda.matmul.allow_tf32 == before
