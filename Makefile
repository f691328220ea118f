# Everything starts from here and can be run twice. `make help` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
export PYTHONPATH := $(CURDIR):$(CURDIR)/gen
export DURATION SEED PORT
PY := .venv/bin/python
PYTEST := $(PY) -m pytest
BENCHMARKS := $(subst _,-,$(filter-out __init__,$(basename $(notdir $(wildcard benchmarks/*.py) \
	$(patsubst %/__main__.py,%,$(wildcard benchmarks/*/__main__.py))))))
SOURCES := $(wildcard services cli tools tests benchmarks examples clients)

.PHONY: help setup setup-files setup-test setup-bench generate check format test demo up chaos soak contracts bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@for name in $(BENCHMARKS); do printf '  make bench-%s\n' $$name; done

demo:  ## the whole platform on real data, moving in your terminal (DURATION=60 ends by itself)
	@./muster demo

up:  ## the platform on this machine, until Ctrl-C
	@./muster up

setup:  ## the runtime: .venv, contracts
	@tools/setup.sh runtime

setup-files:  ## what `muster import` needs for Parquet and Arrow files
	@tools/setup.sh files

setup-test:
	@tools/setup.sh test

setup-bench:
	@tools/setup.sh bench

generate: setup  ## Python code of the contracts, into gen/
	@$(PY) tools/generate.py

check: setup-test  ## lint, types, layers, contracts
	@$(PY) -m ruff check $(SOURCES)
	@$(PY) -m ruff format --check $(SOURCES)
	@$(PY) -m mypy
	@.venv/bin/lint-imports
	@.venv/bin/buf lint

format: setup-test  ## lays the code out as the style wants it
	@$(PY) -m ruff format $(SOURCES)
	@$(PY) -m ruff check --fix $(SOURCES)

test: check  ## check, then every test, from one seed (SEED=n for another)
	@MUSTER_SEED=$(or $(SEED),20261121) $(PYTEST) -n 2 --dist loadfile \
		--hypothesis-seed=$(or $(SEED),20261121)

chaos: setup-test  ## kills and pauses real processes from a printed seed (DURATION, SEED)
	@$(PY) -m tests.chaos.harness $(or $(DURATION),60) $(SEED)
	@$(PY) -m tests.chaos.harness $(or $(DURATION),60) $(SEED) --nodes 3
	@$(PY) -m tests.chaos.pipeline $(or $(DURATION),60) $(SEED)
	@$(PY) -m tests.chaos.planted 15

soak: setup-test  ## every reader against every other over many more trees (MUSTER_TREES)
	@MUSTER_TREES=$(or $(MUSTER_TREES),50000) $(PYTEST) tests/properties --timeout=0

contracts: setup-test  ## descriptor set and golden messages
	@$(PY) tools/contracts.py

bench: setup-bench  ## every benchmark, one after the other; the last line of each is JSON
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(MAKE) --no-print-directory bench-$$name; done

bench-segments: setup-bench

bench-%: setup-test
	@$(PY) -m benchmarks.$(subst -,_,$*) $(ARGS)

clean:  ## removes what was built here: .venv, .venv-peers, gen, .state
	@rm -rf .venv .venv-peers gen .state .mypy_cache .ruff_cache .pytest_cache
