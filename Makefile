# make demo   explain the bundled pictures with the bundled model; writes demo/report.html
# make test   style, types, import directions and all tests
# make lint   the first three of them alone
# make mutants   do the tests notice mistakes? (minutes)
# make lock   renew requirements.lock (needs uv)
#
# Each sets up .venv from requirements.lock by itself, once. PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV ?= .venv
INSTALL ?= $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet
STAMP := $(VENV)/.vitscope-installed
BIN := $(VENV)/bin
PYTEST_ARGUMENTS ?= -n 2 --dist loadscope -q

.PHONY: demo test lint mutants lock images setup clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -7

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run make with PYTHON=python3.11 or newer" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the packages of requirements.lock (once; PyTorch is large) ..."
	$(INSTALL) -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/vitscope demo --out demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

# One thread in each of two workers is quicker than two threads in one: most tests are small.
test: lint
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

# Every mistake of scripts/mutants.toml, alone, in a copy of the tree; the tests named beside it must fail.
mutants: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/mutate.py

# Pins only: no index lines and no addresses. Universal, so that one file serves Python 3.11 and newer.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --quiet \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock

# The pictures of README.md, made by the program itself.
images: $(STAMP)
	$(BIN)/vitscope demo --out demo
	mkdir -p docs/images
	cp demo/sheet.png docs/images/demo-sheet.png
	cp demo/01-*.daam.strip.png docs/images/demo-flow.png

clean:
	rm -rf demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
