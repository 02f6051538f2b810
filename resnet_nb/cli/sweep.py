"""`resnet-nb sweep`: the runs of a study."""

from typing import Annotated

import typer

from resnet_nb.errors import InputError
from resnet_nb.options import Compiled, DataRoot, Json, MaxMinutes
from resnet_nb.output import print_json, say


def sweep(
    study: Annotated[str, typer.Argument(help="A study file, or the name of one in studies/, such as digits-degradation.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time: on a CPU each in a process, on a GPU each on a stream [default: as many as have room].")
    ] = None,
    max_minutes: MaxMinutes = None,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps [default: the study's, or auto].")] = None,
    compiled: Compiled = False,
    on: Annotated[str, typer.Option(help="this machine, or ray: a Ray cluster, one run a task.")] = "machine",
    address: Annotated[str | None, typer.Option(help="The Ray cluster, HOST:PORT [default: RAY_ADDRESS, or this machine].")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="With --on ray: GPUs that a run takes, such as 1, or 0.25 to share one.")] = 0,
    as_json: Json = False,
) -> None:
    """Do the many runs of a study, side by side; what is recorded is skipped, what was stopped goes on. Exit status 1 if a run failed."""
    from resnet_nb.runs import asked, studies
    from resnet_nb.runs import sweep as sweeps

    deadline = asked.deadline(max_minutes)

    found = studies.read_study(studies.find_study(study))
    words = {"--device": device, "--data-root": data_root}
    more = tuple(word for name, value in words.items() if value is not None for word in (name, str(value)))
    more += ("--compiled",) if compiled else ()
    if on == "ray":
        if (jobs, max_minutes) != (None, None):
            raise InputError("--jobs and --max-minutes are for one machine, and --on ray leaves both to the cluster: leave them out.")
        from resnet_nb.runs import on_ray

        outcomes = on_ray.sweep(found, address=address, more=more, gpus=gpus)
    elif on == "machine" and (address, gpus) == (None, 0):
        outcomes = sweeps.sweep(found, jobs, more, deadline)
    else:
        raise InputError("--on is machine or ray, and --address and --gpus go with ray.")
    by_kind = {kind: [outcome for outcome in outcomes if outcome.kind == kind] for kind in ("done", "skipped", "stopped", "failed", "left")}
    for outcome in by_kind["failed"]:
        say(f"failed: resnet-nb {' '.join(outcome.words)}: {outcome.said}")
    if as_json:
        print_json({"study": found.name, **{kind: [outcome.as_dict() for outcome in those] for kind, those in by_kind.items()}})
    else:
        print(sweeps.summary(found, outcomes))
    if by_kind["failed"]:
        raise typer.Exit(1)
