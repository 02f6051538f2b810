"""What is held around a run while it computes: Ctrl-C waits for the end of a step, kernels repeat themselves, want of memory is explained."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from resnet_nb.errors import RunError


@contextmanager
def interrupt_flag() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set a flag, so that a run stops between two steps; a second Ctrl-C stops at once.

    Not so under torchrun, which passes the first one on: its processes get it twice, and are ended by it after half a minute.
    """
    flag, patient = threading.Event(), int(os.environ.get("WORLD_SIZE", 1)) > 1
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield flag
        return
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        if flag.is_set() and not patient:
            raise KeyboardInterrupt
        flag.set()

    for number in old:
        signal.signal(number, stop)
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


_repeating = threading.Lock()
_repeatable_runs, _otherwise = 0, False  # of all threads, for which torch has one setting; and what it is without such runs


@contextmanager
def repeatable(device: torch.device, wanted: bool) -> Iterator[None]:
    """Repeatable kernels inside the block, where they are wanted (CUDA has faster ones that are not), and beside it until no block wants them."""
    global _repeatable_runs, _otherwise
    if not wanted or device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself with a fixed workspace alone
    with _repeating:
        if _repeatable_runs == 0:
            _otherwise = torch.are_deterministic_algorithms_enabled()
        _repeatable_runs += 1
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        with _repeating:
            _repeatable_runs -= 1
            torch.use_deterministic_algorithms(_repeatable_runs > 0 or _otherwise)


@contextmanager
def out_of_memory_explained(device: torch.device) -> Iterator[None]:
    """Out of memory inside the block, in whichever way the device says it, is a RunError with the remedy."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunError(_memory_sentence(device)) from error
    except RuntimeError as error:
        if "out of memory" in str(error) or "can't allocate memory" in str(error):  # MPS, and the CPU's allocator
            raise RunError(_memory_sentence(device)) from error
        raise


def _memory_sentence(device: torch.device) -> str:
    return f"Out of memory on {device}: choose a shallower net, a smaller --width, or another --device."
