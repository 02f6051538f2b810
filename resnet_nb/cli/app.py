"""The application: its commands in the order in which `--help` names them, and how errors end."""

import sys
import warnings
from typing import Annotated

import typer

from resnet_nb import __version__
from resnet_nb.cli.diagnose import diagnose
from resnet_nb.cli.evaluate import evaluate
from resnet_nb.cli.machine import data, doctor
from resnet_nb.cli.notebooks import run
from resnet_nb.cli.pictures import features, predict
from resnet_nb.cli.probe import probe
from resnet_nb.cli.results import reference, scoreboard, verify
from resnet_nb.cli.sweep import sweep
from resnet_nb.errors import InputError, RunError
from resnet_nb.output import say
from resnet_nb.runs.train_command import train

COMMANDS = (run, train, evaluate, predict, features, diagnose, probe, sweep, scoreboard, verify, reference, data, doctor)

app = typer.Typer(
    help="Train, evaluate and record the networks of the notebooks. Exit status: 0 done, 2 bad usage or input, 1 failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"resnet-nb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors that are the user's end in one sentence, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal's encoding lacks
    warnings.filterwarnings("ignore", module="PIL")  # of palettes and metadata: a picture is scored or refused by name
    try:
        app()
    except SystemExit as stopped:
        if stopped.code != 130:
            raise
        say("resnet-nb: Interrupted: the same command goes on from the last checkpoint, where there is one.")  # typer's 130 for Ctrl-C
        sys.exit(1)
    except InputError as error:
        say(f"resnet-nb: {error}")
        sys.exit(2)
    except RunError as error:
        say(f"resnet-nb: {error}")
        sys.exit(1)
