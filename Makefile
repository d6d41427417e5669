# One command for people and for CI. `make demo` needs Python 3.11 or newer and make, nothing else.

PYTHON ?= python3
VENV ?= .venv
# A file of tests at a time on each of two cores.
PYTEST_FLAGS ?= -n 2 --dist loadfile

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo test check audit venv clean
.DELETE_ON_ERROR:

demo: $(VENV)/.stamp-demo
	$(BIN)/vidsift demo

test: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whether a pinned version is known to be vulnerable; needs pip-audit and a way to pypi.org.
audit:
	'$(PYTHON)' .ci/audit.py

# The environment with all that working on vidsift takes.
venv: $(VENV)/.stamp-dev

clean:
	rm -rf $(VENV) build dist vidsift.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp stands for one finished install; it is renewed when what is to be installed changes.
$(VENV)/.stamp-demo: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP_INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@

# ensurepip is asked for by name: Debian and Ubuntu keep it in a package of its own, and without it
# venv leaves half an environment behind.
$(VENV)/.stamp-venv:
	@command -v '$(PYTHON)' >/dev/null || { \
		echo "vidsift: $(PYTHON) is not on the PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "vidsift: $$('$(PYTHON)' --version 2>&1) is too old; name a Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "vidsift: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	'$(PYTHON)' -m venv '$(VENV)'
	@touch $@
