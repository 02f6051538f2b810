"""A compiled run takes the steps of one that is not, up to rounding, and says that it was compiled."""

import shutil
import threading
import types
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from small_data import small_data
from torch._dynamo.utils import counters

from resnet_nb import cli, records
from resnet_nb.data.normalise import Normalisation
from resnet_nb.errors import InputError
from resnet_nb.models import build_model
from resnet_nb.models.compiled import KINDS, compiled_blocks
from resnet_nb.models.nets import Block, runs_as
from resnet_nb.recipes import Recipe
from resnet_nb.runs import runs
from resnet_nb.runs.train_command import parsed
from resnet_nb.training import step
from resnet_nb.training.batches import Batches
from resnet_nb.training.checkpoints import RunFolder
from resnet_nb.training.train import RunStopped

RECIPE = Recipe("test", batch_size=16, iterations=12, rate=0.05, drops=(6, 9), pad=1, warmup_iterations=0, curve_every=2, evaluations=3)
PLANNED = runs.plan("resnet8", RECIPE, width=4)
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="torch.compile needs a C++ compiler on a CPU")


@needs_compiler
def test_a_compiled_runs_losses_are_those_of_the_run_within_a_thousandth_and_its_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        runs.train(PLANNED, small_data(), tmp_path / "compiled", device="cpu", progress=False, compiled=True, until=lambda step: step == 5)
    with RunFolder(tmp_path / "compiled", PLANNED.identity(small_data())) as folder:
        assert folder.load_checkpoint()["conditions"]["compiled"] is True  # so that one that goes on without is not called exact
    done, plain = (
        runs.train(PLANNED, small_data(), tmp_path / name, device="cpu", progress=False, compiled=name == "compiled")[0]
        for name in ("compiled", "plain")
    )
    assert done["curve"]["loss"] == pytest.approx(plain["curve"]["loss"], rel=1e-3)
    assert done["provenance"]["compiled"] is True and done["provenance"]["deterministic"] and "compiled" not in plain["provenance"]
    assert " --compiled " in done["command"] and "--compiled" not in plain["command"]
    records.validate(done)


def test_the_option_reaches_the_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from resnet_nb.runs import studies, sweep, train_command

    compiled = []
    monkeypatch.setattr(step, "compiled_blocks", lambda net: compiled.append(net) or nullcontext())
    words = ("train", "plain8", "--width", "2", "--iterations", "1", "--device", "cpu")
    assert train_command.answer_of((*words, "--out", str(tmp_path / "a")))[1] == "" and not compiled
    assert train_command.answer_of((*words, "--compiled", "--out", str(tmp_path / "b")))[1] == "" and len(compiled) == 1
    assert studies.asked_for(words) == studies.asked_for((*words, "--compiled")) and parsed((*words, "--compiled"))["compiled"]

    seen = []
    monkeypatch.setattr(sweep, "sweep", lambda study, jobs, more, deadline: seen.append(more) or [])
    cli.app(["sweep", "digits-grown", "--compiled", "--device", "cpu"], standalone_mode=False)
    assert seen == [("--device", "cpu", "--compiled")]


@needs_compiler
def test_nets_of_all_depths_share_what_was_compiled_and_are_as_they_were_outside() -> None:
    def graphs(name: str) -> int:
        net = build_model(name, width=2).to(memory_format=torch.channels_last).train()
        for _ in range(2):
            with compiled_blocks(net):
                net(torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)).sum().backward()
        assert not any("forward" in vars(module) for module in net.modules())
        return counters["stats"]["unique_graphs"]

    first, deeper, plain = map(graphs, ("resnet20", "resnet56", "plain20"))
    assert deeper == first and plain == first + 5  # a block of each stage, and two that halve the map


def test_a_block_with_another_forward_pass_is_not_compiled_and_keeps_it() -> None:
    """The compiled one would silently train another net, and take the user's away after its first step."""
    net = build_model("resnet8", width=2)
    net.layer2[0].forward = own = lambda x: 2 * Block.forward(net.layer2[0], x)
    with pytest.raises(InputError, match=r"The forward pass of layer2\.0 was changed"), compiled_blocks(net):
        pass
    assert vars(net.layer2[0])["forward"] is own and not any("forward" in vars(block) for block in (net.layer1[0], net.layer3[0]))
    images = small_data().train
    batches = Batches(images, RECIPE, Normalisation.measured(images, RECIPE.normalise), seed=0)
    stepper = step.Stepper(net, step.sgd(net, RECIPE), batches, RECIPE, compiled=True)
    with pytest.raises(InputError, match="leave compiled out"):
        stepper(0)
    net.layer2[0].forward = bound = types.MethodType(Block.forward, net.layer2[0])
    with compiled_blocks(net):
        assert all("forward" in vars(stage[0]) and not runs_as(stage[0], Block) for stage in (net.layer1, net.layer2, net.layer3))
        with pytest.raises(InputError, match=r"layer1\.0 was changed"), compiled_blocks(net):  # not one inside another
            pass
    assert vars(net.layer2[0])["forward"] is bound and "forward" not in vars(net.layer1[0])


def test_each_thread_may_compile_all_kinds_of_blocks() -> None:
    def limits(found: list) -> None:
        with compiled_blocks(build_model("plain8", width=2)):
            found.append((torch._dynamo.config.recompile_limit, torch._dynamo.config.fail_on_recompile_limit_hit))

    found: list = []
    threads = [threading.Thread(target=limits, args=(found,)) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert found == [(KINDS, True)] * 2


def test_a_librarys_model_is_not_called_compiled(tmp_path: Path) -> None:
    planned = runs.plan("torchvision:resnet18", RECIPE)
    with pytest.raises(InputError, match="torchvision:resnet18 has none: leave it out"):
        runs.train(planned, small_data(), tmp_path / "run", device="cpu", compiled=True)
    assert not (tmp_path / "run").exists()
