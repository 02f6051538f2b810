"""Public checkpoints by name: fetched once, checked, kept; and nothing half-written, whatever fails."""

import errno
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data_examples import failure
from loopback import serving

from resnet_nb.data.download import download
from resnet_nb.errors import InputError
from resnet_nb.models import build_model, load_weights, read_weights
from resnet_nb.testing import registry
from resnet_nb.testing.registry import cache_folder, checkpoints, fetch, find_checkpoint, is_checkpoint

NAME, FILE = "akamaster:resnet20", "resnet20-12fca82f.th"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file in the published layout."""
    path = tmp_path_factory.mktemp("weights") / FILE
    torch.save({"state_dict": build_model("resnet20", seed=3).state_dict(), "best_prec1": 91.7}, path)
    return path.read_bytes()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch):
    """Make NAME stand for a file at `url`, whose hash is that of `content`."""
    monkeypatch.setenv("no_proxy", "*")
    known = dict(checkpoints())

    def change(url: str, content: bytes) -> None:
        known[NAME] = replace(known[NAME], url=url + FILE, sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(registry, "checkpoints", lambda: known)

    return change


@pytest.fixture
def served(weights: bytes, publish) -> Iterator[list[str]]:
    """What was asked of a server that sends the file as it should be."""
    with serving({FILE: weights}) as (url, asked):
        publish(url, weights)
        yield asked


def test_the_registry_has_akamasters_six_nets_with_all_that_a_result_needs():
    assert [*checkpoints()] == [f"akamaster:resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)]
    errors = {one.model: one.published_error for one in checkpoints().values()}
    assert errors == {"resnet20": 8.27, "resnet32": 7.37, "resnet44": 6.90, "resnet56": 6.61, "resnet110": 6.32, "resnet1202": 6.18}
    for one in checkpoints().values():
        assert re.fullmatch("[0-9a-f]{64}", one.sha256) and f"-{one.sha256[:8]}.th" in one.file
        assert one.mean == (0.485, 0.456, 0.406) and one.std == (0.229, 0.224, 0.225)
        assert one.url.startswith("https://github.com/akamaster/pytorch_resnet_cifar10/raw/d5489e8") and one.url.endswith(one.file)
        assert one.licence == "BSD-2-Clause" and one.data == "cifar10" and one.selection.startswith("last epoch")
        assert re.fullmatch(rf"github:akamaster/pytorch_resnet_cifar10@[0-9a-f]{{40}}:pretrained_models/{one.file}", one.source)
        assert one.hash_from == "file" or one.hash_from.startswith("github:")


def test_a_checkpoint_is_fetched_whole_and_loads_as_it_was_published(served: list[str], weights: bytes, tmp_path: Path):
    path = fetch(NAME, tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / FILE and path.read_bytes() == weights
    assert os.listdir(path.parent) == [FILE] and served == [FILE]
    net = build_model(find_checkpoint(NAME).model)
    load_weights(net, read_weights(path))
    assert torch.equal(net.conv1.weight, build_model("resnet20", seed=3).conv1.weight)


def test_what_is_in_the_cache_is_taken_without_a_network(publish, weights: bytes, tmp_path: Path):
    publish("http://127.0.0.1:9/", weights)
    (tmp_path / FILE).write_bytes(weights)
    assert fetch(NAME, tmp_path) == tmp_path / FILE


def test_a_damaged_file_in_the_cache_is_fetched_again(served: list[str], weights: bytes, tmp_path: Path):
    (tmp_path / FILE).write_bytes(weights[:-1] + b"x")
    assert fetch(NAME, tmp_path).read_bytes() == weights and served == [FILE]
    fetch(NAME, tmp_path)
    assert served == [FILE]


def test_another_file_than_the_published_one_is_refused(publish, weights: bytes, tmp_path: Path):
    with serving({FILE: weights[:-1] + b"x"}) as (url, _):
        publish(url, weights)
        failure(lambda: fetch(NAME, tmp_path), url, "SHA-256", tmp_path / FILE)
    assert os.listdir(tmp_path) == []


def test_the_first_digits_of_a_hash_are_checked_where_no_more_are_known(weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    first = hashlib.sha256(weights).hexdigest()[:8]
    with serving({FILE: weights}) as (url, _):
        assert download(url + FILE, tmp_path / "a", first).read_bytes() == weights
        failure(lambda: download(url + FILE, tmp_path / "b", "0" * 8), "SHA-256")


@pytest.mark.parametrize("sent", [0, 1, 200_000])
def test_a_transfer_that_breaks_off_says_where_and_leaves_what_was_there(publish, weights: bytes, tmp_path: Path, sent: int):
    (tmp_path / FILE).write_bytes(b"an older file")
    with serving({FILE: weights}, {FILE: sent}) as (url, _):
        publish(url, weights)
        failure(lambda: fetch(NAME, tmp_path), url, f"broke off after {sent:,} of {len(weights):,} bytes", "try again")
    assert os.listdir(tmp_path) == [FILE] and (tmp_path / FILE).read_bytes() == b"an older file"


def test_without_a_network_one_sentence_says_where_to_put_the_file(publish, weights: bytes, tmp_path: Path):
    publish("http://127.0.0.1:9/", weights)
    failure(lambda: fetch(NAME, tmp_path), "Connection refused", FILE, tmp_path, "yourself")
    assert os.listdir(tmp_path) == []


def test_a_file_that_its_owner_has_removed_is_said(publish, weights: bytes, tmp_path: Path):
    with serving({}) as (url, _):
        publish(url, weights)
        failure(lambda: fetch(NAME, tmp_path), url, "Not Found")
    assert os.listdir(tmp_path) == []


def test_a_server_that_falls_silent_is_given_up(publish, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import socket

    monkeypatch.setattr("resnet_nb.data.download.SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publish(f"http://127.0.0.1:{silent.getsockname()[1]}/", weights)
        failure(lambda: fetch(NAME, tmp_path), "timed out")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    failure(lambda: fetch(NAME, tmp_path), tmp_path / FILE, "No space left", "free some space")
    assert os.listdir(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_said(served: list[str], tmp_path: Path):
    (tmp_path / "file").touch()
    failure(lambda: fetch(NAME, tmp_path / "file"), tmp_path / "file")


def test_an_interrupted_transfer_leaves_nothing(served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(chunk: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_nb.data.download.hashlib.sha256", lambda: type("Digest", (), {"update": staticmethod(interrupted)}))
    with pytest.raises(KeyboardInterrupt):
        fetch(NAME, tmp_path)
    assert os.listdir(tmp_path) == []


def test_two_processes_may_fetch_at_once(served: list[str], weights: bytes, tmp_path: Path):
    threads = [threading.Thread(target=fetch, args=(NAME, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(tmp_path) == [FILE] and (tmp_path / FILE).read_bytes() == weights


def test_nothing_is_printed_on_standard_output(served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.delenv("RESNET_NB_PROGRESS")
    fetch(NAME, tmp_path)
    said = capsys.readouterr()
    assert said.out == "" and FILE in said.err


def test_unknown_names_are_refused_with_those_near():
    with pytest.raises(InputError, match="did you mean akamaster:resnet56"):
        fetch("akamaster:resnet55")
    with pytest.raises(InputError, match="akamaster:resnet1202"):
        find_checkpoint("weights.pt")


def test_a_name_is_told_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert is_checkpoint("akamaster:resnet20") and is_checkpoint("akamaster:resnet21")
    assert not any(map(is_checkpoint, ("weights.pt", "akamaster", "C:\\weights.pt", "IMAGENET1K_V1")))
    Path("akamaster:resnet20").touch()
    assert not is_checkpoint("akamaster:resnet20")


def test_the_cache_is_the_one_given_then_the_variables_then_torch_hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RESNET_NB_CACHE", str(tmp_path))
    assert cache_folder("~/here") == Path.home() / "here" and cache_folder() == tmp_path
    monkeypatch.delenv("RESNET_NB_CACHE")
    assert cache_folder() == Path(torch.hub.get_dir()) / "checkpoints"
