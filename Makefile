# Two commands do everything, on a bare machine too:  make book   make test
PYTHON ?= python3
VENV ?= .venv
CHARACTERS ?= glyphs
JOBS ?= 2
PYTEST_ARGS ?=

BIN := $(VENV)/bin
RUN := $(BIN)/python
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# Without an NVIDIA driver on Linux the CPU wheel of torch is enough, and ten times smaller.
# --retries 0: an index that cannot be reached costs a second instead of a minute.
CPU_INDEX ?= $(shell if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
	echo --retries 0 --extra-index-url https://download.pytorch.org/whl/cpu; fi)

export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help book test check notebooks address clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | awk -F'|' '{printf "%-18s%s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -q -c constraints.txt $(CPU_INDEX) torch
	$(PIP) -q -c constraints.txt -e '.[book,test]'
	@touch $@

book: $(VENV)/.installed ## execute every notebook and build the book (CHARACTERS=omniglot for the real images)
	$(RUN) book/_tools/execute_notebooks.py --jobs $(JOBS) --characters $(CHARACTERS)
	$(RUN) book/_tools/build_book.py

test: $(VENV)/.installed ## pytest, and every notebook cell against its stored output (nbval)
	$(RUN) book/_tools/run_tests.py -n $(JOBS) $(PYTEST_ARGS)

check: $(VENV)/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(VENV)/.installed ## run the notebooks again, in place (ONLY=notebooks/x/y.ipynb: one), and clean their outputs
	$(RUN) book/_tools/execute_notebooks.py --jobs $(JOBS) --in-place $(ONLY)

address: $(VENV)/.installed ## change the repository's address everywhere: make address URL=https://github.com/you/metabook
	$(RUN) book/_tools/address.py $(URL)

clean: ## remove what was built (not the environment)
	rm -rf _build build dist
