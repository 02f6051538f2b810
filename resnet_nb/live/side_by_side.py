"""Small nets side by side: one process a core, one thread each, since a second thread gains a small net nothing."""

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from tqdm.auto import tqdm

from resnet_nb.audience import in_notebook, silenced
from resnet_nb.devices import resolve_device

MOST = 4  # processes: each holds its own torch, some 300 MB


def side_by_side(function: Callable[..., Any], jobs: Sequence[tuple], device: str = "auto") -> list[Any]:
    """What `function` returns for each job's arguments, in the jobs' order; jobs are begun from the last one on, so put long ones there.

    On a machine with a GPU, and on one core, the jobs run here, one after another. `function` is a module's own, since processes import it.
    An exception in a job is raised here, and jobs that have not begun are dropped.
    """
    processes = min(MOST, len(jobs), os.cpu_count() or 1)
    with tqdm(total=len(jobs), unit="net", disable=silenced(), file=sys.stderr, leave=not in_notebook()) as bar:
        if resolve_device(device).type != "cpu" or processes == 1:
            return _one_by_one(function, jobs, bar)
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        try:
            # pickled here: torch would otherwise hand tensors on in shared memory, which containers keep small
            begun = {number: pool.submit(_call, pickle.dumps((function, jobs[number]))) for number in reversed(range(len(jobs)))}
            for done in as_completed(begun.values()):
                done.result()
                bar.update()
            return [_result(begun[number]) for number in range(len(jobs))]
        finally:
            pool.shutdown(cancel_futures=True)


def _one_by_one(function: Callable[..., Any], jobs: Sequence[tuple], bar: tqdm) -> list[Any]:
    before, results = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for job in jobs:
            results.append(function(*job))
            bar.update()
        return results
    finally:
        torch.set_num_threads(before)


def _call(job: bytes) -> bytes:
    torch.set_num_threads(1)
    function, arguments = pickle.loads(job)
    return pickle.dumps(function(*arguments))


def _result(future: Future) -> Any:
    return pickle.loads(future.result())
