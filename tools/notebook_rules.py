"""The rules of the committed notebooks, each a function from a notebook to the sentences that say what breaks it.

`problems(notebook)` applies them all. The tests do so for every notebook in notebooks/, and plant violations of each.
"""

import ast
import builtins
import functools
import importlib.metadata
import re
import symtable
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"

PARAMETERS = ("EVIDENCE", "SEED", "DATA_ROOT", "DOWNLOAD")
IGNORED, CHECKS, COLAB = "nbval-ignore-output", "checks", "colab"
TAGS = {"parameters", IGNORED, CHECKS, COLAB}
MOST_LINES, MOST_CELLS = 15, 42
PROSE = (8, 20)  # words of prose per line of code
SHORTEST_ALT = 40  # characters
WIDGET = "application/vnd.jupyter.widget-view+json"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

Rule = Callable[[NotebookNode], Iterator[str]]


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def named(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Each code cell with the name that the sentences call it by: its place among all cells, from 1."""
    for place, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            yield f"cell {place}", cell


def parsed(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode, ast.Module]]:
    """Each code cell that is plain Python, with its syntax tree."""
    for name, cell in named(notebook):
        try:
            yield name, cell, ast.parse(cell.source)
        except SyntaxError:
            continue  # is_plain_python says so


def texts(cell: NotebookNode) -> Iterator[str]:
    """Every text that a reader sees in a cell's outputs."""
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield content


# Form: what a file has to look like before anybody reads it


def is_valid(notebook: NotebookNode) -> Iterator[str]:
    """The notebook is valid nbformat 4.5, every cell with an id of its own."""
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        yield "a cell has no id, or two have the same"
        return  # validate would give out new ids
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {str(error).splitlines()[0]}"


def has_lean_metadata(notebook: NotebookNode) -> Iterator[str]:
    """Nothing in the metadata but the kernel, the language and known tags: no widget state, no times, no papermill."""
    if extra := set(notebook.metadata) - set(METADATA):
        yield f"metadata has {', '.join(sorted(extra))}"
    elif notebook.metadata != METADATA:
        yield f"metadata is not {METADATA}"
    for place, cell in enumerate(notebook.cells, 1):
        if extra := set(cell.metadata) - {"tags"}:
            yield f"cell {place}: metadata has {', '.join(sorted(extra))}"
        if unknown := set(cell.metadata.get("tags", [])) - TAGS:
            yield f"cell {place}: unknown tag {', '.join(sorted(unknown))}"


def is_executed_in_order(notebook: NotebookNode) -> Iterator[str]:
    """The code cells carry the counts 1 to n, none is empty, and some have outputs."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}, not 1 to {len(counts)}"
    if not any(cell.outputs for cell in code_cells(notebook)):
        yield "no cell has an output"
    for name, cell in named(notebook):
        if not cell.source.strip():
            yield f"{name}: empty"


def is_free_of_errors(notebook: NotebookNode) -> Iterator[str]:
    """No output is an error, a warning or anything else on standard error."""
    for name, cell in named(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"{name}: ends with {output.ename}"
            elif output.get("name") == "stderr":
                yield f"{name}: writes to standard error: {output.text.strip()[:60]!r}"


PROGRESS = re.compile(r"\r|\d+%\|.*\| *\d+/\d+|(?:it/s|s/it)[\],]")


def is_free_of_debris(notebook: NotebookNode) -> Iterator[str]:
    """No progress bars and no widgets among the outputs: they mean nothing to who reads the file."""
    for name, cell in named(notebook):
        if any(WIDGET in output.get("data", {}) for output in cell.outputs):
            yield f"{name}: a widget among the outputs"
        if any(PROGRESS.search(text) for text in texts(cell)):
            yield f"{name}: a progress bar among the outputs"


ABSOLUTE = re.compile(r"""(?:^|[\s"'`(=\[])(?:/[\w.~-]+/[\w.~-]+|~/\w|file://|[A-Za-z]:\\\w)""", re.MULTILINE)


def names_no_absolute_paths(notebook: NotebookNode) -> Iterator[str]:
    """Neither sources nor outputs name a place on one machine."""
    for place, cell in enumerate(notebook.cells, 1):
        for text in (cell.source, *texts(cell)):
            if found := ABSOLUTE.search(text):
                yield f"cell {place}: an absolute path, {found[0].strip()!r}"


# Code: plain, short, without hidden state


def is_plain_python(notebook: NotebookNode) -> Iterator[str]:
    """No magics and no shell commands: a cell means the same in every tool that runs it."""
    for name, cell in named(notebook):
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            yield f"{name}: not plain Python ({error.msg}, line {error.lineno})"


def has_parameters(notebook: NotebookNode) -> Iterator[str]:
    """One cell is tagged `parameters`; it assigns the four names, and EVIDENCE is "quick"."""
    cells = [(cell, tree) for _, cell, tree in parsed(notebook) if tagged(cell, "parameters")]
    if len(cells) != 1:
        yield f"{len(cells)} cells are tagged parameters, not one"
        return
    (cell, tree) = cells[0]
    values = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    if missing := [name for name in PARAMETERS if name not in values]:
        yield f"the parameters cell lacks {', '.join(missing)}"
    elif getattr(values["EVIDENCE"], "value", None) != "quick":
        yield "the parameters cell does not say EVIDENCE = 'quick'"
    if any("=" in line.partition("#")[2] for line in cell.source.splitlines()):
        yield "a comment in the parameters cell holds '=', which hides that parameter from papermill"


def has_small_cells(notebook: NotebookNode) -> Iterator[str]:
    """No code cell is longer than 15 lines, and there are at most 42 cells."""
    if len(notebook.cells) > MOST_CELLS:
        yield f"{len(notebook.cells)} cells, more than {MOST_CELLS}"
    for name, cell in named(notebook):
        if (lines := len(cell.source.splitlines())) > MOST_LINES:
            yield f"{name}: {lines} lines, more than {MOST_LINES}"


@functools.cache
def declared_modules() -> set[str]:
    """The modules of the package's declared dependencies, as the installed distributions name them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w.-]+", dependency)[0] for dependency in project["dependencies"]}
    declared = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    return {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if declared & {re.sub(r"[-_.]+", "-", distribution).lower() for distribution in distributions}
    }


def imports_only_what_is_declared(notebook: NotebookNode) -> Iterator[str]:
    """Imports come from the standard library, the package and its declared dependencies."""
    allowed = set(sys.stdlib_module_names) | {"resnet_nb"} | declared_modules()
    for name, _, tree in parsed(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names]
                if isinstance(node, ast.ImportFrom):
                    modules = [node.module or "."]
                for module in modules:
                    if module.split(".")[0] not in allowed:
                        yield f"{name}: imports {module}, which is no declared dependency"


def has_no_hidden_state(notebook: NotebookNode) -> Iterator[str]:
    """No class, and no function or lambda that reads a name from outside, imported modules and builtins excepted."""
    imported = {name for _, _, tree in parsed(notebook) for name in imported_names(tree)}
    for name, cell, tree in parsed(notebook):
        if any(isinstance(node, ast.ClassDef | ast.Global | ast.Nonlocal) for node in ast.walk(tree)):
            yield f"{name}: a class or a global statement"
        for function, read in free_names(symtable.symtable(cell.source, name, "exec")):
            if outside := read - imported - set(dir(builtins)):
                yield f"{name}: {function} reads {', '.join(sorted(outside))} from outside"


def free_names(table: symtable.SymbolTable) -> Iterator[tuple[str, set[str]]]:
    """Each function or lambda below `table` with the names that it takes from outside itself."""
    for child in table.get_children():
        if child.get_type() == "function" and child.get_name() not in {"listcomp", "setcomp", "dictcomp", "genexpr"}:
            symbols = child.get_symbols()
            yield child.get_name(), {symbol.get_name() for symbol in symbols if symbol.is_global() or symbol.is_free()}
        yield from free_names(child)


# What nbval does not compare


def covers_ignored_cells(notebook: NotebookNode) -> Iterator[str]:
    """A cell tagged nbval-ignore-output is covered by an assertion on what it computed, in itself or further down.

    Further down is the next code cell that is not ignored, which has to be tagged `checks`. The assertion compares or
    calls something, and depends on a name that the ignored cell changes; if the cell changes none and only shows
    something, on a name that it reads and another ignored cell changes.
    """
    cells = list(parsed(notebook))
    given = set(dir(builtins)) | {name for _, _, tree in cells for name in imported_names(tree)}
    given |= {name for _, cell, tree in cells if tagged(cell, "parameters") for name in changed_names(tree)}
    live = {name for _, cell, tree in cells if tagged(cell, IGNORED) for name in changed_names(tree)} - given
    for place, (name, cell, tree) in enumerate(cells):
        if not tagged(cell, IGNORED):
            continue
        compared = [later for later in cells[place + 1 :] if not tagged(later[1], IGNORED)][:1]
        checks = [check for _, later, check in compared if tagged(later, CHECKS)]
        own = changed_names(tree) - given or names_in(tree) & live
        if not any(own & asserted_names(candidate) for candidate in (tree, *checks)):
            yield f"{name}: ignored by nbval, and covered by no assertion in it or in a cell below tagged {CHECKS}"


def names_in(*trees: ast.AST) -> set[str]:
    """The names that pieces of code read or assign."""
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def imported_names(tree: ast.AST) -> set[str]:
    """The names that imports bind."""
    aliases = [node for node in ast.walk(tree) if isinstance(node, ast.alias)]
    return {(alias.asname or alias.name).split(".")[0] for alias in aliases}


def changed_names(tree: ast.AST) -> set[str]:
    """The names that are assigned, wholly or in an item or attribute, or have a method called for its effect."""
    changed = set()
    for node in ast.walk(tree):
        called = getattr(node.value, "func", None) if isinstance(node, ast.Expr) else None
        if isinstance(called, ast.Attribute):
            changed |= names_in(called.value)
        elif isinstance(getattr(node, "ctx", None), ast.Store) and not isinstance(node, ast.Tuple | ast.List):
            changed |= {node.id} if isinstance(node, ast.Name) else names_in(node.value)
    return changed


def asserted_names(tree: ast.Module) -> set[str]:
    """The names on which a cell's assertions depend, also through the cell's own assignments and loops."""
    nodes = list(ast.walk(tree))
    tests = [node.test for node in nodes if isinstance(node, ast.Assert)]
    names = names_in(*(test for test in tests if any(isinstance(n, ast.Compare | ast.Call) for n in ast.walk(test))))
    sources = [(names_in(*node.targets), names_in(node.value)) for node in nodes if isinstance(node, ast.Assign)]
    sources += [(names_in(node.target), names_in(node.iter)) for node in nodes if isinstance(node, ast.For)]
    for _ in sources:  # as many passes as there are links in the longest chain
        names |= {name for targets, read in sources if targets & names for name in read}
    return names


def ignores_at_most_half(notebook: NotebookNode) -> Iterator[str]:
    """nbval compares at least every other code cell, by tags that a reader of the file sees."""
    ignored = sum(tagged(cell, IGNORED) for cell in code_cells(notebook))
    if 2 * ignored > len(code_cells(notebook)):
        yield f"{ignored} of {len(code_cells(notebook))} code cells are ignored by nbval"
    for name, cell in named(notebook):
        if re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source):
            yield f"{name}: steers nbval by a comment, not by a tag"


# Figures


def describes_its_figures(notebook: NotebookNode) -> Iterator[str]:
    """Every picture has an alternative text of its own of 40 characters or more, and then a caption with its rung."""
    seen: set[str] = set()
    for name, cell in named(notebook):
        for place, output in enumerate(cell.outputs):
            if not any(kind.startswith("image/") for kind in output.get("data", {})):
                continue
            alt = output.metadata.get("image/png", {}).get("alt", "")
            if len(alt) < SHORTEST_ALT:
                yield f"{name}: a picture with the alternative text {alt!r}"
            elif alt in seen:
                yield f"{name}: a picture with the alternative text of another"
            seen.add(alt)
            following = cell.outputs[place + 1].get("data", {}) if place + 1 < len(cell.outputs) else {}
            if "*Shown: " not in following.get("text/markdown", ""):
                yield f"{name}: a picture without a caption below it that says what is shown"


def shows_every_figure(notebook: NotebookNode) -> Iterator[str]:
    """A cell has a picture among its outputs for every call of `show` that stands in it outside a branch."""
    for name, cell, tree in parsed(notebook):
        calls = sum(
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "id", None) == "show"
            for node in tree.body
        )
        found = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        if found < calls:
            yield f"{name}: shows {calls} figures, and {found} are among its outputs"


# Prose


def markdown(notebook: NotebookNode) -> str:
    """The Markdown cells, one after another, without their code blocks."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^ *```.*?^ *```", " ", text, flags=re.DOTALL | re.MULTILINE)


def prose(notebook: NotebookNode) -> str:
    """The Markdown cells as running text, without code blocks, formulas, HTML tags and the targets of links."""
    text = markdown(notebook)
    for left_out in (r"\$\$.*?\$\$", r"\$[^$\n]+\$", r"<!--.*?-->", r"<[^>\n]+>"):
        text = re.sub(left_out, " ", text, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", text)


def words_per_line(notebook: NotebookNode) -> float:
    """Words of prose per line of code.

    A word is a run of letters, digits, hyphens and apostrophes. A line of code is one that is neither blank nor only a
    comment, in a code cell other than the one for Colab. Captions and other outputs count for neither.
    """
    words = len(re.findall(r"\w[\w'’-]*", prose(notebook)))
    lines = sum(
        bool(line.strip()) and not line.strip().startswith("#")
        for cell in code_cells(notebook)
        if not tagged(cell, COLAB)
        for line in cell.source.splitlines()
    )
    return words / max(lines, 1)


def balances_prose_and_code(notebook: NotebookNode) -> Iterator[str]:
    """8 to 20 words of prose per line of code, as `words_per_line` counts them."""
    ratio = words_per_line(notebook)
    if not PROSE[0] <= ratio <= PROSE[1]:
        yield f"{ratio:.1f} words of prose per line of code, not {PROSE[0]} to {PROSE[1]}"


def opens_with_a_question(notebook: NotebookNode) -> Iterator[str]:
    """The first cell has a title, the question, what the reader will be able to do, and how many minutes it takes."""
    source = notebook.cells[0].source if notebook.cells and notebook.cells[0].cell_type == "markdown" else ""
    wanted = {
        "a title": r"^# \S",
        "a question": r"\?",
        "what you will be able to do": r"able to",
        "how many minutes it takes": r"\d\W+minute",
    }
    for what, pattern in wanted.items():
        if not re.search(pattern, source, re.MULTILINE):
            yield f"the opening cell lacks {what}"


CLOSING = {
    "what we found": r"\bfound\b",
    "what would change our mind": r"change our mind",
    "exercises": r"\bexercises\b",
    "sources": r"\bsources\b",
}


def closes_with_what_was_found(notebook: NotebookNode) -> Iterator[str]:
    """The last headings of level 2 are, in order: what we found, what would change our mind, exercises, sources.

    Below the exercises stands at least one folded solution (<details> with "solution" in its <summary>).
    """
    sections = re.split(r"^## +(.+)$", markdown(notebook), flags=re.MULTILINE)[1:]
    headings, bodies = sections[0::2][-len(CLOSING) :], sections[1::2][-len(CLOSING) :]
    for (what, pattern), heading in zip(CLOSING.items(), headings + [""] * len(CLOSING), strict=False):
        if not re.search(pattern, heading, re.IGNORECASE):
            yield f"the closing sections lack {what!r} in its place"
            return
    if not re.search(r"<details>\s*<summary>[^<]*solution", bodies[2], re.IGNORECASE):
        yield "the exercises have no folded solution"


RULES: tuple[Rule, ...] = (
    is_valid,
    has_lean_metadata,
    is_executed_in_order,
    is_free_of_errors,
    is_free_of_debris,
    names_no_absolute_paths,
    is_plain_python,
    has_parameters,
    has_small_cells,
    imports_only_what_is_declared,
    has_no_hidden_state,
    covers_ignored_cells,
    ignores_at_most_half,
    describes_its_figures,
    shows_every_figure,
    balances_prose_and_code,
    opens_with_a_question,
    closes_with_what_was_found,
)


# the map of the suite asks no question of its own and runs hardly any code
EXCEPTED: dict[str, frozenset[Rule]] = {
    "00_start_here.ipynb": frozenset({balances_prose_and_code, closes_with_what_was_found}),
}


def problems(notebook: NotebookNode, excepted: frozenset[Rule] = frozenset()) -> list[str]:
    """What breaks the rules, a sentence each; `excepted` are rules that this notebook need not keep."""
    return [problem for rule in RULES if rule not in excepted for problem in rule(notebook)]
