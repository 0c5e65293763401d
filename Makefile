# Everything runs from .venv, which is built from constraints.txt when it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
PIP := $(BIN)/pip install -q -q --disable-pip-version-check --no-warn-script-location --root-user-action=ignore
PLUGINS := salesforce zendesk stripe legacy
EXTRAS_legacy := [sftp]
EDITABLE := -e .[dev] $(foreach p,$(PLUGINS),-e plugins/$(p)$(EXTRAS_$(p)))
PROJECTS := pyproject.toml $(foreach p,$(PLUGINS),plugins/$(p)/pyproject.toml)
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv demo test check crash bench-actions bench-legacy bench-sync bench-world serve format clean

help:  ## show what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP)  ## build .venv

$(STAMP): constraints.txt $(PROJECTS)
	@echo "building .venv (about a minute)" >&2
	@$(PYTHON) -c 'import sys; sys.exit("Deskhub needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP) --no-build-isolation -c constraints.txt $(EDITABLE)
	@$(BIN)/python -m compileall -q hub plugins
	@touch $(STAMP)

demo: $(STAMP)  ## run the main job on sandboxes: sync, one customer, a refund, a reply, an address
	@$(BIN)/hub demo

test: $(STAMP)  ## run all tests with coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest -q -n $(JOBS) --dist worksteal --cov --cov-report=
	@$(BIN)/coverage combine -q --keep 2>/dev/null || true
	@$(BIN)/coverage report --skip-covered --skip-empty --fail-under=90

check: $(STAMP)  ## lint, types, layers, mappings
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@for p in $(PLUGINS); do $(BIN)/mypy --no-incremental plugins/$$p/hub_$$p || exit 1; done
	@$(BIN)/lint-imports
	@for p in $(PLUGINS); do $(BIN)/hub map check $$p || exit 1; done

bench-sync: $(STAMP)  ## measure syncs beside the raw limit, dlt, airbyte-cdk and zenpy, on both stores (about half an hour)
	@$(BIN)/python bench/sync

bench-world: $(STAMP)  ## measure the 500-customer world: seconds, memory, a second full pass
	@$(BIN)/python bench/world.py

crash: $(STAMP)  ## kill workers 200 times while they act, on SQLite and on Postgres, then count what happened (ten minutes)
	@$(BIN)/python bench/crash

bench-actions: $(STAMP)  ## measure what the hub adds to an action, beside the vendor's SDK alone
	@$(BIN)/python bench/actions.py

bench-legacy: $(STAMP)  ## measure CSV, NDJSON, SQLite and Postgres sources of 1 M rows (half an hour)
	@$(BIN)/python bench/legacy.py

serve: $(STAMP)  ## run API and worker on config.toml
	@$(BIN)/hub serve

format: $(STAMP)  ## format the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

clean:  ## remove .venv and caches
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage .coverage.*
