# Needs python3 with venv, cargo, cc and make. Everything else is installed into .venv and target.
# `make demo` installs what the example needs, the other targets all tools.
# PYTHON=python3.13 selects another interpreter, DATABASE_URL=postgres://… another server.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Lists of files are read when a target needs them, and not at each `make`.
.SECONDEXPANSION:

PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(CURDIR)/$(VENV)/bin
BESIDE_POSTGRES := $(BIN)/python -m tools.with_postgres
# Some machines forbid it: each child of a test would compile the whole package.
unexport PYTHONDONTWRITEBYTECODE
# Some processes share the tests, each with its own server; with DATABASE_URL they run one by one.
# tests/conftest.py puts the longest files first, so that all processes end at the same time.
# Cargo and make in tests are not jobs of this make.
pytest = env -u MAKEFLAGS $(BIN)/python -m pytest $(if $(DATABASE_URL),,-p tests.support.own_server --dist loadfile --no-loadscope-reorder --tx '$(1)*popen//python=$(BIN)/python')
PYTEST = $(call pytest,3)
# Tests of processes, browsers and faults wait for half of their time.
WAITING_PYTEST = $(call pytest,4)
# Without processes and browsers, and one test of each kind of the others.
QUICK = -m 'smoke or not (system or thorough)' tests/unit tests/database tests/conformance $(shell grep -l -r 'mark\.smoke' tests/system --include='test_*.py')
# The fault tests: all of them, or FAULTS=smoke for one of each family.
FAULTS ?= all
FAULT_TESTS = $(if $(filter smoke,$(FAULTS)),-m smoke $(shell grep -l -r 'mark\.smoke' tests/faults --include='test_*.py'),tests/faults)
LOCKED := $(if $(CI),--locked)
CORE := --no-default-features
POSTGRES := --no-default-features --features postgres,tests
QUICK_FEATURES := --features python,tests
# The tests of Rust share the profile and the crates of the extension, but for those of regular
# expressions, of which the tests know more classes.
CARGO_TEST := cargo test --quiet --profile quick $(LOCKED) $(POSTGRES)
# The tests of Rust wait for their server for most of their time, and those of the example use one core.
# The output of a target is printed when it ends, but that of pytest at once, by descriptor 9.
SIDE_BY_SIDE = --no-print-directory --jobs=2 --output-sync=target AT_ONCE='>&9 2>&9' 9>&1
# The random steps of tests/core/postgres_steps.rs.
RANDOM_STEPS = $(BESIDE_POSTGRES) $(CARGO_TEST) --test core_postgres postgres_steps
NEWEST_PYTHON = $(if $(filter file,$(origin PYTHON)),$$($(PYTHON) tools/newest_python.py),$(PYTHON))
EXAMPLE_TESTS = $(BESIDE_POSTGRES) $(BIN)/python -W error django_example/manage.py test django_example
# In CI, Python compiles what it imports: a fifth of the files, of which pip would compile all.
PIP = $(BIN)/python -m pip install --disable-pip-version-check $(if $(CI),--no-compile)

# maturin builds for the first, and accepts only one environment: the second.
export PYO3_PYTHON := $(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport CONDA_PREFIX

help:
	@awk -F ':.*## ' '/^## / { print "\n" substr($$0, 4) } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

## Working
demo: $(VENV)/.built-quick ## Run the example shop with several workers; SCENE=rollout or experiment shows these
	@$(BIN)/python -m tools.demo$(if $(SCENE),_$(SCENE))

test: build ## Run the quick tests: some of processes, browsers and long lists of cases, and all others
	@$(MAKE) $(SIDE_BY_SIDE) test-python test-rust test-example

test-all: build ## Run all tests but those of faults: also processes, browsers, documentation, many random cases
	@$(MAKE) $(SIDE_BY_SIDE) all-python test-rust test-example

test-faults: build ## Run the fault tests: crashes, forks, poolers, replicas; FAULTS=smoke runs one of each family
	@$(MAKE) $(SIDE_BY_SIDE) faults-python faults-rust

lint: lint-rust lint-python docs ## Run all static checks

format: $(VENV)/.tools ## Format the code
	cargo fmt --all
	$(BIN)/ruff check --quiet --select I --fix && $(BIN)/ruff format --quiet

build: $(VENV)/.tools $(VENV)/.built-quick ## Build the extension for tests and install the package into the environment

# The pages of the API are made from the docstrings, also from those of the extension.
docs: build ## Build the documentation site in target/docs, offline
	$(BIN)/mkdocs build --quiet --strict

wheel: $(VENV)/.demo ## Build the wheel for this machine in dist, and test it in bare environments without Rust
	rm -rf dist && $(BIN)/maturin build --release --strip --quiet --compression-level 9 $(LOCKED) --out dist >/dev/null
	$(BIN)/python -m tools.package_page dist/*.whl
	$(BESIDE_POSTGRES) $(BIN)/python -m tools.check_wheel dist/*.whl

messages: $(VENV)/.tools $(VENV)/.built-quick ## Update the catalogue for translators and the translations; needs GNU gettext
	$(BIN)/python -m tools.messages

check-messages: build ## Fail if a message has no German text: a warning of the tests, and an error of a release
	REQUIRE_TRANSLATIONS=1 $(BIN)/python -m pytest tests/unit/locale

clean: ## Delete environments, builds, and the demo's data
	$(PYTHON) -m tools.demo forget
	rm -rf .venv* .demo build dist target django_example/store/static/store/front_end.built.js fuzz/target fuzz/corpus fuzz/artifacts .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} + && rm -f python/flagstaff/_core.*so

## Measuring
bench: $(VENV)/.tools $(VENV)/.built-release ## Measure the cost of an evaluation, as ratios to the floor of the same run
	$(BESIDE_POSTGRES) $(BIN)/python -m benches.run

sim: build ## Simulate rollout plans and experiments: false results, and how soon effects are found; takes an hour
	@$(BIN)/python -m tools.simulation

soak: build ## Run all faults repeatedly, for half an hour or SOAK_MINUTES=…
	@$(BIN)/python -m tools.soak

# Versions differ in what a function does, hardly in one value of a parameter: PARAMETERS=all runs them all.
# One extension serves every Python, so the other environment installs the one that is built already.
PARAMETERS ?= first
matrix: build matrix-tools ## Run the quick tests on the newest Python found, or on PYTHON=…, with the newest Django for it
	rm -rf target/editable
	$(BIN)/maturin pep517 build-wheel --editable --quiet --profile quick $(QUICK_FEATURES) --interpreter $(BIN)/python \
	    --compatibility off --out target/editable $(LOCKED) >/dev/null
	@newest=$(NEWEST_PYTHON) && TEST_PARAMETERS=$(PARAMETERS) $(MAKE) $(SIDE_BY_SIDE) test-python test-example \
	    PYTHON="$$newest" EDITABLE=$(CURDIR)/target/editable/*.whl

# The files whose tests have a reduced number of repeats.
repeats: build ## Run the repeating tests with the full number of repeats, or those of REPEATED=…; takes minutes
	TEST_REPEATS=full $(PYTEST) $(or $(REPEATED),$(shell grep -l '^from tests.support.repeats import' -r tests --include='test_*.py'))
	TEST_STEPS=100000 $(RANDOM_STEPS)

SQL_TESTS = tests/database/sql tests/database/test_migrations.py tests/database/history/test_triggers.py \
    tests/database/tables/test_group_tables.py tests/system/workers/test_writes_reach_workers.py
versions: build ## Run the SQL tests on every supported PostgreSQL; npm provides 14, 15 and 17
	for version in 14 15 16 17 18; do \
	    FLAGSTAFF_POSTGRES=$$version $(BESIDE_POSTGRES) $(BIN)/python -m pytest $(SQL_TESTS) || exit; done

FUZZ_SECONDS ?= 600
fuzz: ## Fuzz the parsers, FUZZ_SECONDS=… per target; needs nightly Rust and cargo-fuzz
	for target in rows_to_snapshot row_loads json_values rules connection_parameters; do cargo +nightly fuzz run $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=512 || exit; done

MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS := target/cargo-mutants-$(MUTANTS_VERSION)
mutants: $(CARGO_MUTANTS)/bin/cargo-mutants ## Mutate the core, and fail if its tests catch under 95 % of the mutants; takes minutes
	@$(PYTHON) -m tools.mutants $< $(ONLY)

pictures: build ## Make the pictures of the documentation; needs Chromium
	@$(BIN)/python -m tools.pictures

requirements: $(VENV)/.tools ## Update the pinned versions of the tools
	$(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv
	for part in demo dev; do \
	    $(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes \
	    --no-header --no-annotate $$constraint --output-file requirements-$$part.txt requirements-$$part.in || exit; \
	    constraint="--constraint requirements-$$part.txt"; done

# Parts of the targets above.
$(VENV)/.tools: requirements-dev.txt | $(VENV)/.demo
	@echo "Installing the tools. The first run takes a minute."
	$(PIP) --quiet --requirement requirements-dev.txt
	touch $@

$(VENV)/.demo: requirements-demo.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --requirement requirements-demo.txt
	touch $@

# The extension is built again after a change of its sources. All environments use the same file.
SOURCES = Cargo.toml Cargo.lock pyproject.toml $(shell find src python/flagstaff/sql -type f)
develop = rm -f .venv*/.built-* && $(BIN)/maturin develop --profile $(1) $(2) $(LOCKED) && touch $(VENV)/.built-$(1)

$(VENV)/.built-quick: $$(SOURCES) | $(VENV)/.demo
	$(if $(EDITABLE),$(PIP) --quiet --no-deps --force-reinstall $(EDITABLE),$(call develop,quick,$(QUICK_FEATURES)))

$(VENV)/.built-release: $$(SOURCES) | $(VENV)/.demo
	$(call develop,release)

tools: $(VENV)/.tools

matrix-tools:
	newest=$(NEWEST_PYTHON) && $(MAKE) --no-print-directory tools PYTHON="$$newest"

test-rust: $(VENV)/.demo
	RUST_TEST_THREADS=8 $(BESIDE_POSTGRES) $(CARGO_TEST) --lib --test core_alone --test core_allocations --test core_postgres

# In a new environment, as of `make matrix`, each of the processes would compile all tests.
test-python: build $(if $(EDITABLE),compiled-tests)
	$(PYTEST) $(QUICK) $(AT_ONCE)

compiled-tests: build
	$(BIN)/python -m pytest --quiet --collect-only $(QUICK) >/dev/null

all-python: build
	$(WAITING_PYTEST) $(AT_ONCE)

test-example: build
	$(EXAMPLE_TESTS)

faults-rust: $(VENV)/.demo
	TEST_STEPS=2000 $(RANDOM_STEPS)

faults-python: build
	cargo build --quiet --profile quick $(LOCKED) $(POSTGRES) --example engines
	$(WAITING_PYTEST) --timeout=180 $(FAULT_TESTS) $(AT_ONCE)

# The core alone, and all layers. `test-rust` compiles the crate with PostgreSQL and without Python.
# The profile is that of the build, of which macros and build scripts are used again.
lint-rust: $(VENV)/.demo
	cargo fmt --all --check
	for features in "$(CORE)" ""; do cargo clippy --quiet --profile quick $(LOCKED) --all-targets $$features -- --deny warnings || exit; done

# The processes of `make test-all` then need not compile the tests each.
lint-python: build
	$(BIN)/ruff check --quiet && $(BIN)/ruff format --quiet --check
	$(BIN)/mypy && $(BIN)/stubtest flagstaff._core --mypy-config-file pyproject.toml
	$(BIN)/basedpyright --project tests/typing --pythonpath $(BIN)/python
	$(BIN)/python -m pytest --quiet --collect-only tests/unit tests/database tests/conformance tests/system tests/faults >/dev/null
	$(BIN)/lint-imports && $(BESIDE_POSTGRES) $(BIN)/python django_example/manage.py makemigrations --check

$(CARGO_MUTANTS)/bin/cargo-mutants:
	@echo "Installing cargo-mutants $(MUTANTS_VERSION). This takes a few minutes."
	cargo install --quiet --locked --root $(CARGO_MUTANTS) cargo-mutants@$(MUTANTS_VERSION)

.PHONY: help demo test test-all test-faults lint format build docs wheel messages check-messages clean bench sim soak matrix repeats versions fuzz mutants pictures requirements tools matrix-tools test-rust test-python compiled-tests all-python test-example faults-rust faults-python lint-rust lint-python
