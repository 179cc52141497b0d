# Everything lives in $(VENV); nothing global is touched. Other interpreters: make test PYTHON=python3.12 VENV=.venv-3.12
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIPOPT := --disable-pip-version-check --quiet --cache-dir .cache/pip
PIP     = $(@D)/bin/python -m pip $(PIPOPT)
JOBS   ?= 6
TESTS  ?= tests
HASHED := --require-hashes --no-build-isolation
PYVER   = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export HUT_CI_HOME_ASSISTANT = $(abspath $(VENV)-ha)

# Bytecode is kept between the many processes that a test run starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-real home-assistant check bench dist soak lock clean format

demo: $(VENV)/.main        ## the whole path on virtual boards, no hardware
	@$(BIN)/hut-ci demo

test: $(VENV)/.test        ## the fast tests; those of workflows and other YAML are part of check
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not real and not soak" --ignore tests/lint $(TESTS)

test-real: $(VENV)/.test home-assistant ## the tests that need heavy real parts
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "real and not soak" $(TESTS)

home-assistant:            ## a real Home Assistant, the newest that this Python runs; tests say why where there is none
	@$(MAKE) --no-print-directory $(VENV)-ha/.ready

check: $(VENV)/.check      ## lint, types, format; workflows, actions, components and examples
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/lint

format: $(VENV)/.check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)-bench/.main home-assistant ## measured ratios, side by side in one run; pytest-embedded would join every pytest run, so apart
	@$(VENV)-bench/bin/python -m pip $(PIPOPT) install $(HASHED) -r requirements/bench.txt
	$(VENV)-bench/bin/python bench/run.py

dist: $(VENV)/.main        ## what a release gives, and the wheel tried: make dist TAG=v1.2.3 COMMIT=40-hex-digits
	rm -rf dist build
	$(BIN)/python release/stamp.py "$(TAG)" "$(COMMIT)" dist
	$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_wheel("dist"); build_meta.build_sdist("dist")'
	$(MAKE) --no-print-directory build/tried/.main
	build/tried/bin/python -m pip $(PIPOPT) install --no-deps --force-reinstall dist/*.whl
	cd build && tried/bin/hut-ci demo

soak: $(VENV)/.test        ## long random runs
	$(BIN)/python -m pytest -m soak --timeout 7200 -s

lock:                      ## renew the hash-pinned requirement files
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	for name in build main test check bench; do \
	  $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --upgrade requirements/$$name.in -o requirements/$$name.txt; done
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate requirements/homeassistant-build.in -o requirements/homeassistant-build.txt
	for minor in 11 12 13; do \
	  $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.$$minor --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate requirements/homeassistant-3.$$minor.in -o requirements/homeassistant-3.$$minor.txt; done

clean:
	rm -rf .venv* .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

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

# Whatever goes wrong here is a reason to skip tests, not to fail them: the reason is what they print.
%-ha/.ready: $(wildcard requirements/homeassistant-*.txt)
	@echo "Setting up a real Home Assistant in $(@D) (once; a minute or two)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@if ! test -f requirements/homeassistant-$(PYVER).txt; then \
	  echo "no Home Assistant is pinned for Python $(PYVER)" | tee $(@D)/missing.txt; \
	elif $(PIP) install --require-hashes --only-binary :all: -r requirements/homeassistant-build.txt && \
	  $(PIP) install $(HASHED) --no-deps -r requirements/homeassistant-$(PYVER).txt; then \
	  rm -f $(@D)/missing.txt; touch $@; \
	else \
	  echo "pip could not install requirements/homeassistant-$(PYVER).txt" | tee $(@D)/missing.txt; \
	fi
