# Everything lives in $(VENV); nothing global is touched. Other interpreters: make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIPOPT := --disable-pip-version-check --quiet --cache-dir .cache/pip
PIP     = $(@D)/bin/python -m pip $(PIPOPT)
JOBS   ?= 5
TESTS  ?= tests
HASHED := --require-hashes --no-build-isolation

# Bytecode is kept between the many processes that a test run starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-real check bench soak lock clean format

demo: $(VENV)/.main        ## the whole path on virtual boards, no hardware
	@$(BIN)/hut-ci demo

test: $(VENV)/.test        ## the fast tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not real and not soak" $(TESTS)

test-real: $(VENV)/.test   ## the tests that need heavy real parts
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "real and not soak" $(TESTS)

check: $(VENV)/.check      ## lint, types, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)-bench/.main ## measured ratios, side by side in one run; pytest-embedded would join every pytest run, so apart
	@$(VENV)-bench/bin/python -m pip $(PIPOPT) install $(HASHED) -r requirements/bench.txt
	$(VENV)-bench/bin/python bench/run.py

soak: $(VENV)/.test        ## long random runs
	$(BIN)/python -m pytest -m soak --timeout 7200 -s

lock:                      ## renew the hash-pinned requirement files
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	for name in build main test check bench; do \
	  $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --upgrade requirements/$$name.in -o requirements/$$name.txt; done

clean:
	rm -rf .venv* .cache build *.egg-info .mypy_cache .ruff_cache .pytest_cache

%/.main: requirements/build.txt requirements/main.txt pyproject.toml
	@echo "Setting up $(@D) (once; about half a minute)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/build.txt
	@$(PIP) install $(HASHED) -r requirements/main.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

.PRECIOUS: %/.main

%/.test: %/.main requirements/test.txt
	@$(PIP) install $(HASHED) -r requirements/test.txt
	@touch $@

%/.check: %/.test requirements/check.txt
	@$(PIP) install $(HASHED) -r requirements/check.txt
	@touch $@
