"""Every rule of the notebooks lets a sound notebook pass and finds each violation planted in it."""

import copy
from collections.abc import Callable

import notebook_rules as rules
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
ALT = "Training error against iterations: plain-56 stays above plain-20."
OPENING = """# Does depth hurt?

Why does a deeper plain net train worse? You will be able to tell a slow start from a real limit. About 2 minutes."""
CLOSING = """## What we found

Depth slows a plain net down: after two hundred steps its training error is far above that of the shallow one.

## What would change our mind

A longer run in which both end at the same training error, over several seeds, with the spread beside each figure.

## Exercises

### A wider net

Double the width. Does the gap close? Look at both errors before you answer, and say what one seed can tell you.

<details><summary>Solution</summary>

```python
fit(width=16)
# a comment in the code
## no heading
```

It closes in part, and not for every seed.

</details>

## Sources

He et al. (2015), section 4.2, and [the figure](https://arxiv.org/abs/1512.03385) it draws there."""

Violation = Callable[[NotebookNode], object]


def cell(source: str, *outputs: NotebookNode, tags: tuple[str, ...] = ()) -> NotebookNode:
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)} if tags else {})


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def picture(alt: str = ALT) -> NotebookNode:
    data = {"image/png": PNG, "text/plain": "<Figure size 750x400 with 1 Axes>"}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def caption() -> NotebookNode:
    text = "**Errors.** One seed. *Shown: recorded runs.*"
    return new_output("display_data", {"text/markdown": text, "text/plain": "<Markdown object>"})


def sound() -> NotebookNode:
    """A notebook that keeps every rule: opening, parameters, an ignored cell, its check, a figure, closing sections."""
    parameters = 'EVIDENCE = "quick"  # stored, quick or full\nSEED = 0\nDATA_ROOT = None\nDOWNLOAD = False'
    notebook = new_notebook(
        metadata=copy.deepcopy(rules.METADATA),
        cells=[
            new_markdown_cell(OPENING),
            cell(parameters, tags=("parameters",)),
            cell("import math\n\nfrom resnet_nb.notebook import show"),
            cell("error = fit(SEED)\nprint(error)", printed("12.34\n"), tags=("nbval-ignore-output",)),
            cell('assert error < 20\nprint("Under 20 %.")', printed("Under 20 %.\n"), tags=("checks",)),
            cell("show(figure, alt, caption, shows='stored')", picture(), caption()),
            new_markdown_cell(CLOSING),
        ],
    )
    for count, one in enumerate(rules.code_cells(notebook), 1):
        one.execution_count = count
    return notebook


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    monkeypatch.setattr(rules, "declared_modules", lambda: {"numpy", "torch"})


def test_sound_notebook_breaks_no_rule():
    assert rules.problems(sound()) == []


def code(notebook: NotebookNode, place: int) -> NotebookNode:
    return rules.code_cells(notebook)[place]


def written(place: int, source: str) -> Violation:
    return lambda notebook: code(notebook, place).update(source=source)


def output(place: int, *outputs: NotebookNode) -> Violation:
    return lambda notebook: code(notebook, place).update(outputs=list(outputs))


def replaced(old: str, new: str) -> Violation:
    """In the Markdown cells."""

    def violation(notebook: NotebookNode) -> None:
        found = [one for one in notebook.cells if one.cell_type == "markdown" and old in one.source]
        assert found, f"{old!r} is in no cell"
        for one in found:
            one.source = one.source.replace(old, new)

    return violation


def no_counts(notebook: NotebookNode) -> None:
    for one in rules.code_cells(notebook):
        one.execution_count = None


def no_outputs(notebook: NotebookNode) -> None:
    for one in rules.code_cells(notebook):
        one.outputs = []


def swapped(notebook: NotebookNode) -> None:
    code(notebook, 2).execution_count, code(notebook, 3).execution_count = 4, 3


def many_cells(notebook: NotebookNode) -> None:
    notebook.cells[1:1] = [new_markdown_cell("") for _ in range(40)]


def mostly_ignored(notebook: NotebookNode) -> None:
    for place in (1, 2, 4):
        code(notebook, place).metadata["tags"] = ["nbval-ignore-output"]


def ignored(*sources: str) -> Violation:
    """The sources become cells ignored by nbval, in the place of the ignored one."""

    def violation(notebook: NotebookNode) -> None:
        notebook.cells[3:4] = [cell(source, tags=("nbval-ignore-output",)) for source in sources]

    return violation


WIDGET = new_output("display_data", {rules.WIDGET: {"model_id": "a"}, "text/plain": "IntSlider()"})
RAISED = new_output("error", ename="ValueError", evalue="x", traceback=[])
LEARN = "You will be able to tell a slow start from a real limit."

VIOLATIONS: list[tuple[rules.Rule, str, Violation]] = [
    (rules.is_valid, "wrong type", lambda nb: code(nb, 0).update(outputs=[{"output_type": "nothing"}])),
    (rules.is_valid, "same id", lambda nb: nb.cells[1].update(id=nb.cells[2].id)),
    (rules.has_lean_metadata, "widget state", lambda nb: nb.metadata.update(widgets={})),
    (rules.has_lean_metadata, "papermill", lambda nb: nb.metadata.update(papermill={})),
    (rules.has_lean_metadata, "the user's kernel", lambda nb: nb.metadata.kernelspec.update(display_name=".venv")),
    (rules.has_lean_metadata, "version of Python", lambda nb: nb.metadata.language_info.update(version="3.11.7")),
    (rules.has_lean_metadata, "cell times", lambda nb: code(nb, 0).metadata.update(execution={})),
    (rules.has_lean_metadata, "nbval-skip", lambda nb: code(nb, 0).metadata.update(tags=["nbval-skip"])),
    (rules.has_lean_metadata, "misspelt tag", lambda nb: code(nb, 3).metadata.update(tags=["check"])),
    (rules.is_executed_in_order, "stripped counts", no_counts),
    (rules.is_executed_in_order, "stripped outputs", no_outputs),
    (rules.is_executed_in_order, "out of order", swapped),
    (rules.is_executed_in_order, "empty cell", written(1, " ")),
    (rules.is_free_of_errors, "error", output(1, RAISED)),
    (rules.is_free_of_errors, "warning", output(1, printed("UserWarning: x\n", "stderr"))),
    (rules.is_free_of_debris, "widget", output(1, WIDGET)),
    (rules.is_free_of_debris, "bar", output(1, printed(" 50%|█████     | 5/10 [00:01<00:01,  4.9it/s]"))),
    (rules.names_no_absolute_paths, "in a source", written(1, "open('/home/me/x.npz')")),
    (rules.names_no_absolute_paths, "in an output", output(1, printed("saved to /tmp/run/x.json\n"))),
    (rules.names_no_absolute_paths, "home", written(1, "open('~/x.npz')")),
    (rules.names_no_absolute_paths, "Windows", output(1, printed("C:\\Users\\me\n"))),
    (rules.names_no_absolute_paths, "in a link", replaced("https://arxiv.org/abs/", "/static/abs/")),
    (rules.is_plain_python, "magic", written(1, "%matplotlib inline")),
    (rules.is_plain_python, "shell", written(1, "!pip install timm")),
    (rules.has_parameters, "no tag", lambda nb: code(nb, 0).metadata.update(tags=[])),
    (rules.has_parameters, "two cells", lambda nb: code(nb, 1).metadata.update(tags=["parameters"])),
    (rules.has_parameters, "a name lacks", lambda nb: code(nb, 0).update(source='EVIDENCE = "quick"\nSEED = 0')),
    (
        rules.has_parameters,
        "another rung",
        lambda nb: code(nb, 0).update(source=code(nb, 0).source.replace("quick", "full")),
    ),
    (rules.has_parameters, "= in a comment", lambda nb: code(nb, 0).update(source=code(nb, 0).source + " # a = b")),
    (rules.has_small_cells, "long cell", written(1, "\n".join(["import math"] * 16))),
    (rules.has_small_cells, "many cells", many_cells),
    (rules.imports_only_what_is_declared, "import", written(1, "import seaborn")),
    (rules.imports_only_what_is_declared, "from", written(1, "from seaborn.colors import xkcd_rgb")),
    (rules.imports_only_what_is_declared, "relative", written(1, "from . import helpers")),
    (rules.has_no_hidden_state, "loop bound from outside", written(1, "K = 1\ndef probe(x):\n    return x ** K")),
    (rules.has_no_hidden_state, "lambda", written(1, "K = 1\nf = lambda x: x ** K")),
    (rules.has_no_hidden_state, "in a comprehension", written(1, "K = 1\nf = [lambda x: x * K for _ in range(2)]")),
    (rules.has_no_hidden_state, "class", written(1, "class Net:\n    pass")),
    (rules.has_no_hidden_state, "global", written(1, "def f():\n    global k\n    k = 1")),
    (rules.covers_ignored_cells, "no assertion", written(3, "print(error)")),
    (rules.covers_ignored_cells, "untagged check", lambda nb: code(nb, 3).metadata.update(tags=[])),
    (rules.covers_ignored_cells, "assert True", written(3, "assert True")),
    (rules.covers_ignored_cells, "assert mere existence", written(3, "assert error")),
    (rules.covers_ignored_cells, "assertion on something else", written(3, "figure = 1\nassert figure < 20")),
    (rules.covers_ignored_cells, "assertion on a parameter", written(3, "assert SEED == 0")),
    (rules.covers_ignored_cells, "one of two uncovered", ignored("other = fit(1)", "error = fit(SEED)")),
    (rules.covers_ignored_cells, "shows nothing live", ignored("error = fit(0)", "show(table)\nassert len(table) > 1")),
    (rules.ignores_at_most_half, "most cells", mostly_ignored),
    (rules.ignores_at_most_half, "by a comment", written(1, "import math  # NBVAL_IGNORE_OUTPUT\n# NBVAL_SKIP")),
    (rules.describes_its_figures, "no text", output(4, picture(""), caption())),
    (rules.describes_its_figures, "short text", output(4, picture("Errors of two nets"), caption())),
    (rules.describes_its_figures, "text of another", output(4, picture(), caption(), picture(), caption())),
    (rules.describes_its_figures, "no caption", output(4, picture())),
    (rules.describes_its_figures, "caption too late", output(4, picture(), printed("x\n"), caption())),
    (rules.shows_every_figure, "figure lost", output(4)),
    (rules.shows_every_figure, "picture lost", output(4, caption())),
    (rules.balances_prose_and_code, "no prose", lambda nb: nb.update(cells=rules.code_cells(nb))),
    (rules.balances_prose_and_code, "no code", lambda nb: nb.update(cells=[nb.cells[0], nb.cells[1], nb.cells[-1]])),
    (rules.opens_with_a_question, "no title", replaced("# Does depth hurt?", "Does depth hurt?")),
    (rules.opens_with_a_question, "no question", replaced("?", ".")),
    (rules.opens_with_a_question, "no goal", replaced(LEARN, "Read on.")),
    (rules.opens_with_a_question, "no time", replaced("About 2 minutes.", "Quick.")),
    (rules.opens_with_a_question, "code first", lambda nb: nb.cells.reverse()),
    (rules.closes_with_what_was_found, "no findings", replaced("## What we found", "")),
    (rules.closes_with_what_was_found, "no doubt", replaced("## What would change our mind", "## Outlook")),
    (rules.closes_with_what_was_found, "no sources", replaced("## Sources", "### Sources")),
    (rules.closes_with_what_was_found, "no solution", replaced("<details><summary>Solution", "<b>Solution")),
]


@pytest.mark.parametrize(("rule", "violation"), [pytest.param(r, v, id=f"{r.__name__}-{n}") for r, n, v in VIOLATIONS])
def test_planted_violation_is_found(rule, violation):
    notebook = sound()
    violation(notebook)
    assert list(rule(notebook))


def test_every_rule_has_a_planted_violation():
    assert {rule for rule, _, _ in VIOLATIONS} == set(rules.RULES)


ALLOWED: list[tuple[rules.Rule, str, Violation]] = [
    (rules.has_no_hidden_state, "function of its arguments", written(1, "def f(x):\n    return max(x, 0)")),
    (rules.has_no_hidden_state, "imported module", written(1, "import math\nf = lambda x: math.sqrt(x)")),
    (rules.has_no_hidden_state, "comprehension", written(1, "K = 1\nsquares = [x * K for x in range(3)]")),
    (rules.covers_ignored_cells, "own assertion", ignored("error = fit(SEED)\nassert error < 20")),
    (rules.covers_ignored_cells, "through assignments", written(3, "gap = 5 - error\nhalf = gap / 2\nassert half < 9")),
    (rules.covers_ignored_cells, "in a loop", written(3, "for one in [error]:\n    assert one < 9")),
    (rules.covers_ignored_cells, "appended", ignored("error = []", "for s in range(3):\n    error.append(fit(s))")),
    (rules.covers_ignored_cells, "group of cells", ignored("error = fit(SEED)", "show(draw(error))")),
    (
        rules.names_no_absolute_paths,
        "address, fraction, tag",
        output(1, printed("https://a.org/b/c 1/2 <b>x</b> plain/residual")),
    ),
    (rules.is_free_of_debris, "table", output(1, printed("| 50% | 60%|\n"))),
    (
        rules.imports_only_what_is_declared,
        "declared",
        written(1, "import os.path\nimport numpy as np\nfrom torch import nn"),
    ),
]


@pytest.mark.parametrize(("rule", "change"), [pytest.param(r, c, id=f"{r.__name__}-{n}") for r, n, c in ALLOWED])
def test_what_a_rule_has_to_allow_is_allowed(rule, change):
    notebook = sound()
    change(notebook)
    assert list(rule(notebook)) == []


def test_words_are_counted_without_code_formulas_tags_and_link_targets():
    text = "Two words <b>three</b> $x + y$ [four five](https://a.org/b)\n\n```python\nwords\n```\n\n$$a\nb$$ six-seven"
    source = "# a comment\n\nx = 1\ny = 2"
    notebook = new_notebook(cells=[new_markdown_cell(text), new_code_cell(source)])
    assert rules.words_per_line(notebook) == 6 / 2


def test_declared_modules_are_found_under_the_names_they_are_imported_by(monkeypatch):
    monkeypatch.undo()
    rules.declared_modules.cache_clear()
    assert {"numpy", "matplotlib", "sklearn", "torch"} <= rules.declared_modules()
    assert "pytest" not in rules.declared_modules()
