# Each target makes .venv when it is missing or older than pyproject.toml; that takes minutes once, and nothing after.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test engines soak lint bench clean

demo: .venv/made
	$(BIN)/python -m beam_curate.run --runner=DirectRunner

# Tests of Prism and Flink are skipped where these are not there, unless BEAM_CURATE_REQUIRE_SERVERS is set.
test: .venv/made $(if $(BEAM_CURATE_REQUIRE_SERVERS),engines)
	$(BIN)/python -m pytest

# Prism, Flink and what they need, into a cache outside this folder: 430 MB, a few minutes once.
engines: .venv/made
	$(BIN)/python tools/engines.py

soak: .venv/made
	BEAM_CURATE_RELIABILITY=docs/reliability.md $(BIN)/python -m pytest -m soak --timeout 3600

lint: .venv/made
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/made
	$(BIN)/python benchmarks/run_all.py

.venv/made: setup.py pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv beam_curate_demo build *.egg-info
