# Needs Python 3.11 to 3.13 and make; everything else goes into .venv on first use.
#
#   make demo     a made-up legacy store: planned, migrated, verified, reported (writes only into demo/)
#   make test     the whole suite but the peers      make quick    without the slow ones
#   make kills    a move of traces killed at each of its writes (three minutes; `make test` kills at a few)
#   make torture  the proof in its long form: every kill, further searches, a sample of faults, crowds (about an hour
#                 on two cores; TORTURE=20 takes more of everything but kills, and hours)
#   make lint     ruff                               make types    mypy
#   make peers    the real synth-ai, LangSwarm and Session-Buddy on our stores (needs PyPI, about two minutes
#                 at first; Session-Buddy needs a Python 3.13, and is skipped without one)
#   make bench    us and others on 20,000 sessions
#   make clean    remove all that the other targets made

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

# The first Python that runs and is of a fit version: a name on the PATH can be an empty shim.
FIT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do \
	$$p -c '$(FIT)' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
PYTEST ?= $(BIN)/python -m pytest
# The tests are one process more than the machine has cores, since some of them wait; PYTEST_ARGS=-n0 for one.
PYTEST_ARGS ?= -n auto --dist worksteal
DEMO_SESSIONS ?= 2000
# Thousands of small stores are synced to the disk many times each, and the tests wait for that a third of their time: in
# memory, where there is room for them, nobody does. TMPDIR=... names another place.
ROOM := $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'END { print $$4 }')" -gt 4000000 ] && echo /dev/shm)
IN_ROOM = $(if $(TMPDIR),,$(if $(ROOM),TMPDIR=$(ROOM)))
BENCH_ARGS ?=
# How many times the usual effort the searches of `make torture` make.
TORTURE ?= 2

# Every test that starts a process would compile our modules again: a sixth of the suite's time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick kills torture lint types peers bench clean

# --- environments: made once, again when the metadata changes -------------------------------------------------

$(VENV)/.run: setup.cfg pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 to 3.13 found (set PYTHON=...)" >&2; exit 1; }
	@echo "setting up $(VENV) ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@$(PIP) --editable '.[bench]'
	@touch $@

# --- what people run ------------------------------------------------------------------------------------------

demo: $(VENV)/.run
	@scripts/demo $(BIN)/sessionlift demo $(DEMO_SESSIONS)

test: $(VENV)/.dev
	$(IN_ROOM) $(PYTEST) -m "not peers" $(PYTEST_ARGS)

quick: $(VENV)/.dev
	$(IN_ROOM) $(PYTEST) -m "not peers and not slow" $(PYTEST_ARGS)

kills: $(VENV)/.dev
	$(IN_ROOM) SESSIONLIFT_TORTURE=1 $(PYTEST) $(PYTEST_ARGS) tests/kills/test_killed_moves.py -k test_a_migration_killed

torture: $(VENV)/.dev
	$(IN_ROOM) SESSIONLIFT_TORTURE=$(TORTURE) $(PYTEST) -m "torture and not peers" $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

peers: $(VENV)/.dev
	$(IN_ROOM) $(PYTEST) -m peers $(PYTEST_ARGS) --dist loadfile

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.migrate_synth $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .cache demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
	find src -name '*.egg-info' -prune -exec rm -rf {} +
