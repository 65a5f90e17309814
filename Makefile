# Needs python3 (3.11 to 3.13), pip and make; everything else is installed into $(VENV) from locks/.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PORT ?= 8000
# TensorFlow for the GPU where an NVIDIA driver answers, for the CPU elsewhere; override with DEVICE=cpu.
DEVICE := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

PY := $(VENV)/bin/python
LOCKED := $(VENV)/.locked-$(DEVICE)
READY := $(VENV)/.ready-$(DEVICE)
TRITON := $(VENV)/.triton
EXTRAS := export test bench mp dev

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow check serve tensorboard lock clean

help:  ## list the targets
	@echo "make TARGET [ARGS=...] [PYTHON=python3.12] [VENV=.venv] [DEVICE=cpu]"
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'

setup: $(READY)  ## install everything into .venv; the other targets do it themselves

train: $(READY)  ## train on the bundled crystals and print test metrics; ARGS go to rhonet.train
	$(PY) -m rhonet.train --config base $(ARGS)

# Processes of pytest-xdist; each may take 3 GB.
WORKERS ?= 2

test: $(READY)  ## run the short test suite; ARGS go to pytest
	$(PY) -m pytest -n $(WORKERS) -m "not slow" $(ARGS)

test-slow: $(READY) $(TRITON)  ## run the rest: trainings, conversions, real servers, damaged files; with coverage
	$(PY) -m pytest -n $(WORKERS) -m slow --cov=rhonet --cov-report=term:skip-covered $(ARGS)

check: $(READY)  ## lint, format, types, import rule
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)
	$(PY) -m pytest --quiet --durations=0 tests/test_layout.py

serve: $(READY) $(TRITON)  ## serve the released model with Triton until Ctrl-C; PORT=8000, ARGS go to rhonet.serve
	$(PY) -m rhonet.serve --port $(PORT) $(ARGS)

tensorboard: $(READY)  ## show the curves of all runs in the browser
	$(PY) -m tensorboard.main --logdir runs $(ARGS)

lock: $(READY)  ## pin what setup.py asks for; ARGS=--upgrade takes new releases
	$(PY) -m pip install --quiet uv
	for device in cpu gpu; do \
	    $(PY) -m uv pip compile setup.py --quiet --no-python-downloads $(ARGS) \
	        --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	        --custom-compile-command "make lock" \
	        --extra $$device $(EXTRAS:%=--extra %) --output-file locks/$$device.txt || exit 1; \
	done

# Training needs no server, so it goes without this one; where none was built for a machine, tests say so and are skipped.
$(TRITON): locks/triton.txt $(LOCKED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $< && touch $@ \
	    || echo "No Triton server for this machine: tests that need one are skipped." >&2

clean:  ## remove .venv and caches; data/ and runs/ stay
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { echo "$(VENV) is not a virtual environment; not removed"; exit 1; }
	rm -rf $(VENV) build dist rhonet.egg-info .pytest_cache .ruff_cache .hypothesis
	find rhonet tfds_builders tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# A changed lock file means a new environment: nothing of the old one is left to work by accident.
# All packages go into one pip command: in stages the resolver takes versions that it later takes back.
$(LOCKED): locks/$(DEVICE).txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	    echo "rhonet needs Python 3.11, 3.12 or 3.13; $(PYTHON) is: $$($(PYTHON) --version 2>&1)."; \
	    echo "Name another interpreter, e.g.: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; } >&2
	@test ! -e $(VENV) || test -f $(VENV)/pyvenv.cfg || { \
	    echo "$(VENV) exists and is not a virtual environment; choose another with VENV=..." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV) 2>/dev/null \
	    || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install --quiet pip; }
	@echo "Installing $$(grep -c '==' $<) packages from $< into $(VENV): a few minutes, 3 GB of disk, more for the GPU"
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

$(READY): $(LOCKED) setup.py
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
