# `make demo` and `make test` do all their own set-up. A second run reuses it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint unit setup emulators browser bench clean

## The loop on MNIST: LeNet-300-100 from pixels to a container tested on an emulated target.
demo: setup emulators
	@echo "== demo: sigdca run jobs/lenet-300-100-mnist.yaml"
	@$(BIN)/sigdca run jobs/lenet-300-100-mnist.yaml

## All checks: format, types, layers, and every test but the benchmarks.
test: setup emulators browser lint unit

lint:
	@echo "== ruff, mypy --strict, import contracts"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit:
	@echo "== pytest"
	@$(BIN)/pytest

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "== set-up: a virtual environment in $(VENV) (one to three minutes, once)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python venv is missing: installing it"; \
	  ./scripts/apt-install.sh python3-venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

emulators:
	@command -v qemu-x86_64 >/dev/null || command -v qemu-x86_64-static >/dev/null \
	  || { echo "== set-up: qemu-user, which emulates the targets' processors"; \
	       ./scripts/apt-install.sh qemu-user; } \
	  || echo "== no qemu-user: targets will be reported as device-required"

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || { echo "== set-up: chromium, in which a test opens the report"; \
	       ./scripts/apt-install.sh chromium; }

## Claims of benchmarks/, quickly; without QUICK=--quick they take hours.
bench: setup emulators
	@$(BIN)/python benchmarks/loop.py $(QUICK)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
