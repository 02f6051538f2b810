"""`resnet-nb run`: the notebooks, executed."""

from pathlib import Path
from typing import Annotated

import typer

from resnet_nb.options import DataRoot, Download


def run(
    evidence: Annotated[str, typer.Option(help="stored (recorded runs), quick (and a small live one) or full (GPU and data).")] = "quick",
    notebook: Annotated[list[str] | None, typer.Option(help="Number or name of a notebook; repeat for several [default: all].")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time, each in a process of its own.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where the executed copies go [default: executed/EVIDENCE].")] = None,
    timeout: Annotated[int | None, typer.Option(min=1, help="Seconds that a cell may take [default: no limit].")] = None,
    data_root: DataRoot = None,
    download: Download = False,
    allow_slow: Annotated[bool, typer.Option("--allow-slow", help="Let the full rung run without a GPU.")] = False,
) -> None:
    """Execute the notebooks with papermill; each leaves an executed copy and an HTML page."""
    from resnet_nb.runner import format_outcomes, run_notebooks

    parameters = {"DATA_ROOT": str(data_root) if data_root else None, "DOWNLOAD": download or None, "ALLOW_SLOW": allow_slow or None}
    given = {name: value for name, value in parameters.items() if value is not None}
    outcomes = run_notebooks(evidence, only=notebook or (), jobs=jobs, out=out, timeout=timeout, parameters=given)
    print(format_outcomes(outcomes))
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)
