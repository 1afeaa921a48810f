# `make` lists the targets. Variables: PORT and DATABASE_URL for `make run`; PYTHON, the Python that .venv is made with;
# ARGS, more arguments for pytest; UPGRADE=1 for `make lock`; COVERAGE=1 measures branch coverage of a test run.

BIN := .venv/bin
APP := examples.petstore.app:create_app
PORT ?= 8000
ADDRESS := http://127.0.0.1:$(PORT)
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run -m pytest,python -m pytest)

export PYTHON

.PHONY: help run test test-all soak probes bench-audit bench-scan coverage lint types lock clean core tools

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  \1\t/p' Makefile | expand -t 14

run: export LIGAND_ENVIRONMENT ?= local
run: export LIGAND_SERVICE_PUBLIC_URL ?= $(ADDRESS)
run: export LIGAND_SERVICE_PRIVATE_URL ?= $(ADDRESS)
run: export PORT := $(PORT)
run: core  ## Serve the petstore on SQLite, or on DATABASE_URL, at PORT (8000)
	@$(BIN)/python -c 'import socket; raise SystemExit(socket.socket().connect_ex(("127.0.0.1", $(PORT))) == 0)' \
	    || { echo 'Port $(PORT) is in use; choose another: make run PORT=8001' >&2; exit 1; }
	@$(BIN)/ligand --app $(APP) db upgrade
	@echo
	@echo "  Docs   $(ADDRESS)/docs"
	@echo "  Try    curl -i $(ADDRESS)/pets/ -H 'Content-Type: application/json' -d '{\"name\": \"Rex\"}'"
	@echo "  Stop   Ctrl-C"
	@echo
	@exec $(BIN)/ligand --app $(APP) serve --port $(PORT)

test: tools  ## Test on SQLite and on a throw-away PostgreSQL
	@$(PYTEST) -n 2 -m "not extended" $(ARGS)

test-all: tools  ## Test what needs more: browser, issuer, compilers, servers
	@$(PYTEST) -m extended $(ARGS)

soak: export LIGAND_SOAK := 1
soak: tools  ## Test the big figures in full; takes long
	@$(PYTEST) $(ARGS)

probes: tools  ## Send hostile requests to the petstore, under our server and hypercorn's own, and print the answers
	@$(BIN)/python -m tests.probes

bench-scan: core  ## Measure what the strict scan of a JSON body costs
	@$(BIN)/python -m bench.scan

bench-audit: core  ## Measure what the audit trail costs a write
	@$(BIN)/python -m bench.audit

coverage: tools  ## Report the coverage of runs made with COVERAGE=1
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: tools  ## Check style, formatting and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: tools  ## Check types
	@$(BIN)/mypy

lock: tools  ## Renew the lock files; UPGRADE=1 takes the newest of everything
	@.ci/lock $(if $(UPGRADE),--upgrade)

clean:  ## Remove .venv and what tools leave; databases stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist .coverage .coverage.*

core:
	@.ci/venv core

tools:
	@.ci/venv test
