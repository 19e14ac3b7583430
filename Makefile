# make demo: set up, label the bundled recording.   make test: set up, run the tests.   make help: the rest.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = $(shell find csrc -type f) CMakeLists.txt setup.py pyproject.toml constraints.txt

.PHONY: demo test lint bench format clean help

demo: $(VENV)/.built  ## label the bundled recording; labels go to out/
	$(BIN)/chordfast demo -o out

test: $(VENV)/.built  ## run all tests
	$(BIN)/python -m pytest

lint: $(VENV)/.built  ## ruff, mypy, clang-format, as the pre-commit hooks do
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt ruff mypy clang-format
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'csrc/*.inl')

format: $(VENV)/.built  ## reformat Python and C++
	$(BIN)/ruff format . && $(BIN)/clang-format -i $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'csrc/*.inl')

bench: $(VENV)/.built  ## speed of every kernel against what one would otherwise use, in the same run
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt '.[bench]'
	$(BIN)/python -m pytest benchmarks

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build out dist *.egg-info chordfast/_C*.so chordfast/_simt*.so

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ –/'

$(VENV)/.built: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "chordfast needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[test,av]'
	@touch $@
