"""The progress of a sweep: one bar on standard error for all its runs."""

import sys
import time

from tqdm.auto import tqdm

from resnet_nb.audience import in_notebook, silenced


class SweepDisplay:
    """Iterations over all runs, the time that the rest takes, and how many runs are done; a context manager."""

    def __init__(self, name: str, runs: int, iterations: int):
        self.runs = runs
        # smoothing 0: the mean rate since the start, as runs of different depths come and go
        self.bar = tqdm(
            desc=name, total=iterations, unit="it", smoothing=0, mininterval=0, miniters=1, disable=silenced(), file=sys.stderr,
            leave=not in_notebook(),
        )  # fmt: skip

    def __enter__(self) -> "SweepDisplay":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def show(self, runs: int, iterations: int, taken: int) -> None:
        """runs: that are done; iterations: of all runs so far, of which `taken` by this sweep, whose rate says how much time is left."""
        if self.bar.disable:
            return
        if taken == 0:  # processes start, which says nothing of the rate
            self.bar.start_t = time.time()
        self.bar.initial = iterations - taken
        self.bar.set_postfix_str(f"{runs} of {self.runs} runs", refresh=False)
        self.bar.update(iterations - self.bar.n)
