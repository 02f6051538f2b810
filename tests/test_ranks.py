"""Several processes train one net on photographs: together they read what one reads, compute what one computes, and stop and go on as one.

Three real processes (gloo, on the CPU) do all that is claimed of two and three once, and the tests look at what they answered.
"""

import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from photo_examples import CHANGES, RECIPE, photo_data, photo_net, weights, write_photographs
from torch import multiprocessing

from resnet_nb.errors import InputError, RunError
from resnet_nb.training import photo_training
from resnet_nb.training.checkpoints import RunFolder
from resnet_nb.training.photo_batches import PhotoPlan, Reader, read
from resnet_nb.training.photo_training import PhotoRun, fit
from resnet_nb.training.ranks import ALONE, Ranks, SharedFolder
from resnet_nb.training.train import RunStopped

PATIENCE = 120  # seconds after which a group of processes is taken to hang
CPU = torch.device("cpu")
trained = partial(fit, device="cpu", workers=0, progress=False)


def folder_of(path: Path, at: Ranks) -> SharedFolder:
    return SharedFolder(RunFolder(path, {"run": 1}), at)


def counted(root: Path, at: Ranks = ALONE):
    """The errors of an untrained net on the test images and on the evaluated training images, and what was measured for it."""
    run = PhotoRun(photo_net(), photo_data(root), RECIPE, 0, CPU, 8, False, at, 0)
    train, _, test = run.evaluate()
    return train, test, run.normalisation.mean, run.plan.colours


def pixels_of(root: Path, at: Ranks) -> list[torch.Tensor]:
    """What this rank reads for the first six steps, more than an epoch; rank 0 has it read by a worker."""
    run = PhotoRun(photo_net(), photo_data(root), RECIPE, 0, CPU, 8, False, at, 0)
    run.workers = int(at.number == 0)
    return [batch.images for batch in run.read(run.reader, run.slices(range(6)))]


def without_statistics(root: Path, at: Ranks = ALONE):
    """Training of a net whose images do not see one another, so that slices add up to the batch."""
    done = trained(photo_net(norm="none"), photo_data(root), replace(RECIPE, rate=0.005), ranks=at)
    return weights(done.net), done.curve


class Killed(Exception):
    pass


def broken_off(root: Path, scratch: Path, at: Ranks):
    """A run that goes through, and one that is killed after its third step and goes on; a point of the curve sums up eight steps."""
    recipe = replace(RECIPE, curve_every=8)
    whole = trained(photo_net(), photo_data(root), recipe, ranks=at)
    real, taken = photo_training.take_step, []

    def killed(*arguments: object) -> None:
        if len(taken) == 3:
            raise Killed
        taken.append(1)
        real(*arguments)

    photo_training.take_step = killed
    try:
        with folder_of(scratch / "killed", at) as folder:
            trained(photo_net(), photo_data(root), recipe, ranks=at, folder=folder, checkpoint_seconds=0)
    except Killed:
        pass
    photo_training.take_step = real
    with folder_of(scratch / "killed", at) as folder:
        again = trained(photo_net(seed=99), photo_data(root), recipe, ranks=at, folder=folder)
    return weights(whole.net), whole.curve, weights(again.net), again.curve, again.resumed_at, again.exact


def stopped(root: Path, scratch: Path, at: Ranks) -> list:
    """Where a run stops that its last rank alone wants to stop at step 3, and one that meets a picture it cannot read."""

    def wants(step: int) -> bool:
        return at.number == at.count - 1 and step == 3

    said = []
    for data, until in ((photo_data(root), wants), (photo_data(scratch / "damaged"), None)):
        try:
            with folder_of(scratch / f"stopped{len(said)}", at) as folder:
                trained(photo_net(), data, RECIPE, ranks=at, folder=folder, until=until)
        except (RunError, InputError) as error:
            said.append((type(error).__name__, str(error)))
    return said


def refused(scratch: Path, at: Ranks) -> str:
    """What the ranks say where rank 0 finds that the folder is another run's."""
    if at.number == 0:
        RunFolder(scratch / "taken", {"run": 2}).__enter__().__exit__(None, None, None)
    dist.barrier()
    with pytest.raises(InputError) as refusal, folder_of(scratch / "taken", at):
        pass
    return str(refusal.value)


def joined(number: int, count: int, scratch: Path) -> Ranks:
    dist.init_process_group("gloo", init_method=f"file://{scratch}/group{count}", rank=number, world_size=count)
    return Ranks(number, count, number, count)


def work(number: int, root: Path, scratch: Path) -> None:
    """All that one of three processes does: first as one of three ranks, then the first two as two."""
    answers = {}
    at = joined(number, 3, scratch)
    answers["counted", 3] = counted(root, at)
    answers["pixels", 3] = pixels_of(root, at)
    dist.barrier()
    dist.destroy_process_group()
    if number < 2:
        at = joined(number, 2, scratch)
        answers["counted", 2] = counted(root, at)
        answers["without statistics"] = without_statistics(root, at)
        answers["broken off"] = broken_off(root, scratch, at)
        answers["stopped"] = stopped(root, scratch, at)
        answers["refused"] = refused(scratch, at)
        dist.barrier()
        dist.destroy_process_group()
    torch.save(answers, scratch / f"answers{number}.pt")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def answers(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of the three processes answered."""
    scratch = tmp_path_factory.mktemp("scratch")
    damaged = write_photographs(scratch / "damaged") / "train" / "class1" / "010.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        group = multiprocessing.start_processes(work, (root, scratch), nprocs=3, join=False, start_method="spawn")
        late = time.monotonic() + PATIENCE
        while not group.join(1) and time.monotonic() < late:
            pass
        for process in group.processes:
            process.kill()
    finally:
        os.environ.pop("GLOO_SOCKET_IFNAME") if before is None else os.environ.update(GLOO_SOCKET_IFNAME=before)
    return [torch.load(scratch / f"answers{number}.pt", weights_only=False) for number in range(3)]


@pytest.mark.parametrize("count", (2, 3))
def test_any_number_of_ranks_counts_every_image_once(count: int, answers: list[dict], root: Path) -> None:
    train, test, mean, colours = counted(root)
    assert (train.images, test.images) == (7, 7) and 7 % count
    for answer in answers[:count]:
        found_train, found_test, found_mean, found_colours = answer["counted", count]
        for one, other in ((found_train, train), (found_test, test)):
            assert (one.images, one.wrong, one.wrong_top5) == (other.images, other.wrong, other.wrong_top5)
            assert one.loss == pytest.approx(other.loss, rel=1e-6)
        assert torch.equal(found_mean, mean) and (found_colours == colours).all()


def test_the_ranks_read_together_what_one_process_reads(answers: list[dict], root: Path) -> None:
    data = photo_data(root)
    plan = PhotoPlan(len(data.train), RECIPE, 0)
    alone = [batch.images for batch in read(Reader(data.train, 16), [plan(step) for step in range(6)], 0)]
    for step in range(6):
        slices = [answer["pixels", 3][step] for answer in answers]
        assert [len(part) for part in slices] == [2, 2, 2] and torch.equal(torch.cat(slices), alone[step])
    assert sorted(item.image for step in range(5) for item in plan(step))[:25] != list(range(25))  # 30 images are not one epoch of 25
    assert sorted([item.image for step in range(5) for item in plan(step)][:25]) == list(range(25))


def test_two_ranks_compute_what_one_computes(answers: list[dict], root: Path) -> None:
    alone, curve = without_statistics(root)
    start = weights(photo_net(norm="none"))
    for answer in answers[:2]:
        found, found_curve = answer["without statistics"]
        assert (found - alone).abs().max() < 1e-5 * (alone - start).abs().max()
        assert torch.tensor(found_curve.running) == pytest.approx(torch.tensor(curve.running), rel=1e-5)
        assert found_curve.evaluated == curve.evaluated
    assert torch.equal(*(answer["without statistics"][0] for answer in answers[:2]))


def test_killed_ranks_go_on_to_the_same_weights(answers: list[dict]) -> None:
    whole, curve, again, again_curve, resumed_at, exact = answers[0]["broken off"]
    assert torch.equal(again, whole) and again_curve == curve and resumed_at == [3] and exact
    parameters = [answer["broken off"][2] for answer in answers[:2]]
    assert torch.equal(*parameters)  # rank 0's running statistics among them


def test_the_ranks_stop_together_and_fail_together(answers: list[dict]) -> None:
    assert answers[0]["stopped"] == answers[1]["stopped"]
    (stop, where), (failure, what) = answers[0]["stopped"]
    assert stop == RunStopped.__name__ and where.startswith("Stopped at iteration 3 of 8: the same command goes on from")
    assert failure == "InputError" and "010.jpg" in what and "\n" not in what


def test_what_rank_0_finds_wrong_is_said_by_all(answers: list[dict]) -> None:
    assert answers[0]["refused"] == answers[1]["refused"] and "holds another run (its run differs)" in answers[0]["refused"]


@pytest.mark.parametrize(("total", "count"), ((7, 2), (7, 3), (2, 3), (0, 2), (50_000, 7)))
def test_shares_are_every_place_once_in_order(total: int, count: int) -> None:
    shares = [list(range(total))[Ranks(number, count).share(total)] for number in range(count)]
    assert [place for share in shares for place in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_torchrun_starts_it_and_it_stops_in_time(root: Path, tmp_path: Path) -> None:
    model = ["imagenet:resnet18", "--width", "2", "--data", "folder", "--data-root", str(root), "--recipe", f"paper-imagenet,{CHANGES}"]
    train = ["-m", "resnet_nb", "train", *model, "--out", str(tmp_path / "run"), "--device", "cpu", "--workers", "0", "--max-minutes", "1e-6"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    search = os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    environment = os.environ | {"PYTHONPATH": search, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([*torchrun, *train], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"Stopped at iteration 1 of 8: the same command goes on from {tmp_path / 'run'}.\n"
    assert (tmp_path / "run" / "checkpoint.pt").exists()
