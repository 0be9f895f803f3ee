# `make demo` and `make test` do all their own set-up. A second run reuses it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The native library: rebuilt when one of its files changes.
NATIVE         := sigdca/native
NATIVE_STAMP   := $(VENV)/.native
NATIVE_SOURCES := $(shell find $(NATIVE)/src $(NATIVE)/include $(NATIVE)/tools $(NATIVE)/cmake \
                    $(NATIVE)/toolchains $(NATIVE)/CMakeLists.txt -type f)
NATIVE_TARGETS := aarch64-a57 x86-64-v2-goldmont
AARCH64_RUN    := $(NATIVE)/bin/dca-run-aarch64

.PHONY: demo test test-slow lint unit setup horovod try-horovod emulators compilers browser launcher broker \
        native-targets native-programs dist bench clean

## The loop on MNIST: LeNet-300-100 from pixels to a container tested on emulated targets.
demo: setup emulators native-programs
	@echo "== demo: sigdca run jobs/lenet-300-100-mnist.yaml"
	@$(BIN)/sigdca run jobs/lenet-300-100-mnist.yaml

## All checks: format, types, layers, and every test but the slow ones and the benchmarks.
test: setup emulators compilers native-programs browser broker lint unit

## What takes minutes a test: nodes lost in namespaces of their own (as root), kills at every stage,
## and the strategies with Horovod among them, which is built first. Half an hour or more.
test-slow: setup try-horovod emulators native-programs launcher
	@$(BIN)/pytest -m "slow or not slow" tests/unit/distributed -k horovod
	@$(BIN)/pytest -m "slow or not slow" tests/cluster/test_training.py -k horovod
	@$(BIN)/pytest -m slow

lint:
	@echo "== ruff, mypy --strict, import contracts"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Those that start Ray clusters come last and alone: a submitted job joins the cluster that the machine
# started last, and a starved node counts as lost.
CLUSTERS := tests/cluster $(addprefix tests/e2e/test_,loop.py own_images.py s3.py search.py submit.py watch.py)

unit:
	@echo "== pytest"
	@$(BIN)/pytest --numprocesses 2 --dist loadfile $(CLUSTERS:%=--ignore %)
	@$(BIN)/pytest $(CLUSTERS)

setup: $(STAMP) $(NATIVE_STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "== set-up: a virtual environment in $(VENV) (two to four minutes, once)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python venv is missing: installing it"; \
	  ./scripts/apt-install.sh python3-venv && $(PYTHON) -m venv $(VENV); }
	@./scripts/compilers.sh native
	@$(BIN)/pip install --quiet --constraint constraints.txt scikit-build-core cmake ninja \
	  setuptools wheel
	@$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation \
	  --editable '.[dev]'
	@touch $@

# Asks no package index.
$(NATIVE_STAMP): $(STAMP) $(NATIVE_SOURCES)
	@echo "== set-up: the native library"
	@$(BIN)/pip install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@

## Horovod, for `train.strategy: horovod`: its wheel is built once and cached.
horovod: setup
	@./scripts/horovod.sh $(BIN)/python

# The tests of its strategy skip where it cannot be built.
try-horovod: setup
	@./scripts/horovod.sh $(BIN)/python || echo "== no Horovod: its tests will be skipped"

emulators:
	@command -v qemu-x86_64 >/dev/null || command -v qemu-x86_64-static >/dev/null \
	  || { echo "== set-up: qemu-user, which emulates the targets' processors"; \
	       ./scripts/apt-install.sh qemu-user; } \
	  || echo "== no qemu-user: targets will be reported as device-required"

compilers:
	@for target in $(NATIVE_TARGETS); do ./scripts/compilers.sh $$target \
	  || echo "== no compiler for $$target: tests of its package will be skipped"; done
	@./scripts/compilers.sh fuzzer || echo "== no clang with libFuzzer: fuzz tests will be skipped"
	@command -v pkg-config >/dev/null \
	  || { echo "== set-up: pkg-config, by which a test builds the examples"; \
	       ./scripts/apt-install.sh pkg-config; } \
	  || echo "== no pkg-config: the examples will not be built by it"

browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || { echo "== set-up: chromium, in which a test opens the report"; \
	       ./scripts/apt-install.sh chromium; } \
	  || echo "== no chromium: tests of the report's looks will be skipped"

launcher:
	@test -x /usr/sbin/sshd && command -v rsync >/dev/null \
	  || { echo "== set-up: sshd and rsync, by which Ray's launcher is tested"; \
	       ./scripts/apt-install.sh openssh-server rsync; } \
	  || echo "== no sshd and rsync: the launcher will not be tested"

broker:
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto \
	  || { echo "== set-up: mosquitto, the broker that tests publish to"; \
	       ./scripts/apt-install.sh mosquitto; } \
	  || echo "== no mosquitto: tests of MQTT will be skipped"

## Header, libraries, dca-run and examples for boards: dist/sigdca-native-<version>-<target>.tar.gz
native-targets: setup
	@for target in $(NATIVE_TARGETS); do \
	  rm -f dist/sigdca-native-*-$$target.tar.gz; \
	  ./scripts/compilers.sh $$target || { echo "== no compiler for $$target: skipped"; continue; }; \
	  ./scripts/native-target.sh $$target || exit; \
	done

## dca-run for boards of another kind than this machine, which the emulated legs run.
native-programs: $(AARCH64_RUN)

$(AARCH64_RUN): $(NATIVE_SOURCES) $(STAMP)
	@./scripts/compilers.sh aarch64 \
	  && { echo "== set-up: dca-run for aarch64"; \
	       ./scripts/native-target.sh aarch64-a57 dca-run $@; } \
	  || { rm -f $@; \
	       echo "== no dca-run for aarch64: its targets will be reported as device-required"; }

## What a release is: wheel, source distribution, packages for boards, bill of materials, licences, checksums.
dist: setup native-targets native-programs
	@$(BIN)/python scripts/release.py $(NATIVE_TARGETS)

## Claims of benchmarks/, quickly; without QUICK=--quick they take hours.
bench: setup emulators
	-@$(BIN)/python benchmarks/native.py $(QUICK)
	@$(BIN)/python benchmarks/loop.py $(QUICK)

clean:
	rm -rf $(VENV) build dist $(NATIVE)/bin *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
