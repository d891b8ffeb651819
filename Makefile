# make demo   explain the bundled pictures with the bundled model; writes demo/report.html
#             (installs what vitscope needs and no more)
# make test   style, types, import directions, the web page and all tests (needs Node 20.19 or newer)
# make lint   the first three of them alone
# make page   build the page of `vitscope serve` from ui/
# make docs   the documentation as HTML, with the reference, into build/docs
# make app    the web app for those who work on it: server and page, both reloaded when a file changes
# make mutants   do the tests notice mistakes? (minutes)
# make bench   vitscope and other packages side by side, and how long starting takes (minutes; on a quiet machine)
# make lock   renew requirements.lock (needs uv)
# make lowest   the tests of what computes, with the oldest versions that pyproject.toml allows (needs uv)
#
# TORCH_INDEX=... takes PyTorch from there, such as its builds for the CPU alone, without the CUDA libraries.
# Each sets up .venv by itself, once, with the versions of requirements.lock. PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV ?= .venv
INSTALL ?= $(VENV)/bin/python -m pip install --disable-pip-version-check
STAMP := $(VENV)/.vitscope-installed
DEMO_STAMP := $(VENV)/.vitscope-demo-installed
BIN := $(VENV)/bin
PYTEST_ARGUMENTS ?= -n 2 --dist loadscope -q --durations=10

.PHONY: demo test lint page checked-page docs app mutants bench lock lowest images setup clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -14

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; run make with PYTHON=python3.11 or newer" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# All that the lock file pins: the development tools and every extra, too.
$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the packages of requirements.lock (once; PyTorch is large) ..."
	$(INSTALL) --quiet --progress-bar on -r requirements.lock
	$(INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP) $(DEMO_STAMP)

# What vitscope itself needs, in the versions of the lock file. pip tells what it downloads.
$(DEMO_STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what vitscope needs (once; PyTorch is most of it, README says how much) ..."
	$(if $(TORCH_INDEX),$(INSTALL) --index-url $(TORCH_INDEX) -c requirements.lock torch torchvision)
	$(INSTALL) -c requirements.lock -e ".[app]"
	@touch $(DEMO_STAMP)

# Without Node all but the page of the web app is there.
demo: $(DEMO_STAMP)
	@$(BIN)/python scripts/build_page.py || echo "going on without the page of the web app"
	$(BIN)/vitscope demo --out demo
	@echo
	@echo "Open the web app:  $(BIN)/vitscope serve"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

# The two halves of what comes first need one core each. One thread in each of two workers is quicker than two threads in
# one: most tests are small. Some hundred tests start processes, which find vitscope compiled, whatever the shell says.
test: setup
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint checked-page
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

page: | $(BIN)/python
	@$(BIN)/python scripts/build_page.py

checked-page: page
	npm --prefix ui run --silent check
	npm --prefix ui test --silent

app: page
	$(BIN)/python scripts/develop_app.py

docs: $(STAMP)
	$(BIN)/python scripts/build_docs.py

# Every mistake of scripts/mutants.toml, alone, in a copy of the tree; the tests named beside it must fail.
mutants: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/mutate.py

# Figures into benchmarks/results, and docs/peers.md made of them. BENCH_ARGUMENTS names real weights and pictures.
bench: $(STAMP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/peer_facts.py
	$(BIN)/python benchmarks/peers.py $(BENCH_ARGUMENTS)

# Pins only: no index lines and no addresses. Universal, so that one file serves Python 3.11 and newer.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --quiet \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock

# Left out is what needs other tools: mypy, and a server that plays S3.
LOWEST := --extra hf --extra open_clip --extra captum --extra video --extra app --extra notebook --extra heads
ROOMS := data evaluation heads methods models options pictures rendering tracing
lowest:
	$(PYTHON) -m venv .venv-lowest
	uv pip compile pyproject.toml $(LOWEST) --resolution lowest-direct --python .venv-lowest/bin/python --quiet \
		--output-file .venv-lowest/versions.txt
	uv pip install --quiet --python .venv-lowest/bin/python -r .venv-lowest/versions.txt pytest pytest-xdist hypothesis
	PYTHONPATH=src OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist loadscope -q \
		$(ROOMS:%=tests/%) --ignore tests/pictures/planned \
		--deselect tests/options/test_typed.py::test_public_calls_type_check

# The pictures of README.md, made by the program itself.
images: $(DEMO_STAMP)
	$(BIN)/vitscope demo --out demo
	mkdir -p docs/images
	cp demo/sheet.png docs/images/demo-sheet.png
	cp demo/01-*.daam.strip.png docs/images/demo-flow.png

clean:
	rm -rf demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
