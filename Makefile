# Needs python3 with venv, cargo, cc and make. Everything else is installed into .venv and target.
# `make demo` installs what the example needs, the other targets all tools.
# PYTHON=python3.13 selects another interpreter, DATABASE_URL=postgres://… another server.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(CURDIR)/$(VENV)/bin
BESIDE_POSTGRES := $(BIN)/python -m tools.with_postgres
# Python's own checks take a tenth of the time. The second Python goes without them.
CHECKS := -X dev
# Some machines forbid it: each child of a test would compile the whole package.
unexport PYTHONDONTWRITEBYTECODE
# The debug allocator finds wrong writes of C code. Here all is Python and safe Rust.
export PYTHONMALLOC := default
# Two processes share the tests, each with its own server; with DATABASE_URL they run one by one.
# tests/conftest.py puts the longest files first, so that both processes end at the same time.
TEST_PYTHON := $(strip $(BIN)/python $(CHECKS))
PYTEST := $(TEST_PYTHON) -m pytest $(if $(DATABASE_URL),,-p tests.support.own_server --dist loadfile --no-loadscope-reorder --tx '2*popen//python=$(TEST_PYTHON)')
# `make test` runs all tests without processes and browsers, and one test of each kind of the others.
FAST := tests/unit tests/database tests/conformance $(shell grep -l -r '^@pytest.mark.smoke' tests/system --include='test_*.py')
MATRIX_PYTHON := $(if $(filter file,$(origin PYTHON)),$(PYTHON) tools/newest_python.py,echo $(PYTHON))
LOCKED := $(if $(CI),--locked)
SQL_TESTS := tests/database/sql tests/database/test_migrations.py tests/database/history/test_triggers.py \
    tests/database/tables/test_group_tables.py tests/system/workers/test_writes_reach_workers.py
FUZZ_SECONDS ?= 600
MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := target/cargo-mutants-$(MUTANTS_VERSION)
CORE := --no-default-features
POSTGRES := --no-default-features --features postgres
# The random steps of src/postgres/refresh/session/steps.rs.
RANDOM_STEPS = $(BESIDE_POSTGRES) cargo test --quiet $(LOCKED) $(POSTGRES) --lib session::steps

# maturin builds for the first, and accepts only one environment: the second.
export PYO3_PYTHON := $(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

env: $(VENV)/.made ## Create the virtual environment with all tools

$(VENV)/.made: requirements-dev.txt | $(VENV)/.demo
	@echo "Installing the tools. The first run takes a minute."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@

$(VENV)/.demo: requirements-demo.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-demo.txt
	touch $@

# The extension is built again after a change of its sources. All environments use the same file.
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find src python/flagstaff/sql -type f)
develop = rm -f .venv*/.built-* && $(BIN)/maturin develop --profile $(1) $(LOCKED) && touch $(VENV)/.built-$(1)

build: env $(VENV)/.built-quick ## Build the extension for tests and install the package into the environment

build-release: env $(VENV)/.built-release ## Build the optimised extension, as in the wheel

$(VENV)/.built-quick: $(SOURCES) | $(VENV)/.demo
ifdef EDITABLE
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(EDITABLE)
else
	$(call develop,quick)
endif

$(VENV)/.built-release: $(SOURCES) | $(VENV)/.demo
	$(call develop,release)

demo: $(VENV)/.built-quick ## Run the example shop on PostgreSQL, with several workers
	@$(BIN)/python -m tools.demo

demo-rollout: $(VENV)/.built-quick ## Run a rollout plan in the example shop, with simulated users and a planted fault
	@$(BIN)/python -m tools.demo_rollout

demo-experiment: $(VENV)/.built-quick ## Run two experiments in the example shop, with simulated users and a planted mistake
	@$(BIN)/python -m tools.demo_experiment

pictures: build ## Make the pictures of the documentation; needs Chromium
	@$(BIN)/python -m tools.pictures

test: test-rust test-python ## Run the quick tests: all but processes and browsers, of which it runs one of each kind

test-all: test test-rest ## Run all tests but those of faults, themes and repeats

test-rust: env ## Run the Rust tests, without and with a server
	cargo test --quiet $(LOCKED) $(CORE)
	$(BESIDE_POSTGRES) cargo test --quiet $(LOCKED) $(POSTGRES) --lib --test core_postgres

test-python: build ## Run the Python tests of `make test`, and those of the example
	$(PYTEST) -m 'smoke or not (system or thorough)' $(FAST)
	$(BESIDE_POSTGRES) $(TEST_PYTHON) -W error django_example/manage.py test django_example

test-rest: build ## Run the other tests: processes, browsers, documentation, many random cases
	$(PYTEST) -m 'not smoke and (system or thorough)' tests/unit tests/database tests/conformance tests/system

test-faults: build $(VENV)/.faults ## Run the fault tests: crashes, forks, poolers, replicas; takes minutes
	TEST_STEPS=2000 $(RANDOM_STEPS)
	cargo build --quiet $(LOCKED) $(POSTGRES) --example engines
	$(PYTEST) --timeout=180 tests/faults

# The files whose tests have a reduced number of repeats.
REPEATED = $(shell grep -l '^from tests.support.repeats import' -r tests --include='test_*.py')

# The themes have an environment of their own, with the newest Python and the newest Django.
test-themes: build .venv-themes/.made ## Run the admin with other themes in a browser; takes minutes
	THEMES_PYTHON=$(CURDIR)/.venv-themes/bin/python $(BIN)/python -X dev -m pytest -p no:randomly tests/themes

.venv-themes/.made: requirements-themes.txt
	newest=$$($(MATRIX_PYTHON)) && $$newest -m venv .venv-themes
	.venv-themes/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-themes.txt
	touch $@

test-repeats: build $(VENV)/.faults ## Run the repeating tests with the full number of repeats; takes minutes
	TEST_REPEATS=full $(PYTEST) $(REPEATED)
	TEST_STEPS=100000 $(RANDOM_STEPS)

$(VENV)/.faults: requirements-faults.txt $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-faults.txt
	touch $@

test-versions: build ## Run the SQL tests on every supported PostgreSQL; npm provides 14, 15 and 17
	for version in 14 15 16 17 18; do \
	    FLAGSTAFF_POSTGRES=$$version $(BESIDE_POSTGRES) $(BIN)/python -X dev -m pytest $(SQL_TESTS) || exit; done

fuzz: ## Fuzz the parsers, FUZZ_SECONDS=… per target; needs nightly Rust and cargo-fuzz
	for target in rows_to_snapshot row_loads json_values rules connection_parameters; do cargo +nightly fuzz run $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=512 || exit; done

mutants: $(CARGO_MUTANTS)/bin/cargo-mutants ## Mutate the core, and fail if its tests catch under 95 % of the mutants; takes minutes
	@$(PYTHON) -m tools.mutants $< $(ONLY)

$(CARGO_MUTANTS)/bin/cargo-mutants:
	@echo "Installing cargo-mutants $(MUTANTS_VERSION). This takes a few minutes."
	cargo install --quiet --locked --root $(CARGO_MUTANTS) cargo-mutants@$(MUTANTS_VERSION)

# The sample is drawn by a seed. CONTRIBUTING.md says how to compare two suites.
SEED ?= A
mutants-python: build ## Mutate a sample of the Python package and run the tests that reach it; takes hours
	test -d target/python-mutants || $(BIN)/python -m tools.python_mutants record target/python-mutants tests
	$(BIN)/python -m tools.python_mutants run target/python-mutants target/python-mutants-$(SEED).json --seed $(SEED)

soak: build ## Run all faults repeatedly, for half an hour or SOAK_MINUTES=…
	@$(BIN)/python -m tools.soak

# One extension serves every Python, so the other environment installs the one that is built already.
# Versions differ in what a function does, hardly in one value of a parameter: each test runs once.
# PARAMETERS=all runs it with all its parameters, as `make test-all` does, and takes twice as long.
PARAMETERS ?= first
test-matrix: build ## Run each Python test once on the newest Python found, or on PYTHON=…
	rm -rf target/editable
	$(BIN)/maturin pep517 build-wheel --editable --quiet --profile quick --interpreter $(BIN)/python \
	    --compatibility off --out target/editable $(LOCKED) >/dev/null
	newest=$$($(MATRIX_PYTHON)) && TEST_PARAMETERS=$(PARAMETERS) $(MAKE) test-python-all CHECKS= PYTHON="$$newest" \
	    EDITABLE=$(CURDIR)/target/editable/*.whl

test-python-all: build
	$(PYTEST)
	$(BESIDE_POSTGRES) $(TEST_PYTHON) -W error django_example/manage.py test django_example

lint: lint-rust lint-python docs ## Run all static checks

lint-rust: env ## Check format, clippy for each set of features, and the crate's documentation
	cargo fmt --all --check
	for features in "$(CORE)" "$(POSTGRES)" ""; do \
	    cargo clippy --quiet $(LOCKED) --all-targets $$features -- --deny warnings || exit; done
	RUSTDOCFLAGS="--deny warnings" cargo doc --quiet $(LOCKED) --no-deps

lint-python: build ## Check style, types, import layers, and that no migration is missing
	$(BIN)/ruff check --quiet && $(BIN)/ruff format --quiet --check
	$(BIN)/mypy && $(BIN)/stubtest flagstaff._core --mypy-config-file pyproject.toml
	$(BIN)/basedpyright --project tests/typing --pythonpath $(BIN)/python
	$(BIN)/lint-imports && $(BESIDE_POSTGRES) $(BIN)/python django_example/manage.py makemigrations --check

docs: env ## Build the documentation site in target/docs, offline
	$(BIN)/mkdocs build --quiet --strict

wheel: env ## Build the wheel for this machine in dist, for every Python from 3.10 on
	rm -rf dist && $(BIN)/maturin build --release --strip --quiet --compression-level 9 $(LOCKED) --out dist >/dev/null

wheel-test: wheel ## Test the wheel in bare environments, on the oldest and newest Python found, without Rust
	$(BESIDE_POSTGRES) $(BIN)/python -m tools.check_wheel dist/*.whl

format: env ## Format the code
	cargo fmt --all
	$(BIN)/ruff check --quiet --select I --fix && $(BIN)/ruff format --quiet

messages: env ## Update the catalogue for translators and the translations; needs GNU gettext
	$(BIN)/python -m tools.messages

bench: build-release ## Measure the cost of an evaluation, as ratios to the floor of the same run
	$(BESIDE_POSTGRES) $(BIN)/python benches/run.py

sim: build ## Simulate rollout plans and experiments: false results, and how soon effects are found; takes half an hour
	@$(BIN)/python -m tools.simulation
	@$(BIN)/python -m tools.simulation.networks
	@$(BIN)/python -m tools.experiment_simulation

scale: ## Simulate 10,000 workers, and print the tables of docs/discussions/scale.md; takes minutes
	@$(PYTHON) -m tools.scale_simulation

requirements: env ## Update the pinned versions of the tools
	$(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv
	$(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes \
	    --no-header --no-annotate --output-file requirements-dev.txt requirements-dev.in
	for part in demo faults; do \
	    $(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes \
	    --no-header --no-annotate --constraint requirements-dev.txt \
	    --output-file requirements-$$part.txt requirements-$$part.in || exit; done
	$(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.12 --upgrade --generate-hashes \
	    --no-header --no-annotate --constraint requirements-dev.txt \
	    --output-file requirements-themes.txt requirements-themes.in

clean: ## Delete environments, builds, and the demo's data
	$(PYTHON) -m tools.demo forget
	rm -rf .venv* .demo build dist target django_example/store/static/store/front_end.built.js fuzz/target fuzz/corpus fuzz/artifacts .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} + && rm -f python/flagstaff/_core.*so

.PHONY: help env build build-release demo demo-rollout demo-experiment pictures test test-all test-rust test-python test-python-all test-rest test-faults test-themes test-repeats test-versions fuzz mutants mutants-python soak test-matrix lint lint-rust lint-python docs wheel wheel-test format messages bench sim scale requirements clean
