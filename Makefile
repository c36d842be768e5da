# make run     the demonstration: embedded cluster, real jobs, the window
# make test    all tests
# make lint    ruff, mypy, import-linter
# make pictures  the guides' pictures, taken anew
# make bench   the figures of spec N, each beside its target
PYTHON ?= $(shell for one in python3.11 python3.12 python3.13 python3; do command -v $$one && break; done)
VENV := .venv
BIN := $(VENV)/bin
PG ?= 18

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench pictures clean system system-tests

help:
	@sed -n 's/^# //p' Makefile

system:
	@sh packaging/system_packages.sh

system-tests:
	@sh packaging/system_packages.sh tests

$(VENV)/.run: pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[desktop,embedded,demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run | system-tests
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[desktop,embedded,demo,dev]'
	@touch $@

run: $(VENV)/.run
	$(BIN)/quarterdeck demo

test: $(VENV)/.dev
	QUARTERDECK_TEST_PG=$(PG) QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

pictures: $(VENV)/.run
	LOGNAME=ann $(BIN)/python -m desktop.pictures docs/images

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis
