# Needs Python 3.11 or newer and make; everything else goes into a virtual environment, as requirements.lock says.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := build/installed
CHECKED := $(wildcard $(addprefix tests/,unit property golden contract scenario meta))
REAL := $(wildcard $(addprefix tests/,integration e2e))
HASHED := --generate-hashes --universal --python-version 3.11 --custom-compile-command "make lock"
IMAGE_LOCK := uv pip compile $(HASHED) -c requirements.lock
LOCKED := --extra aws --extra forecast --extra backtest --extra ui --extra dev
.PHONY: demo check test real bench bench-cluster cluster-up cluster-down fmt lint types imports unit docs render lock clean

demo: $(READY) ; $(BIN)/python -m autoscaler backtest demo --output build/demo.html
check: lint types imports docs unit
test: check $(if $(REAL),real)
real: $(READY) ; $(BIN)/pytest -n 2 $(REAL) || { echo 'What failed goes once more, one at a time: a busy machine may have kept real components from answering in time.'; $(BIN)/pytest --last-failed --last-failed-no-failures none $(REAL); }
bench: $(READY) ; $(BIN)/python -m tests.bench
bench-cluster: $(READY) ; $(BIN)/python -m tests.bench_cluster
cluster-up: $(READY) ; @$(BIN)/python -m tests.cluster up
cluster-down: $(READY) ; @$(BIN)/python -m tests.cluster down

fmt: $(READY) ; $(BIN)/ruff format . && $(BIN)/ruff check --fix .
lint: $(READY) ; $(BIN)/ruff format --check . && $(BIN)/ruff check .
types: $(READY) ; $(BIN)/mypy autoscaler tests examples
imports: $(READY) ; $(BIN)/lint-imports --no-logo
unit: $(READY) ; $(BIN)/pytest -n 2 --doctest-modules autoscaler $(CHECKED)
docs: $(READY) ; $(BIN)/python -m autoscaler.cli.reference . && $(BIN)/mkdocs build --strict --quiet
render: $(READY) ; $(BIN)/python -m tests.deploy.render
lock: ; uv pip compile setup.cfg $(LOCKED) $(HASHED) -o requirements.lock && $(IMAGE_LOCK) setup.cfg -o deploy/requirements-slim.lock && $(IMAGE_LOCK) setup.cfg --extra aws --extra forecast --extra backtest --extra ui -o deploy/requirements-full.lock && echo 'setuptools>=80' | $(IMAGE_LOCK) - -o deploy/requirements-build.lock
clean: ; rm -rf .venv build

$(VENV)/locked: requirements.lock ; $(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)' && $(PYTHON) -m venv --clear $(VENV) && $(BIN)/pip install -q --require-hashes -r $< && touch $@
$(READY): $(VENV)/locked setup.cfg ; $(BIN)/pip install -q --no-deps --no-build-isolation -e . && mkdir -p build && touch $@
