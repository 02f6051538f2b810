"""The package's plan: each module is a room, folders are its wings, and imports go one way."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "resnet_nb"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported(module: str) -> set[str]:
    """The package's modules that this one imports, those inside functions and for annotations alone among them."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= modules & FILES.keys() or {node.module}
    return (found & FILES.keys()) - {module}


def wing(module: str) -> str:
    """The folder just below the package, or the module itself where it lies in none."""
    return ".".join(module.split(".")[:2])


def test_no_modules_import_each_other_in_a_circle() -> None:
    plan = TopologicalSorter({module: imported(module) for module in FILES})
    try:
        plan.prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_folders_import_one_way() -> None:
    """A folder's own modules may name each other; that two folders do not name each other is what lets a newcomer read one after the other."""
    arrows: dict[str, set[str]] = {}
    for module in FILES:
        arrows.setdefault(wing(module), set()).update(wing(other) for other in imported(module) if wing(other) != wing(module))
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"folders that import each other: {' <- '.join(error.args[1])}")
