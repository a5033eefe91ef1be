# Two commands matter: `make run` shows the main job against an embedded emulator, `make test` proves it.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 7071
BIN := $(VENV)/bin
# Bytecode is compiled once at install: a first run should not pay for it.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test lint types unit bench schema package clean

run: $(VENV)/.app
	@$(BIN)/python -m emulator --port $(PORT) $(if $(ONCE),--once) $(if $(GATEWAYS),--gateways $(GATEWAYS) --latency 0.05)

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

schema: $(VENV)/.dev
	$(BIN)/python -m tools.schema

package: $(VENV)/.dev
	$(BIN)/python -m tools.package

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt | $(VENV)/bin/python
	$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt requirements-runtime.txt | $(VENV)/bin/python
	$(PIP) install -r requirements-dev.txt
	$(PIP) install --no-deps --ignore-requires-python -r requirements-runtime.txt
	@touch $@ $(VENV)/.app

clean:
	rm -rf $(VENV) .local .build .mypy_cache .pytest_cache .ruff_cache
