# Two commands matter: `make run` shows the main job against an embedded emulator, `make test` proves it.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 7071
BIN := $(VENV)/bin
# Bytecode is compiled once at install: a first run should not pay for it.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

NEEDED := Install Python 3.11 or newer with venv (Debian, Ubuntu: apt install python3-venv), or name one: make PYTHON=python3.13
UV := uv==0.13.9
CYCLONEDX := cyclonedx-bom==7.5.0

# An older Python, or a virtual environment that was made without pip: both are made anew, and said.
SOUND := import sys, importlib.util; sys.exit(sys.version_info < (3, 11) or not importlib.util.find_spec("pip"))
ifneq ($(wildcard $(VENV)/pyvenv.cfg),)
  ifneq ($(shell $(BIN)/python -c '$(SOUND)' 2>/dev/null && echo sound),sound)
    $(info $(VENV) is broken, or of a Python before 3.11: it is made anew.)
    $(shell rm -f $(VENV)/.app $(VENV)/.dev $(BIN)/python)
  endif
endif

.DELETE_ON_ERROR:
.PHONY: help run check test prove lint format types unit real bench infra schema errors requirements package sbom clean

run: $(VENV)/.app
	@$(BIN)/python -m emulator --port $(PORT) $(if $(ONCE),--once) $(if $(SETTINGS),--settings "$(SETTINGS)") \
	  $(if $(GATEWAYS),--gateways $(GATEWAYS) --latency 0.05)

help:
	@echo "make run          shows the app against an emulated Azure and serves it"
	@echo "                  ONCE=1 stops after the demonstration, PORT= moves it,"
	@echo "                  GATEWAYS=1000 adds gateways, SETTINGS=file takes your document"
	@echo "make check        lint, types and the fast tests: while working"
	@echo "make test         lint, types and all tests: what has to pass"
	@echo "make format       formats the code and repairs what the linter can"
	@echo "make clean        removes what the others made"
	@echo "PYTHON= and VENV= choose another Python. CONTRIBUTING.md has the other commands."

# While working: what needs no emulator, without the tests marked slow.
FAST := $(addprefix tests/,unit estate renewal docs infra azure/test_arm_budget.py http/test_issuing.py http/test_requests.py)
check: lint types
	$(BIN)/python -m pytest -m "not slow and not prove" $(FAST)

# What has to pass. Of the long proofs a sample runs; `make prove` runs them at their full size.
test: lint types unit

prove: $(VENV)/.dev
	$(BIN)/python -m pytest -m prove

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest

# On parts that this project did not write, which have to be installed: each script says what it needs.
real: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" python -m tests.real.functions_host
	$(BIN)/python -m tests.real.cluster
	$(BIN)/python -m tests.real.manifests

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

# Formats and lints the Bicep files and writes their digests anew; CHECK=1 only says what is not up to date.
infra:
	BICEP="$(BICEP)" $(PYTHON) -m tools.infra $(if $(CHECK),--check)

schema: $(VENV)/.dev
	$(BIN)/python -m tools.schema

errors: $(VENV)/.dev
	$(BIN)/python -m tools.error_texts

# Keeps the pins that fit requirements.in; UPGRADE=1 takes the newest releases in range.
requirements: $(BIN)/uv
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make requirements" $(if $(UPGRADE),--upgrade) \
	  requirements.in --output-file requirements.txt

package: $(VENV)/.dev
	$(BIN)/python -m tools.package

# What the pins bring, from the pins alone: the packages of every Python, each with its hashes.
sbom: $(BIN)/uv
	@mkdir -p .build
	$(BIN)/uv tool run --quiet --no-config --from $(CYCLONEDX) cyclonedx-py requirements --output-reproducible \
	  --pyproject pyproject.toml --output-file .build/app.cdx.json requirements.txt

$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(NEEDED)" >&2; exit 1; }
	@[ ! -e $(VENV) ] || [ -e $(VENV)/pyvenv.cfg ] || { echo "$(VENV) is not a virtual environment. Name another: make VENV=.venv2" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.app: requirements.txt | $(VENV)/bin/python
	@echo "Installing the app's packages into $(VENV): half a minute, once."
	$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.app requirements-dev.txt requirements-runtime.txt
	@echo "Installing the development tools into $(VENV): half a minute, once."
	$(PIP) install -r requirements-dev.txt
	$(PIP) install --no-deps --ignore-requires-python -r requirements-runtime.txt
	@touch $@

$(BIN)/uv: Makefile | $(VENV)/bin/python
	$(PIP) install $(UV)
	@touch $@

clean:
	rm -rf $(VENV) .local .build .mypy_cache .pytest_cache .ruff_cache
