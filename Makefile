# Two commands do all the set-up they need, in .venv: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types check coverage bench clean help

help:  ## Show what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## Compile and run the example on this machine, then compile it for a cluster
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/video_qa/demo.sh

test: lint types check  ## Lint, types, and the whole default test suite

lint: $(VENV)/.dev
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@echo "== mypy"
	@$(BIN)/mypy

check: $(VENV)/.dev
	@echo "== pytest"
	@$(BIN)/python -m pytest -q -n auto --cov --cov-report=term:skip-covered

bench: $(VENV)/.dev  ## Run every benchmark and print its table (several minutes)
	@for script in benchmarks/*/run.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## Remove everything that was made here
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.git -prune -o -type d \( -name __pycache__ -o -name .murakkab \) -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "this Python cannot make environments: install its venv module (python3-venv on Debian)"; exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "== installing murakkab with the extra local into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "== installing the extra dev into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[local,dev]'
	@touch $@
