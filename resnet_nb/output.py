"""What a command says: results to standard output, everything else to standard error."""

import json
import os
import sys


def say(text: str) -> None:
    """A line on standard error."""
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes under torchrun, one of each machine speaks
        print(text, file=sys.stderr)


def print_json(value: object) -> None:
    """An answer for machines."""
    print(json.dumps(value, indent=1, allow_nan=False))
