"""The official archive: checked before it is read, fetched whole or not at all, never over a file that is there."""

import http.server
import os
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from data_examples import pack, publish, refusal, small_cifar10, write_archive

from resnet_nb.data import load_data
from resnet_nb.data.cifar import CIFARS

PARTS = small_cifar10()
BATCHES, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, PARTS, write_archive(tmp_path, PARTS))
    return tmp_path


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    publish(monkeypatch, PARTS, pack(tmp_path, write_archive(tmp_path, PARTS)))
    return tmp_path


@pytest.fixture
def server(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder from which the archive is served, as its publisher does, to this machine alone."""
    monkeypatch.setenv("no_proxy", "*")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=packed)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        official = CIFARS["cifar10"].official()
        publish(
            monkeypatch, PARTS, type("Served", (official,), {"url": f"http://127.0.0.1:{served.server_port}/{ARCHIVE}"})
        )
        yield packed
        served.shutdown()


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_damaged_or_absent_batch_is_named(unpacked: Path, name: str):
    path = unpacked / BATCHES / name
    path.write_bytes(path.read_bytes()[:-1])
    refusal(lambda: load_data("cifar10", unpacked), path, "damaged", "--download")
    path.unlink()
    refusal(lambda: load_data("cifar10", unpacked), path, "absent", "--download")


def test_a_batch_with_the_wrong_checksum_is_not_unpickled(unpacked: Path):
    class Trap:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(unpacked / "sprung"),))

    (unpacked / BATCHES / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    refusal(lambda: load_data("cifar10", unpacked), "data_batch_1")
    assert not (unpacked / "sprung").exists()


def test_an_empty_archive_folder_is_refused(tmp_path: Path):
    (tmp_path / BATCHES).mkdir()
    refusal(lambda: load_data("cifar10", tmp_path), tmp_path / BATCHES / "data_batch_1", "absent")


def test_the_packed_archive_is_read_and_nothing_is_written_beside_it(packed: Path):
    assert len(load_data("cifar10", packed).train) == 40
    assert [path.name for path in packed.iterdir()] == [ARCHIVE]


@pytest.mark.parametrize("download", [False, True])
def test_a_damaged_packed_archive_is_refused_and_kept(packed: Path, download: bool):
    content = (packed / ARCHIVE).read_bytes()[:-1]
    (packed / ARCHIVE).write_bytes(content)
    refusal(lambda: load_data("cifar10", packed, download=download), packed / ARCHIVE, "MD5")
    assert (packed / ARCHIVE).read_bytes() == content and len(list(packed.iterdir())) == 1


def test_download_leaves_the_unpacked_archive_and_prints_no_result(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = tmp_path / "new" / "root"
    fetched = load_data("cifar10", root, download=True)
    assert [path.name for path in root.iterdir()] == [BATCHES] and len(fetched.train) == 40
    assert capsys.readouterr().out == ""


def test_what_is_there_is_not_fetched_again(server: Path, tmp_path: Path):
    root = tmp_path / "new"
    fetched = load_data("cifar10", root, download=True)
    (server / ARCHIVE).unlink()
    assert load_data("cifar10", root, download=True).fingerprint == fetched.fingerprint


@pytest.mark.parametrize("content", [b"", b"cut short", None])
def test_a_transfer_that_fails_is_refused_and_leaves_nothing(server: Path, tmp_path: Path, content: bytes | None):
    if content is None:
        (server / ARCHIVE).unlink()
    else:
        (server / ARCHIVE).write_bytes(content)
    root = tmp_path / "new"
    refusal(lambda: load_data("cifar10", root, download=True), root, ARCHIVE)
    assert list(root.iterdir()) == []


def test_without_a_network_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    official = write_archive(tmp_path / "elsewhere", PARTS)
    monkeypatch.setenv("no_proxy", "*")
    offline = type("Offline", (official,), {"url": "http://127.0.0.1:9/cifar-10-python.tar.gz"})
    publish(monkeypatch, PARTS, offline)
    refusal(lambda: load_data("cifar10", tmp_path, download=True), offline.url, tmp_path, "yourself")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
