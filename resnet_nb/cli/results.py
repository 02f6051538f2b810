"""`resnet-nb scoreboard`, `verify` and `reference`: what is recorded, whether it is sound, and values to compare one's own with."""

import json
from pathlib import Path
from typing import Annotated

import typer

from resnet_nb.options import Json
from resnet_nb.output import print_json, say


def scoreboard(as_json: Json = False) -> None:
    """Recorded runs beside the published numbers, with protocol and spread."""
    from resnet_nb.scoreboard import scoreboard as board

    table = board.scoreboard()
    if as_json:
        print_json(json.loads(table.to_json(orient="records")))
    else:
        print(board.format_scoreboard(table))


def verify(as_json: Json = False) -> None:
    """Check every recorded run: edited, missing, orphaned and unreadable files are named."""
    from resnet_nb import records
    from resnet_nb.records import places

    problems = records.verify()
    if as_json:
        print_json([{"path": str(p.path), "kind": p.kind, "problem": p.sentence} for p in problems])
    else:
        for problem in problems:
            print(problem.sentence)
        say(f"{len(problems)} problems in {places.results_dir()}" if problems else f"every record in {places.results_dir()} is sound")
    if problems:
        raise typer.Exit(1)


def reference(
    check: Annotated[Path | None, typer.Option(help="Compare your own values with them: a JSON file with any part of what --json prints.")] = None,
    as_json: Json = False,
) -> None:
    """Reference values for ports to other frameworks. With --check, exit status 1 where somebody's own values leave the tolerance."""
    from resnet_nb.porting import reference as values

    stored = values.load()
    if check is None:
        if as_json:
            print_json(stored)
        else:
            print("\n".join(values.lines(stored)))
        return
    found = values.compare(*values.read_own(check, stored), stored)
    if as_json:
        print_json(found)
    else:
        print("\n".join(values.verdicts(found)))
    if any(net["departs"] for net in found):
        raise typer.Exit(1)
