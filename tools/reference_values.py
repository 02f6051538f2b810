"""Compute the package's reference_values.json anew, in ten minutes on one core. docs/reference.md shows it, as `resnet-nb reference` prints it.

    python tools/reference_values.py
"""

import json
from pathlib import Path

from resnet_nb.files import write_atomically
from resnet_nb.porting import reference
from resnet_nb.porting.reference_mistakes import mistakes
from resnet_nb.porting.reference_runs import RATES, entry

FILE = Path(reference.__file__).with_name("reference_values.json")


def main() -> None:
    values = {"precision": "float64", "nets": {model: entry(model) for model in RATES}, "mistakes": list(mistakes())}
    write_atomically(FILE, json.dumps(values, allow_nan=False).replace('}, "', '},\n"') + "\n")


if __name__ == "__main__":
    main()
