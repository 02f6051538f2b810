"""Fixtures of the tests, and a loud account of the tests that this machine could not run."""

import os
from pathlib import Path

import hypothesis
import pytest

NO_CIFAR10 = "CIFAR-10 is absent: set RESNET_NB_DATA to the folder that holds it"
NO_CUDA = "no CUDA device on this machine"

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped where there is none")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch  # only here: a session without such tests need not import it

        if not torch.cuda.is_available():
            pytest.skip(NO_CUDA)


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder that holds CIFAR-10. Without RESNET_NB_DATA: a skip, or a failure where RESNET_NB_REQUIRE_DATA=1."""
    root = os.environ.get("RESNET_NB_DATA")
    if root:
        return Path(root)
    if os.environ.get("RESNET_NB_REQUIRE_DATA") == "1":
        pytest.fail(f"{NO_CIFAR10} (RESNET_NB_REQUIRE_DATA=1 forbids to skip).")
    pytest.skip(NO_CIFAR10)


def pytest_terminal_summary(terminalreporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for reason in (NO_CIFAR10, NO_CUDA):
        count = sum(reason in text for text in reasons)
        if count:
            terminalreporter.write_line(f"NOT RUN: {count} test{'s' if count > 1 else ''}, {reason}.", yellow=True)
