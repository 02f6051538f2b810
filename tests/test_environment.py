"""The ways to install and to run agree with one another, and name nothing that is not public.

A conda solve, an image built by Binder and a session on Colab are not run here: what they read is checked instead.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import badges
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import resnet_nb

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()

CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base", "nbconvert": "nbconvert-core"}  # where conda-forge's differ
SCRIPTS = (".ci/run", "binder/postBuild", "binder/start")


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    optional = [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    return [Requirement(text) for text in [*PROJECT["dependencies"], *optional]]


def conda(path: str) -> list[str]:
    return yaml.safe_load((ROOT / path).read_text())["dependencies"]


# Versions


@pytest.mark.parametrize("python", ["3.11.7", "3.12.0", "3.13.0", "3.14.0"])
def test_constraints_hold_one_version_in_range_of_everything_that_is_declared(python):
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python, "sys_platform": "linux"}
    pinned = [Requirement(line) for line in CONSTRAINTS.splitlines()]
    for wanted in declared("lab", "test", "timm"):
        versions = [
            str(pin.specifier).removeprefix("==")
            for pin in pinned
            if canonicalize_name(pin.name) == canonicalize_name(wanted.name) and (not pin.marker or pin.marker.evaluate(environment))
        ]
        assert len(versions) == 1 and wanted.specifier.contains(versions[0]), (wanted, versions)


def test_constraints_pin_a_torch_and_a_torchvision_that_were_built_for_each_other():
    pins = dict(line.split("==") for line in CONSTRAINTS.splitlines() if line.startswith(("torch==", "torchvision==")))
    if importlib.metadata.version("torchvision").partition("+")[0] != pins["torchvision"]:
        pytest.skip("another torchvision is installed than the constraints pin")
    (wanted,) = (one for one in map(Requirement, importlib.metadata.requires("torchvision")) if one.name == "torch")
    assert wanted.specifier.contains(pins["torch"])


def test_constraints_are_exact_versions_and_name_no_address():
    for line in CONSTRAINTS.splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line), line
        assert not re.search(r"://|@|\+|/", line), line


@pytest.mark.parametrize("path", ["pyproject.toml", "Makefile", "environment.yml", "binder/environment.yml", "binder/postBuild", ".ci/run"])
def test_no_installation_names_an_index_or_a_place_on_one_machine(path):
    text = (ROOT / path).read_text()
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|/simple\b|file://", text)
    assert not re.search(r"(?<![\w.$)}])/(home|root|opt|work|mnt|Users)/", text)


# conda and Binder


def test_conda_asks_for_what_pip_asks_for():
    wanted = {f"{CONDA_NAMES.get(one.name, one.name)}{one.specifier}".replace("==", "=") for one in declared("lab", "test")}
    python, *libraries, pip = conda("environment.yml")
    assert set(libraries) == wanted and len(libraries) == len(wanted)
    assert pip == "pip"  # the package itself is installed with it, without dependencies
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


def test_binder_gets_the_same_list_on_cpu():
    files = [yaml.safe_load((ROOT / path).read_text()) for path in ("environment.yml", "binder/environment.yml")]
    assert files[0] == files[1]
    assert files[0]["channels"] == ["conda-forge", "nodefaults"]
    assert not any(re.search("gpu|cuda", name) for name in conda("binder/environment.yml"))


def test_a_gpu_takes_one_other_line():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    assert [line for line in lines if "pytorch-gpu" in line] == ["  - pytorch-cpu>=2.9  # with an NVIDIA GPU: pytorch-gpu>=2.9"]


def test_binder_reads_nothing_but_its_own_list():
    """A requirements.txt would be ignored beside environment.yml; a second folder, .binder, is an error there."""
    assert sorted(path.name for path in (ROOT / "binder").iterdir()) == ["environment.yml", "postBuild", "start"]
    assert not (ROOT / ".binder").exists()


@pytest.mark.parametrize("path", SCRIPTS)
def test_scripts_can_be_executed_and_are_valid_bash(path):
    assert os.access(ROOT / path, os.X_OK)
    assert (ROOT / path).read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", ROOT / path], check=True)


def test_binder_starts_what_it_is_told_to_with_one_thread():
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    words = [ROOT / "binder/start", "sh", "-c", 'echo "$OMP_NUM_THREADS $1"', "sh", "two words"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1 two words\n"


# The package


def test_package_and_citation_have_one_version_and_one_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == resnet_nb.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["authors"] == PROJECT["authors"] == [{"name": "the resnet-nb authors"}]
    assert {"cff-version", "message", "title"} <= set(citation)
    assert "the resnet-nb authors" in (ROOT / "LICENSE").read_text()


def test_recorded_runs_travel_in_the_wheel():
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert hatch["wheel"]["force-include"] == {"results": "resnet_nb/results", "studies": "resnet_nb/study_lists"}
    assert "/results" in hatch["sdist"]["include"]  # a wheel is usually built from the source distribution


# make


def makefile_targets() -> list[str]:
    return re.findall(r"^([a-z]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_help_says_what_each_target_and_option_does():
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z]+) +\S", shown, re.MULTILINE) == makefile_targets()
    assert {"run", "test", "lab", "help"} <= set(makefile_targets())
    for option in re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert re.search(rf"^  {option}=\S+ +\S", shown, re.MULTILINE), option


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_hands_its_options_on():
    words = ["make", "--dry-run", "--always-make", "run", "EVIDENCE=stored", "NOTEBOOK=00 01", "JOBS=2", "TORCH_BACKEND=cpu", "VENV=elsewhere"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "elsewhere/bin/resnet-nb run --evidence stored --jobs 2 --notebook 00 --notebook 01\n" in shown
    assert "--torch-backend cpu --constraint constraints.txt" in shown
    words = ["make", "--dry-run", "--always-make", "run", "EVIDENCE=full", "DATA_ROOT=my data", "DOWNLOAD=1", "ALLOW_SLOW=1", "VENV=elsewhere"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "elsewhere/bin/resnet-nb run --evidence full --jobs 1 --data-root 'my data' --download --allow-slow\n" in shown


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_without_a_python_says_so_and_leaves_nothing(tmp_path):
    done = make_environment(tmp_path / "absent", tmp_path / "venv")
    assert "absent is not here: install Python 3.11 or newer" in done.stderr
    assert done.returncode != 0 and not (tmp_path / "venv").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_with_an_old_python_says_so_and_leaves_nothing(tmp_path):
    old = tmp_path / "old"  # this Python, which takes itself for 3.10
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])' \"$2\"\n")
    old.chmod(0o755)
    done = make_environment(old, tmp_path / "venv")
    assert "old is Python 3.10: 3.11 or newer is needed" in done.stderr
    assert done.returncode != 0 and not (tmp_path / "venv").exists()


def make_environment(python: Path, venv: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["make", "environment", f"PYTHON={python}", f"VENV={venv}"], cwd=ROOT, capture_output=True, text=True)


# The address


def test_badges_and_colab_cells_and_citation_have_the_address_of_the_project():
    assert badges.update(ROOT, check=True) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that has moved, with one notebook that was executed before."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/somebody/else"\n')
    (tmp_path / "README.md").write_text("# Title\n\n<!-- badges -->\n<!-- /badges -->\n\nText.\n")
    (tmp_path / "CITATION.cff").write_text("version: 1\nrepository-code: https://github.com/OWNER/NAME\nlicense: MIT\n")
    opening = nbformat.v4.new_markdown_cell("# Title\n\n<!-- badges -->\nold\n<!-- /badges -->\n\nText.")
    install = nbformat.v4.new_code_cell("old", execution_count=1, metadata={"tags": ["colab"]})
    notebook = nbformat.v4.new_notebook(cells=[opening, install, nbformat.v4.new_code_cell("1 + 1", execution_count=2)])
    (tmp_path / "notebooks/01_one.ipynb").write_text(nbformat.writes(notebook) + "\n")
    return tmp_path


def test_a_new_address_reaches_every_place_and_changes_nothing_else(checkout):
    assert len(badges.update(checkout, check=True)) == 3
    assert badges.update(checkout, check=False) == []
    assert badges.update(checkout, check=True) == []
    readme, citation = ((checkout / name).read_text() for name in ("README.md", "CITATION.cff"))
    assert "mybinder.org/v2/gh/somebody/else/HEAD?urlpath=lab/tree/notebooks/00_start_here.ipynb" in readme
    assert readme.startswith("# Title\n\n<!-- badges -->\n[![Open in Binder]") and readme.endswith("<!-- /badges -->\n\nText.\n")
    assert citation == "version: 1\nrepository-code: https://github.com/somebody/else\nlicense: MIT\n"
    opening, install, other = nbformat.read(checkout / "notebooks/01_one.ipynb", 4).cells
    assert "colab.research.google.com/github/somebody/else/blob/main/notebooks/01_one.ipynb" in opening.source
    assert "old" not in opening.source and opening.source.endswith("Text.")
    assert "git+https://github.com/somebody/else" in install.source and install.execution_count == 1
    assert (other.source, other.execution_count) == ("1 + 1", 2)


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("README.md", "<!-- /badges -->", "", "README.md: 0 blocks"),
        ("CITATION.cff", "repository-code", "url", "CITATION.cff: 0 lines"),
        ("notebooks/01_one.ipynb", '"colab"', '"other"', "01_one.ipynb: the first code cell"),
    ],
)
def test_a_file_without_its_place_for_the_address_is_named(checkout, file, old, new, sentence):
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    assert [problem for problem in badges.update(checkout, check=False) if problem.startswith(sentence)]


def test_an_address_that_binder_and_colab_cannot_open_is_refused():
    with pytest.raises(ValueError, match="https://github.com/OWNER/NAME"):
        badges.repository('[project.urls]\nRepository = "https://example.org/resnet-nb"\n')


# The cell for Colab

INSTALL = badges.INSTALL.format(address=PROJECT["urls"]["Repository"])


def run_cell(hidden: bool, tmp_path: Path) -> list[str]:
    """Run the cell where resnet_nb is installed or hidden; the commands that it starts, which are not carried out."""
    watch = "import importlib.util, subprocess\nsubprocess.run = lambda words, check: print(*words[1:], check)\n"
    hide = "find = importlib.util.find_spec\nimportlib.util.find_spec = lambda name: None if name == 'resnet_nb' else find(name)\n"
    code = watch + hide * hidden + INSTALL
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_colab_cell_does_nothing_where_the_package_is_installed(tmp_path):
    assert run_cell(hidden=False, tmp_path=tmp_path) == []


def test_colab_cell_installs_the_package_and_nothing_else_where_it_is_missing(tmp_path):
    (command,) = run_cell(hidden=True, tmp_path=tmp_path)
    assert command == f"-m pip install --quiet --no-deps git+{PROJECT['urls']['Repository']} True"
