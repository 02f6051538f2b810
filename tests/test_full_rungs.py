"""The full rung runs from top to bottom, here on the digits, with short trainings: CIFAR-10 in the paper's length takes a GPU, or days.

04 needs ImageNetV2 and 07 the weights of full-length runs; what they call on that rung has tests of its own.
"""

import nbformat
import notebook_rules as rules
import papermill
import pytest
from nbformat.v4 import new_code_cell

DIGITS = """
import resnet_nb.data
from functools import partial
from resnet_nb.live import gradient_runs, inside_experiment
from resnet_nb.recipes import RECIPES
resnet_nb.data.load_data = lambda name, *options, load=resnet_nb.data.load_data, **more: load("digits")
"""
SHORT = """
RECIPES["paper-cifar"] = RECIPES["quick-digits"].replaced(name="paper-cifar", iterations=4, evaluations=1)
"""
NARROW = """
RECIPES["paper-cifar"] = RECIPES["quick-digits"].replaced(name="paper-cifar", evaluations=1)
inside_experiment.run_and_probe = partial(inside_experiment.run_and_probe, width=8)
"""
FORTY = """
gradient_runs.first_steps = lambda depth, data, steps, seed, real=gradient_runs.first_steps, **more: real(44, data, 40, seed, width=8)
"""


# 01 draws what it finds; 02 and 03 assert it, which takes as many steps as on the quick rung; 08 is given a study that is recorded whole
@pytest.mark.parametrize(
    ("notebook", "shorter", "more"),
    [("01", SHORT, {}), ("02", FORTY, {}), ("03", NARROW, {"SEED": 1}), ("08", "", {"STUDY": "digits-degradation", "MINUTES": 1})],
)
def test_the_full_rung_runs(notebook, shorter, more, tmp_path):
    (path,) = rules.NOTEBOOKS.glob(f"{notebook}_*.ipynb")
    content = nbformat.read(path, as_version=4)
    content.cells.insert(0, new_code_cell(DIGITS + shorter))
    nbformat.write(content, tmp_path / path.name)
    executed = papermill.execute_notebook(
        tmp_path / path.name,
        tmp_path / "executed.ipynb",
        parameters={"EVIDENCE": "full", "ALLOW_SLOW": True, **more},
        cwd=tmp_path,
        kernel_name="python3",
        progress_bar=False,
        execution_timeout=300,
    )
    for rule in (rules.is_free_of_errors, rules.describes_its_figures, rules.shows_every_figure):
        assert list(rule(executed)) == []
