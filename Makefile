# make demo: install and run the main job on the embedded tasks
# make test: install, lint, types, layers and all tests but the slow ones

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo smoke lint test test-slow

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: install
	$(BIN)/python -m slicebench.main --experiment=budget_sweep

smoke: install
	$(BIN)/python -m slicebench.main --experiment=budget_sweep --smoke --workdir=runs/smoke

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses=auto

test-slow: install
	$(BIN)/python -m pytest -m slow
