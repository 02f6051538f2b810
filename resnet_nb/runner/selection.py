"""What there is to run, and with what: notebooks by number or name, the parameters that each declares, the folder for the copies."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill

from resnet_nb.errors import InputError


def notebooks_folder() -> Path:
    """Where the notebooks lie. Raises InputError where there are none."""
    for place in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if any((place / "notebooks").glob("*.ipynb")):
            return place / "notebooks"
    raise InputError(f"There are no notebooks in {Path.cwd() / 'notebooks'}: clone the repository and run this in its folder.")


def select(notebooks: Sequence[Path], only: Sequence[str]) -> list[Path]:
    """The notebooks whose number or whose name's beginning is among `only`; all of them if it is empty."""
    for wanted in only:
        if not any(_is_meant(path, wanted) for path in notebooks):
            raise InputError(f"No notebook is called {wanted!r}: choose from {', '.join(path.stem for path in notebooks)}.")
    return [path for path in notebooks if not only or any(_is_meant(path, wanted) for wanted in only)]


def _is_meant(path: Path, wanted: str) -> bool:
    if wanted.isdecimal():
        number = re.match(r"\d+", path.stem)
        return number is not None and int(number[0]) == int(wanted)
    return bool(wanted) and path.stem.startswith(Path(wanted).name.removesuffix(".ipynb"))


def assign(notebooks: Sequence[Path], evidence: str, parameters: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """The parameters of each notebook: EVIDENCE, and those of `parameters` that it declares.

    papermill itself passes an unknown name without a word, so that a misspelt one would have no effect.
    """
    declared = {path: _declared(path) for path in notebooks}
    for path, names in declared.items():
        if "EVIDENCE" not in names:
            raise InputError(f"{path.name} declares no parameter EVIDENCE: assign it in a cell tagged `parameters`.")
    for name in parameters:
        if not any(name in names for names in declared.values()):
            known = ", ".join(sorted(set().union(*declared.values())))
            who = f"{notebooks[0].name} has no" if len(notebooks) == 1 else "No notebook has a"
            raise InputError(f"{who} parameter {name}: choose from {known}.")
    given = {"EVIDENCE": evidence, **parameters}
    if given.get("DATA_ROOT"):
        given["DATA_ROOT"] = absolute(given["DATA_ROOT"])
    return {path: {name: value for name, value in given.items() if name in names} for path, names in declared.items()}


def absolute(folder: str | Path) -> str:
    """Of a folder that the user names from where they are: the kernels run in another one."""
    return str(Path(folder).expanduser().absolute())


def _declared(path: Path) -> set[str]:
    try:
        return set(papermill.inspect_notebook(literal(path)))
    except Exception as error:  # a damaged file fails in many ways, in nbformat, in JSON, in papermill
        raise InputError(f"{path} cannot be read as a notebook ({type(error).__name__}): restore it.") from error


def literal(path: Path) -> str:
    """The path for papermill, which takes braces in it for names of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def writable(out: Path, notebooks: Path) -> Path:
    """The folder, absolute and made. Raises InputError where it cannot be, or is that of the notebooks themselves."""
    out = Path(out).expanduser().absolute()
    if out.resolve() == notebooks.resolve():
        raise InputError(f"The copies would replace the notebooks in {notebooks}: choose another folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise InputError(f"Cannot write to {out} ({error.strerror}): choose another folder with --out.") from error
