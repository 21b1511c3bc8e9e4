# Everything a checkout needs lives in .venv, made once and shared by all targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
# Two test processes on a small machine: more threads each would only contend.
WORKERS ?= 2

DOCS := .venv/.docs

.PHONY: setup lock demo test test-all lint format docs bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "making .venv: this takes some minutes, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifdef LOCKED
	$(BIN)/python -m pip install --quiet --require-hashes -r locked.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
else
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
endif
	@touch $(READY)

# What is pinned stays, unless UPGRADE says otherwise, such as "--upgrade" or "-P numpy".
lock:
	test -x .venv/lock/bin/pip-compile || ($(PYTHON) -m venv .venv/lock && .venv/lock/bin/python -m pip install --quiet pip-tools)
	.venv/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--extra dev --build-deps-for editable $(UPGRADE) --output-file locked.txt pyproject.toml
	sed -i -e '/^#/d' -e '/^$$/d' -e 's/^\(torch==[^+ ]*\)+cpu/\1/' locked.txt
	sed -n 's/^\([^ #]*==[^ ]*\) .*/\1/p' locked.txt > constraints.txt

demo: $(READY)
	$(BIN)/duda compare --data digits --methods deterministic,mc-dropout,deep-ensemble --out demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

# With the slow statistical laws, which are marked `nightly`.
test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m ""

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/tables.py

# The gallery runs in full, for an hour or two; DUDA_QUICK=1 makes it minutes, with rougher figures.
docs: $(DOCS)
	OMP_NUM_THREADS=$(WORKERS) $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "documents: docs/_build/html/index.html"

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	@touch $(DOCS)

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv demo dist docs/_build docs/gallery docs/sg_execution_times.rst
