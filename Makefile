# make demo       a real Keras application becomes a verified, saved pipeline
# make test       all tests
# make newest     all tests with the newest versions that are allowed, in an environment of its own
# make oldest     all tests with the oldest versions that are allowed, likewise
# make check      linter and type checker
# make notebooks  all notebooks of examples/, executed (results in out/notebooks)
# make docs       the documentation, with a search that needs no network (out/docs/index.html)
# make bench      every number in the README, measured again (tables in benchmarks/)

SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin

# The first interpreter of a supported version that can make virtual environments.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.10 python3 python; do \
	if $$name -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	>/dev/null 2>&1; then echo $$name; break; fi; done)

.PHONY: demo test newest oldest check notebooks docs bench clean

demo: $(VENV)/installed
	$(BIN)/python -m examples.demo

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

newest:
	.ci/versions newest

oldest:
	.ci/versions oldest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(VENV)/installed
	$(BIN)/python -m examples.notebooks

docs: $(VENV)/installed
	$(BIN)/python -m docs

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.fuzz --mutants 25000 --write

$(VENV)/installed: pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.10, 3.11, 3.12 or 3.13 with its venv module is needed (Debian: apt install python3-venv)."; \
		exit 1; fi
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis out
