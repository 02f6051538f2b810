# Two commands from a fresh clone: `make run` and `make test`. Both first make the environment, if it is not there or out of date.

EVIDENCE ?= quick
NOTEBOOK ?=
DATA_ROOT ?=
DOWNLOAD ?=
ALLOW_SLOW ?=
JOBS ?= 1
TORCH_BACKEND ?=
VENV ?= .venv
PYTHON ?= python3

BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
FULL = $(if $(DATA_ROOT),--data-root '$(DATA_ROOT)') $(if $(DOWNLOAD),--download) $(if $(ALLOW_SLOW),--allow-slow)

export JUPYTER_PREFER_ENV_PATH = 1
# uv then trusts what the machine trusts, as pip does: networks of firms and universities often add a certificate
export UV_SYSTEM_CERTS ?= 1

.DEFAULT_GOAL := help
.PHONY: help run test lab environment notebooks lint constraints

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  EVIDENCE=stored|quick|full  the rung of evidence [$(EVIDENCE)]"
	@echo "  NOTEBOOK=01                 one notebook, by its number or name [all]"
	@echo "  DATA_ROOT=DIR               where the full rung's data lies [RESNET_NB_DATA]"
	@echo "  DOWNLOAD=1                  fetch that data if it is absent"
	@echo "  ALLOW_SLOW=1                let the full rung run without a GPU"
	@echo "  JOBS=2                      notebooks at a time [$(JOBS)]"
	@echo "  TORCH_BACKEND=cpu           in the first call: a torch without the 5 GB of CUDA libraries [the installer's choice]"
	@echo "  VENV=.venv                  where the environment is made [$(VENV)]"
	@echo "  PYTHON=python3              what makes it, 3.11 or newer [$(PYTHON)]"

run: $(READY) ## execute the notebooks; copies and pages go to executed/
	$(BIN)/resnet-nb run $(strip --evidence $(EVIDENCE) --jobs $(JOBS) $(addprefix --notebook ,$(NOTEBOOK)) $(FULL))

test: $(READY) ## run the unit tests, and the notebooks against their committed outputs
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval tests notebooks

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter-lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

environment: $(READY) ## make the environment, and nothing else

notebooks: $(READY) ## execute the committed notebooks anew and write them back clean
	$(BIN)/python tools/badges.py
	$(BIN)/python tools/refresh_notebooks.py

lint: $(READY) ## check the style of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/python tools/refresh_notebooks.py --check
	$(BIN)/python tools/badges.py --check

# By hand change torch and torchvision, which are built for each other, and jsonschema: from 4.25 on, with JupyterLab, each import takes 1.3 s
constraints: $(UV) ## renew constraints.txt; torch, torchvision and jsonschema in it stay
	grep -E '^(torch|torchvision|jsonschema)==' constraints.txt | $(UV) pip compile --quiet --upgrade --universal --no-annotate --no-header \
	  --python-version 3.11 --all-extras pyproject.toml --constraint - --output-file constraints.txt

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here: install Python 3.11 or newer, or name it with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python %d.%d: 3.11 or newer is needed, name one with PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

# written last, so that an interrupted installation is done again
$(READY): pyproject.toml constraints.txt | $(UV)
	$(UV) pip install --python $(BIN)/python $(addprefix --torch-backend ,$(TORCH_BACKEND)) --constraint constraints.txt --editable '.[lab,test]'
	@touch $@
