# scv: `make demo` shows it, `make test` proves it; both set up what they need, once.
#
# PYTHON=python3.12 chooses the interpreter, ARGS="--headless" goes to the command, SEEDS="0..1000" to the campaign.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
QUIX := .venv-quix
PYTHON ?=
ARGS ?=
SEEDS ?= 0..100000

.PHONY: help setup demo lint test campaign bench bench-setup format clean

help:  ## Say what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv and install scv there; quick when nothing changed.
	@:

# Found by trying: `python3` may be an older one while a newer stands beside it.
$(STAMP): pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "scv needs Python 3.11 or newer; $(or $(PYTHON),python3) is" \
			"$$( { $(or $(PYTHON),python3) --version || echo missing; } 2>&1 | tail -n 1 | cut -c 1-60 );" \
			"install one, or name it: make setup PYTHON=python3.12" >&2; \
		exit 1; \
	fi; \
	if ! [ -x $(BIN)/pip ]; then echo "setting up $(VENV) with $$("$$python" --version)"; "$$python" -m venv $(VENV); fi
	@printf 'installing %s packages ' "$$(wc -l < constraints.txt)"
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install -e '.[dev]' -c constraints.txt \
		| awk '/^ *(Collecting|Requirement already)/ { printf "."; fflush() } END { print " done" }'
	@touch $(STAMP)

demo: setup  ## See scv at work; Ctrl-C ends it.
	@$(BIN)/scv demo $(ARGS) || [ $$? -eq 130 ]

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-logo --no-cache 2>&1) || { echo "$$report"; exit 1; }
	@$(BIN)/python -m ops.schemas --check
	@echo "lint, layers, types and schemas: fine"

# A file of tests stays in one process: its tests share servers.
test: lint  ## Lint, types, layers, schemas, then all tests; about ten minutes on two cores.
	@$(BIN)/pytest -n 5 --dist loadfile $(ARGS)

campaign: setup  ## The long proofs: hours of simulated faults, and the tests marked `campaign`.
	@$(BIN)/python -m tests.simulation.run --seeds $(SEEDS)
	@$(BIN)/pytest -m campaign tests $(ARGS)

bench: setup bench-setup  ## Measure this machine: an hour or two; ARGS=--quick: some minutes.
	@$(BIN)/python -m benchmarks.everything $(ARGS)

# An environment of its own: what Quix Streams requires contradicts what scv requires.
bench-setup: setup $(QUIX)/.installed
	@:

$(QUIX)/.installed: benchmarks/quix-requirements.txt | $(STAMP)
	@echo "setting up $(QUIX), for a contender of the benchmarks"
	@$(BIN)/python -m venv $(QUIX)
	@echo '*' > $(QUIX)/.gitignore
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(QUIX)/bin/pip install --quiet -r benchmarks/quix-requirements.txt
	@touch $@

format: setup  ## Put all code into its form.
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

clean:  ## Remove everything that `make` has made.
	@rm -rf $(VENV) $(QUIX) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
