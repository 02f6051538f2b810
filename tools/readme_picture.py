"""Draw the README's picture, docs/question.png, from the recorded runs: the same figure as in notebooks/01_degradation.ipynb.

    python tools/readme_picture.py
"""

import io
from pathlib import Path

from resnet_nb import figures, records
from resnet_nb.files import write_atomically

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "question.png"


def main() -> None:
    table = records.to_table(records.load_study("digits-degradation"))
    figure = figures.error_by_depth(table, "Why does a deeper plain net fit its own training images worse?")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(PICTURE, picture.getvalue())


if __name__ == "__main__":
    main()
