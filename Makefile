# One entry point: each target installs what it needs. Needs Python 3.11 or newer as `python3`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-local test-interop e2e lint fmt bench bench-manifests image plugin clean

help: ## show this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP) ## make .venv with everything for development

demo: $(STAMP) ## the order example, killed in the middle before your eyes and gone on with
	@PYTHONPATH=tests $(BIN)/python -m support.demo

test: lint test-local e2e ## every test of our own, the ones on a real cluster included

test-local: $(STAMP) ## all tests but the tier on a real cluster
	$(BIN)/python -m pytest tests --ignore=tests/e2e --ignore=tests/interop -m "not cluster"

test-interop: $(STAMP) ## what we ship for Prometheus, cert-manager, KEDA, Argo CD and Flux, by them (compiles for an hour once)
	$(BIN)/python -m pytest tests/interop

e2e: $(STAMP) ## the tests on a real cluster (made here if PERDURE_TEST_CONTEXT names none)
	$(BIN)/python -m pytest tests/e2e tests/integration -m cluster

lint: $(STAMP) ## formatting, style, types, layers, spelling
	$(BIN)/ruff format --check operator worker_image tests
	$(BIN)/ruff check operator worker_image tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs operator worker_image tests charts

fmt: $(STAMP) ## bring the code into shape
	$(BIN)/ruff format operator worker_image tests
	$(BIN)/ruff check --fix operator worker_image tests

bench: $(STAMP) ## the four workloads, as ratios to a bare SQLite commit in the same run
	PYTHONPATH=tests $(BIN)/python -m benchmarks.workloads

bench-manifests: $(STAMP) ## ten thousand Workflows on a real API server: runs a minute, CPU, memory (RUNS=10000 POLICY=1, or WAITING=10000)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.$(if $(WAITING),waiting --waiting $(WAITING),manifests --runs $(or $(RUNS),10000) $(if $(POLICY),--policy))

image: $(STAMP) ## build both container images with buildah
	PYTHONPATH=tests $(BIN)/python -m support.cluster_images

plugin: $(STAMP) ## build dist/kubectl-perdure, the command line as one file
	$(BIN)/python -m hatchling build -t wheel -d dist
	$(BIN)/python -m pex dist/perdure-*.whl -c kubectl-perdure -o dist/kubectl-perdure --python-shebang '/usr/bin/env python3'

clean: ## remove what was built here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
