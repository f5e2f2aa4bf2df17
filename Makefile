# Each target makes .venv when it is absent and shows what it does.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
OUT    ?= results

.PHONY: reproduce test bench lint clean
.DEFAULT_GOAL := help

help:
	@echo "make reproduce   studies (smoke presets), checks of all laws, one report page in $(OUT)/index.html"
	@echo "make test        tests of the machinery and theory checks"
	@echo "make bench       side-by-side timings against peers, written to $(OUT)/benchmarks"
	@echo "make lint        ruff and mypy"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "== installing lab and its core dependencies into $(VENV)"
	$(PIP) -e .
	@touch $@

# torch by its pinned name first: an unpinned one may bring gigabytes of accelerator packages
$(VENV)/.dev: $(VENV)/.core
	@echo "== installing what the tests need (torch, dask, hypothesis, linters)"
	$(PIP) torch
	$(PIP) -e ".[dev]"
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) -e ".[bench]"
	@touch $@

reproduce: $(VENV)/.core
	@echo "== running every study at its smoke preset, checking every law, writing the report"
	$(BIN)/python experiments/_reproduce.py --out $(OUT)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup tests theory_checks

bench: $(VENV)/.bench
	$(BIN)/python tests/benchmarks/run.py --out $(OUT)/benchmarks

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
