"""Write the repository's address wherever it stands: the badges, the cells for Colab, the citation.

    python tools/badges.py [--check]

The address is Repository in `[project.urls]` of pyproject.toml. It goes into README.md and the first cell of every
notebook, between the marks <!-- badges --> and <!-- /badges -->, into the notebooks' cells tagged `colab`, and into
CITATION.cff. --check writes nothing: it names the files that are out of date, and exits with 1.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from notebook_rules import COLAB, code_cells, tagged
from refresh_notebooks import written

from resnet_nb.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
START = "notebooks/00_start_here.ipynb"

ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")  # of the two services' addresses, only those for GitHub are written here
BLOCK = re.compile(r"(<!-- badges -->\n).*?(<!-- /badges -->)", re.DOTALL)
CITED = re.compile(r"^repository-code: .*$", re.MULTILINE)

BADGES = """\
[![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{owner_and_name}/HEAD?urlpath=lab/tree/{notebook})
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{owner_and_name}/blob/main/{notebook})
"""

# --no-deps: Colab comes with all that a notebook imports, and its own torch and NumPy have to stay
INSTALL = """\
# On Colab and Kaggle, where the package is missing, install it and nothing else; elsewhere this does nothing
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("resnet_nb") is None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "git+{address}"]
    subprocess.run(install, check=True)"""


def repository(pyproject: str) -> str:
    """The address that pyproject.toml names. Raises ValueError for one that Binder and Colab cannot be pointed to."""
    address = tomllib.loads(pyproject)["project"]["urls"]["Repository"]
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"pyproject.toml: Repository = {address!r} is not of the form https://github.com/OWNER/NAME")
    return address


def with_badges(text: str, address: str, notebook: str) -> str:
    """The text with the badges that open `notebook` between its marks. Raises ValueError where it has none."""
    lines = BADGES.format(owner_and_name=address.removeprefix("https://github.com/"), notebook=notebook)
    text, found = BLOCK.subn(lambda match: match[1] + lines + match[2], text)
    if found != 1:
        raise ValueError(f"{found} blocks <!-- badges --> ... <!-- /badges -->, not one")
    return text


def readme(text: str, address: str, path: Path) -> str:
    return with_badges(text, address, START)


def citation(text: str, address: str, path: Path) -> str:
    text, found = CITED.subn(f"repository-code: {address}", text)
    if found != 1:
        raise ValueError(f"{found} lines `repository-code:`, not one")
    return text


def notebook(text: str, address: str, path: Path) -> str:
    """The notebook with its badges and its cell for Colab, everything else as it was."""
    content = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    opening, (install, *others) = content.cells[0], code_cells(content)
    if not tagged(install, COLAB) or any(tagged(cell, COLAB) for cell in others):
        raise ValueError(f"the first code cell, and no other, has to be tagged {COLAB}")
    wanted = with_badges(opening.source, address, f"notebooks/{path.name}"), INSTALL.format(address=address)
    if (opening.source, install.source) == wanted:
        return text
    opening.source, install.source = wanted
    return written(content)


def places(root: Path) -> Iterator[tuple[Path, Callable[[str, str, Path], str]]]:
    """Each file in which the address stands, and how it gets there."""
    yield root / "README.md", readme
    yield root / "CITATION.cff", citation
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        yield path, notebook


def update(root: Path, check: bool) -> list[str]:
    """Bring every file up to date, or only look; what is wrong, a sentence each."""
    address, problems = repository((root / "pyproject.toml").read_text(encoding="utf-8")), []
    for path, renewed in places(root):
        text = path.read_text(encoding="utf-8")
        try:
            new = renewed(text, address, path)
        except ValueError as error:
            problems.append(f"{path.name}: {error}")
            continue
        if new != text and check:
            problems.append(f"{path.name}: out of date, run `python tools/badges.py`")
        elif new != text:
            write_atomically(path, new)
            print(f"{path.name}: renewed")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what is out of date")
    try:
        problems = update(ROOT, parser.parse_args().check)
    except ValueError as error:
        problems = [str(error)]
    print("\n".join(problems), end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
