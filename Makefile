# Strongroom. `make demo` and `make test` do their own set-up, system packages included.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=STRONGROOM_CACHE_DIR,CI)
RUN := $(SUDO) .venv/bin
LOCKS := requirements-build.lock requirements-dev.lock pyproject.toml
PARTS := $(or $(ONLY),unit contract architecture flow crash e2e browser)

.PHONY: help setup host assets demo serve test bench model check coverage format lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

host:
	@echo "Preparing the host:"
	@$(SUDO) .ci/prepare-host

.venv/.complete: $(LOCKS) | host
	@echo "Making the virtual environment from the hash-locked files (about a minute):"
	@[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	@.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Strongroom needs Python 3.11 or later; set PYTHON=... to one." >&2; exit 2; }
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-build.lock
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation -r requirements-dev.lock
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The script itself decides whether anything is to be fetched: files' times say little after a checkout.
assets: | host ## fetch htmx and Bootstrap by the lock file, where they are not there yet
	@$(PYTHON) .ci/fetch-assets

setup: host .venv/.complete assets ## everything the other targets need; can be run again
	@$(RUN)/strongroom doctor --fix --host-only

demo: setup ## the main job, told step by step (first run about 8 minutes without KVM)
	@$(RUN)/python -m tests.demo

serve: setup ## run the daemon of the demo's site, so that you can look around
	@$(RUN)/python -m tests.demo --serve

check: .venv/.complete assets ## formatting, lint, types, layers: no test runs
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/lint-imports
	@.venv/bin/mypy

test: setup check ## all tests, with real guests; ONLY="unit flow" for a part
	@$(RUN)/python -m pytest $(addprefix tests/,$(PARTS)) $(PYTEST_ARGS)

bench: setup ## compare with what you would use instead; ONLY="gate.effect", SCALE=full, WRITE_DOCS=1
	@$(SUDO) env ONLY="$(ONLY)" SCALE="$(SCALE)" WRITE_DOCS="$(WRITE_DOCS)" STRICT="$(STRICT)" .venv/bin/python -m tests.bench

model: setup ## check the models of gate, log and witness with spin (about two minutes)
	@.venv/bin/python -m tests.model

coverage: setup ## tests that run in seconds, with branch coverage
	@$(RUN)/python -m pytest -q tests/unit --cov --cov-report=term

format: .venv/.complete ## format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: ## resolve the requirements again (needs uv and npm)
	@printf 'setuptools\nwheel\n' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q - -o requirements-build.lock
	@uv pip compile --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml -o requirements.lock
	@uv pip compile --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml --extra dev -o requirements-dev.lock
	@cd web/assets && npm update --package-lock-only --no-audit --no-fund

clean: ## remove what the build made; guests' disks stay
	@rm -rf .venv build web/static/vendor .mypy_cache .ruff_cache .pytest_cache *.egg-info
