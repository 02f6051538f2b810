"""What the stored rung of a notebook needs works where torch is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = (
    "diagnose",
    "figures",
    "findings.approximation",
    "findings.averaging",
    "findings.construction",
    "findings.ladder",
    "findings.paired",
    "findings.similarity",
    "findings.speed",
    "findings.steps",
    "findings.vanishing",
    "findings.verdicts.approximation",
    "findings.verdicts.block",
    "findings.verdicts.gradients",
    "findings.verdicts.redundancy",
    "live.cause_explorer",
    "live.view_explorer",
    "notebook",
    "porting.reference",
    "protocols.geometry",
    "published",
    "published.layout",
    "recipes",
    "records",
    "records.kept",
    "records.tables",
    "records.views",
    "runs.asked",
    "runs.studies",
    "runs.sweep",
    "runs.sweep_display",
    "runs.train_command",
    "runs.workers",
    "scoreboard.costs",
    "scoreboard.equivalence",
    "scoreboard.reproduction",
    "scoreboard.scoreboard",
    "scoreboard.selection",
    "stats",
)
WORK = {
    "a record's way into a study and onto the scoreboard": """
        import tempfile
        from pathlib import Path
        from record_examples import training_record
        from resnet_nb import figures, records
        from resnet_nb.scoreboard import scoreboard

        results = Path(tempfile.mkdtemp())
        for seed in range(3):
            records.file_record(training_record(seed=seed), "a-study", results)
        assert records.verify(results) == []
        runs = records.load_study("a-study", results)
        figures.error_by_depth(records.to_table(runs), "Errors by depth")
        assert "plain20" in scoreboard.format_scoreboard(scoreboard.scoreboard(runs))
    """,
    "published numbers and their figure": """
        from resnet_nb import figures, published

        assert published.fact("c6.resnet20").value == 8.75 and len(published.claims()) == 71
        figures.published_cifar(published.cifar_errors(), "Published errors")
    """,
}


def run_without_torch(code: str) -> subprocess.CompletedProcess:
    """Run `code` in a process in which torch, torchvision and timm cannot be found."""
    search = os.pathsep.join(map(str, (ROOT / "tests" / "without_torch", ROOT, ROOT / "tests")))
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": search}, cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_torch_is_really_out_of_reach() -> None:
    code = "import resnet_nb.devices"
    assert "ModuleNotFoundError: No module named 'torch'" in run_without_torch(code).stderr


def test_every_module_imports_without_torch() -> None:
    done = run_without_torch("import " + ", ".join(f"resnet_nb.{module}" for module in MODULES))
    assert done.returncode == 0, done.stderr


def test_every_module_leaves_torch_alone_where_it_is_installed() -> None:
    code = "import importlib, sys\n" + f"for module in {MODULES}:\n"
    code += "    importlib.import_module(f'resnet_nb.{module}')\n    assert 'torch' not in sys.modules, module"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("work", WORK)
def test_work_goes_without_torch(work: str) -> None:
    lines = (line.removeprefix(" " * 8) for line in WORK[work].splitlines())
    done = run_without_torch("\n".join(lines))
    assert done.returncode == 0, done.stderr


def test_doctor_says_that_torch_is_missing_and_what_to_do() -> None:
    code = "import sys\nsys.argv = ['resnet-nb', 'doctor']\nfrom resnet_nb.cli import main\nmain()"
    done = run_without_torch(code)
    assert "Traceback" not in done.stderr and "data" in done.stdout
