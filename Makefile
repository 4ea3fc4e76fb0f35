# Every target sets itself up: a virtual environment in .venv with this package, editable, and its development tools.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test lint bench clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## train two small models, watch four tasks, summarise: multirun/demo/summary/report.html
	$(BIN)/circuitwatch --multirun experiment=demo
	$(BIN)/python -m circuitwatch.nano.check model=nano-200k,nano-400k seed=0
	$(BIN)/circuitwatch transfer sweep=demo
	$(BIN)/circuitwatch summarize sweep=demo

test: lint ## lint, types and the test suite
	$(BIN)/pytest -n 2

lint: $(READY) ## style and types only
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy

bench: $(READY) ## speed and memory, side by side: multirun/bench/results.json; intervals against a known truth
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/run.py $(BENCH)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.simulated

clean: ## remove the virtual environment
	rm -rf .venv
