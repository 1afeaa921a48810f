# `make` lists the targets. Variables: PORT and DATABASE_URL for `make run`; ROLES and SCOPES (a,b), SUBJECT and EXPIRES
# (seconds) for `make token`; PYTHON, the Python that .venv is made with; ARGS, more arguments for pytest and
# bench-calls; UPGRADE=1 for `make lock`; COVERAGE=1 measures branch coverage of a test run.

BIN := .venv/bin
APP := examples.petstore.app:create_app
PORT ?= 8000
ADDRESS := http://127.0.0.1:$(PORT)
SERVED := .venv/.served
CLIENTS := dist/clients
SIGNALS := tests/faults/test_leaving.py tests/faults/test_workers.py tests/cli/test_serve*.py tests/ops
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run -m pytest,python -m pytest)

export PYTHON
# Tests start many processes, and four of pytest: without bytecode each would compile the package and the tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run token test test-all newest clients openapi token-mutants soak probes bench bench-scan bench-pages bench-growth bench-audit bench-imports bench-calls bench-costs bench-refusals profile architecture coverage lint types lock clean core tools generators

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /  \1\t/p' Makefile | expand -t 14

run: export LIGAND_ENVIRONMENT ?= local
run: export LIGAND_SERVICE_PUBLIC_URL ?= $(ADDRESS)
run: export LIGAND_SERVICE_PRIVATE_URL ?= $(ADDRESS)
run: export PORT := $(PORT)
run: export LIGAND_CLIENTS_DIRECTORY ?= $(CLIENTS)
run: core  ## Serve the petstore on SQLite, or on DATABASE_URL, at PORT (8000)
	@$(BIN)/python -c 'import socket; raise SystemExit(socket.socket().connect_ex(("127.0.0.1", $(PORT))) == 0)' \
	    || { echo 'Port $(PORT) is in use; choose another: make run PORT=8001' >&2; exit 1; }
	@$(BIN)/ligand --app $(APP) db upgrade
# What a token hangs on, for `make token`: the address, and the database beside which the secret key is kept.
	@url=$${LIGAND_DATABASE_URL:-$$DATABASE_URL}; echo "$(PORT) $$url" | sed 's|//[^/]*@|//|' >$(SERVED)
	@token=$$($(BIN)/ligand --app $(APP) token --role user,admin --scope pets:write 2>/dev/null) \
	    || token='<an access token>'; \
	    echo; \
	    echo "  Docs   $(ADDRESS)/docs"; \
	    echo "  Try    curl -i $(ADDRESS)/pets/ -H 'Authorization: Bearer $$token'" \
	        "-H 'Content-Type: application/json' -d '{\"name\": \"Rex\"}'"; \
	    echo "  Token  make -s token ROLES=user,admin SCOPES=pets:write"; \
	    echo "  Stop   Ctrl-C"; \
	    echo
	@exec $(BIN)/ligand --app $(APP) serve --port $(PORT)

token: export LIGAND_ENVIRONMENT ?= local
token:  ## Print an access token for what `make run` serves: ROLES=user,admin SCOPES=pets:write
	@output=$$(.ci/venv core 2>&1) || { echo "$$output" >&2; exit 1; }
	@port= url=; [ ! -f $(SERVED) ] || read -r port url <$(SERVED); \
	    PORT=$${PORT:-$$port} DATABASE_URL=$${DATABASE_URL:-$$url} \
	    $(BIN)/ligand --app $(APP) token $${ROLES:+"--role=$$ROLES"} $${SCOPES:+"--scope=$$SCOPES"} \
	    $${SUBJECT:+"--subject=$$SUBJECT"} $${EXPIRES:+"--expires=$$EXPIRES"}

test: tools  ## Test on SQLite and on a throw-away PostgreSQL
	@$(PYTEST) -n 3 -m "not extended" $(ARGS)

test-all: tools generators  ## Test what needs more: browser, issuer, compilers, servers
	@$(PYTEST) -n 2 --dist loadfile -m extended $(ARGS)
# The tests of connections again, under the other reader of HTTP/1 and by our own server.
	@LIGAND_TEST_HTTP1_READER=h11 $(PYTEST) -n 2 tests/ops/test_connections.py tests/ops/test_http1.py $(ARGS)
	@LIGAND_TEST_OWN_SERVER=1 $(PYTEST) -n 2 tests/faults/test_http_guard.py tests/faults/test_http_errors.py \
	    tests/faults/test_http_input.py tests/faults/test_http_guard_deadline.py $(ARGS)

newest: tools  ## Test how the server starts and leaves on the newest Python that is found, also by pyenv
	@.ci/newest -n 2 $(SIGNALS) $(ARGS)

openapi: export LIGAND_ENVIRONMENT := cli
openapi: core  ## Renew the OpenAPI documents of the examples in the repository, which a test compares
	@for example in petstore invoices; do \
	    $(BIN)/ligand --app examples.$$example.app:create_app openapi write -o examples/$$example/openapi.json; done

clients: export LIGAND_CLIENTS_DIRECTORY ?= $(CLIENTS)
clients: core generators  ## Build the petstore's clients into dist/clients, from which `make run` hands them out
	@$(BIN)/ligand --app $(APP) client build

token-mutants: export LIGAND_TEST_MUTANTS ?= 1000000
token-mutants: tools  ## Test a million access tokens changed by chance
	@$(PYTEST) tests/faults/test_tokens_mutants.py -m extended $(ARGS)

soak: export LIGAND_SOAK := 1
soak: tools  ## Test the big figures in full; takes long
	@$(PYTEST) $(ARGS)

probes: tools  ## Send hostile requests to the petstore, under our server and hypercorn's own, and print the answers
	@$(BIN)/python -m tests.faults.probes

bench: tools  ## Measure against other frameworks, each in an environment of its own; ARGS=--write renews docs/performance.md
	@$(BIN)/python -m bench.suite $(ARGS)

bench-scan: core  ## Measure what the strict scan of a JSON body costs
	@$(BIN)/python -m bench.scan

bench-pages: tools  ## Measure first and last pages of a million rows on PostgreSQL, by cursor and by number
	@$(BIN)/python -m bench.pages

bench-growth: tools  ## Measure how cost grows with rows, connections and workers; ARGS="pages" measures a part
	@$(BIN)/python -m bench.growth $(ARGS)

bench-audit: core  ## Measure what the audit trail costs a write
	@$(BIN)/python -m bench.audit

bench-costs: tools  ## Measure what a service, an entity tag and the variables of a tenant cost a request, on PostgreSQL
	@$(BIN)/python -m bench.costs

bench-refusals: tools  ## Measure what refusing a body of 1 MiB costs beside taking one, for sixteen shapes
	@$(BIN)/python -m bench.refusals

bench-imports: core  ## Measure an import of 1,000 invoices with lines against a plain script of SQLAlchemy
	@$(BIN)/python -m bench.imports $(ARGS)

bench-calls: core  ## Count the calls of one request, of other frameworks too; ARGS=--write renews bench/calls.json, ARGS=--check compares
	@$(BIN)/python -m bench.calls $(ARGS)

profile: tools  ## Measure the time of one request by room, and draw flame graphs in dist/profile
	@$(BIN)/python -m bench.profiling $(ARGS)

architecture: core  ## Draw docs/architecture.svg again, which a test compares with the source
	@$(BIN)/python -m docs.architecture

coverage: tools  ## Report the coverage of runs made with COVERAGE=1
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: tools  ## Check style, formatting and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

types: tools  ## Check types, also those that the stubs of schemas hide
	@for example in petstore invoices; do \
	    $(BIN)/ligand --app examples.$$example.app:create_app schemas stub --check || exit; done
	@$(BIN)/mypy
	@$(BIN)/mypy $$(find examples -name '*.pyi' | sed 's/i$$//')

lock: tools  ## Renew the lock files; UPGRADE=1 takes the newest of everything
	@.ci/lock $(if $(UPGRADE),--upgrade)

clean:  ## Remove .venv and what tools leave; databases stay
	rm -rf .venv .venv-newest .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist .coverage .coverage.*

core:
	@.ci/venv core

tools:
	@.ci/venv test

generators:
	@.ci/venv clients
