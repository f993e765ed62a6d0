# dockerlab: `make` prints what there is. Every target sets up what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    := out

.DEFAULT_GOAL := help
.PHONY: help demo lab test check pictures bench soak machines clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml labextension/package.json labextension/yarn.lock
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } || \
	  { echo "$(PYTHON) can make no virtual environment: install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

demo: $(STAMP) ## Run the first notebook against a fresh engine, print its results, leave it as HTML
	@$(BIN)/python -m dockerlab.notebook.demo notebooks/01-first-container.ipynb --html $(OUT)/01-first-container.html

lab: $(STAMP) ## Open JupyterLab with the first notebook
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/01-first-container.ipynb

test: $(STAMP) ## Pass the tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## Format, lint, types, contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@if command -v node >/dev/null; then cd labextension && PATH="$(CURDIR)/$(BIN):$$PATH" jlpm check; \
	  else echo "TypeScript is not checked: no node on this machine"; fi

pictures: $(STAMP) ## Take the pictures of README.md anew, in a real browser
	@$(BIN)/python -m pytest tests/browser/test_lab.py -k 'story or charts'
	@mkdir -p docs/images && cp $(OUT)/browser/lab.png $(OUT)/browser/layers.png $(OUT)/browser/stats.png docs/images/

bench: $(STAMP) ## Measure against a real dockerd, side by side
	@$(BIN)/python -m tests.benchmarks

soak: $(STAMP) ## The long runs: hundreds of kills, fuzzers
	@$(BIN)/python -m pytest tests/faults --soak --timeout 7200

machines: $(STAMP) ## Boot a kernel with pure cgroup v2 and run the kernel tests in it
	@$(BIN)/python -m tests.machines

clean: ## Remove everything that was built
	rm -rf $(VENV) $(OUT) dockerlab/labextension dockerlab/static labextension/lib labextension/node_modules
