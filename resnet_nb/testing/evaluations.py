"""Published weights, measured and recorded: what `resnet-nb evaluate ... --study NAME --source PLACE` does."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from resnet_nb import records
from resnet_nb.devices import resolve_device
from resnet_nb.errors import InputError
from resnet_nb.files import checksum
from resnet_nb.provenance import cpu_threads, machine
from resnet_nb.testing.commands import evaluate_command, option_words
from resnet_nb.testing.measure import Running, measure
from resnet_nb.testing.members import Given

SOURCE = re.compile(r"github:(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}):(?P<path>[\w.+-]+(/[\w.+-]+)*)", re.ASCII)


def parse_source(text: str) -> dict:
    """{"repository", "commit", "path"} of a public file such as github:akamaster/pytorch_resnet_cifar10@COMMIT:pretrained_models/resnet20.th.

    Raises InputError for anything else: a branch or a tag moves, so the commit is its 40 hex digits.
    """
    match = SOURCE.fullmatch(text)
    if match is None:
        raise InputError(f"--source {text!r}: write github:OWNER/REPOSITORY@COMMIT:PATH, with the commit's 40 hex digits and the file's path.")
    return match.groupdict()


def evaluate(
    model: str,
    weights: str,
    data: str,
    root: Path | None = None,
    *,
    study: str,
    source: str,
    trained_on: str | None = None,
    note: str | None = None,
    given: Given,
    running: Running,
    download: bool = False,
    **options: object,
) -> dict:
    """Measure as `measure.measure` does with these options, and file the record under results/STUDY/.

    source: where the weights are public, as in `parse_source`. trained_on: the images that they were trained on, in words, without which a
    training error cannot be read; note: what else sets the training apart. Returns the record. Raises InputError as `measure` does, for a bad
    name or source, and where neither mean nor normalise is given: the command alone has to say how images are normalised.
    """
    records.check_study(study)  # before minutes of work, not after them
    records.check_writable()
    place = parse_source(source)
    if given.mean is None and given.normalise is None:
        raise InputError("--study records weights that others can fetch alone: say how images are normalised, with --normalise or --mean.")
    for option, text in (("--trained-on", trained_on), ("--note", note)):
        if text is not None and not text.strip():
            raise InputError(f"{option} is empty: say it in words, or leave the option out.")
    if not Path(weights).is_file() or options.get("others"):
        raise InputError("--study records one net whose weights are in a local file: fetch it, and leave --with out.")
    started, clock = datetime.now(UTC), time.monotonic()
    found = measure(model, weights, data, root, given=given, running=running, download=download, **options)
    provenance = {
        **machine(resolve_device(running.device)),
        "started": started.isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - clock, 1),
    }
    said = {"trained_on": trained_on, "note": note}
    record = {
        "schema": 1,
        "kind": "evaluation",
        "study": study,
        "model": found["model"],
        "weights": {**place, "sha256": checksum(Path(weights))},
        **{key: text for key, text in said.items() if text is not None},
        **{key: found[key] for key in ("data", "normalisation", "results")},
        "provenance": provenance,
        "command": command(found, {"given": given, "precision": running.precision, **options}, cpu_threads(provenance), study, source, said),
    }
    records.file_record(record, study)
    return records.signed(record)


def command(found: dict, options: dict, threads: int | None, study: str, source: str, said: dict) -> str:
    """The command that repeats the evaluation, with `$WEIGHTS` for a checkout of the source and `$RESNET_NB_DATA` for the data."""
    words = option_words(**{name: value for name, value in options.items() if name != "others"})
    words += ["--threads", str(threads)] if threads else []
    words += ["--study", study, "--source", source]
    for name, text in said.items():
        words += [f"--{name.replace('_', '-')}", text] if text is not None else []
    return evaluate_command(found["model"]["name"], found["data"]["name"], words, f'"$WEIGHTS/{parse_source(source)["path"]}"')
