# Every target makes the virtual environment it needs; the second time that takes no time. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
MINUTES ?=
OUT ?= demo
JOBS ?= 2
PYTEST_ARGS ?= -n $(JOBS) --dist loadfile

BIN := $(VENV)/bin
# Without --no-compile, pip compiles thousands of files that are never imported.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt $(PIP_ARGS)
# Other projects' models, whose weights the tests import. They ask for far more than these tests use.
PEERS := waveglow==22.12.28 wavenet-vocoder==0.1.1
DENSITY_VENV ?= .venv-density
DENSITY_ARGS ?=
BENCH_ARGS ?=
DENSITY := $(DENSITY_VENV)/.installed
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench density constraints

help: ## list the targets and variables
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables: PYTHON ($(PYTHON)), VENV ($(VENV)), PIP_ARGS (more options for pip install), MINUTES (training time"
	@echo "of each model in the demo), OUT ($(OUT): where the demo writes), JOBS ($(JOBS): test processes), PYTEST_ARGS."

demo: $(RUN) ## train two small vocoders on the bundled speech, compare them, write a page
	$(BIN)/audioflow demo $(if $(MINUTES),--minutes $(MINUTES)) --out $(OUT)

# One thread for each test process: with more, processes on a small machine wait for each other.
test: $(DEV) ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(DEV) ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## bring the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(RUN) ## time every engine of every recipe for the bundled speech, with memory and agreement (BENCH_ARGS=--quick)
	$(BIN)/python -m benchmarks.speed $(BENCH_ARGS)

density: $(DENSITY) ## compare density estimation with zuko, nflows and normflows (hours; DENSITY_ARGS=--quick)
	$(DENSITY_VENV)/bin/python -m benchmarks.density $(DENSITY_ARGS)

constraints: $(DEV) ## write constraints.txt from what is installed
	@sed '/^[^#]/d' constraints.txt > constraints.new
	@$(BIN)/python -m pip freeze --exclude-editable --exclude audioflow \
		$(foreach peer,$(PEERS),--exclude $(firstword $(subst ==, ,$(peer)))) | sed 's/+[a-z0-9.]*$$//' >> constraints.new
	@mv constraints.new constraints.txt

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "constraints.txt is for Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(DEV): $(RUN)
	$(INSTALL) --editable '.[dev]'
	$(INSTALL) --no-deps $(PEERS)
	@touch $@

$(DENSITY): pyproject.toml constraints.txt benchmarks/requirements-density.txt
	$(PYTHON) -m venv $(DENSITY_VENV)
	$(DENSITY_VENV)/bin/python -m pip install --quiet --no-compile --constraint constraints.txt $(PIP_ARGS) \
		--requirement benchmarks/requirements-density.txt --editable .
	@touch $@
