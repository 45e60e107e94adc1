.PHONY: help demo test core newer cluster installs pages adapters system check cover tables docs bench gpu-check torture clients lecture sbom clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
READY := $(if $(filter file,$(origin BIN)),.venv/ready)
# With BIN=... the tools are those of another environment, and none is made.

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## set up everything and solve 100 problems with the model that ships with metagen
	$(BIN)/metagen solve metagen/data/evaluation.jsonl --limit 100 --strategy "Vote(16)" --out runs/demo
	$(BIN)/metagen view runs/demo

test: system check ## set up everything, then lint, check types and run the tests of the library
	$(BIN)/python -m pytest -n 2 --durations=15 -m "not engine and not install and not browser and not ray"
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=15 -m "engine and not install and not ray"

cluster: $(READY) ## solve on workers of a real Ray, with and without engines
	$(BIN)/python -m pytest --durations=5 -m ray tests/cluster

installs: $(READY) ## install the package with each of its extras, as users do, into fresh environments
	$(BIN)/python -m pytest --durations=5 -m install tests/test_install.py

pages: $(READY) ## open the pages of runs in Chromium, and try them
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	fi
	@command -v chromium >/dev/null || echo "no chromium: tests of pages are skipped"
	$(BIN)/python -m pytest -m browser tests/browser

ADAPTERS := .venv-adapters

adapters: $(ADAPTERS)/ready ## try the harnesses and tools of others over metagen, in an environment of their own
	$(ADAPTERS)/bin/python -c "import datasets, dspy, inspect_ai, lm_eval, trl"  # their tests are skipped without
	$(ADAPTERS)/bin/python -m pytest --durations=5 -m adapters tests/adapters

CORE := run spec strategies disk backends/http/test_server.py backends/test_*.py test_laws.py test_settings.py \
	test_exported_names.py test_system.py test_budget.py test_model.py test_problem.py

core: $(READY) ## run the tests that need no vLLM, no torch and no sandbox, on any system
	$(BIN)/python -m pytest -n 2 -m "not engine and not install and not browser and not ray" $(addprefix tests/,$(CORE))

NEWER := build/newer

newer: $(READY) ## run the same tests with the newest Python that is here, in an environment of its own
	@for python in python3.13 $$HOME/.pyenv/versions/3.13.*/bin/python python3.12 $$HOME/.pyenv/versions/3.12.*/bin/python; do \
		$$python -c "" 2>/dev/null || continue; \
		echo "the tests run with $$($$python --version)"; \
		$$python -m venv $(NEWER) && $(NEWER)/bin/python -m pip install --quiet --editable ".[dev]" || exit 1; \
		exec $(MAKE) core BIN=$(CURDIR)/$(NEWER)/bin; \
	done; echo "no newer Python: the tests are not run with one"

system: ## install what the system must bring for tests of code and proofs, where that is possible
	@if command -v bwrap >/dev/null && command -v coqc >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap coq >/dev/null; \
	fi; \
	command -v bwrap >/dev/null || echo "no bubblewrap: tests of the sandbox and of all that runs in it are skipped"; \
	command -v coqc >/dev/null || echo "no coqc: tests of proofs are skipped"

check: $(READY) ## lint, formatting, spelling, style and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m codespell_lib
	$(BIN)/python .ci/prose.py
	$(BIN)/mypy

cover: $(READY) ## run the tests without an engine and show which lines they miss
	$(BIN)/python -m pytest -n 2 -m "not engine and not install and not browser" --cov --cov-report=term-missing:skip-covered

tables: $(READY) ## write the tables of strategies in docs/index.md and docs/strategies from their pages
	$(BIN)/python docs/index.py

docs: tables ## build the site of the documentation in build/site; warnings are errors
	$(BIN)/python -m pip install --quiet --no-deps -r docs/requirements.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

bench: $(READY) ## run the benchmarks of speed; each prints its own table
	for benchmark in $(filter-out %/mock_server.py %/gpu_check.py,$(wildcard benchmarks/speed/*.py)); do $(BIN)/python $$benchmark || exit 1; done

gpu-check: $(READY) ## check and measure OLMoE-1B-7B and a reward model on a GPU, and write gpu-check.md
	$(BIN)/python benchmarks/speed/gpu_check.py

sbom: $(READY) ## list the installed packages and their licences in build/sbom.json, in CycloneDX's form
	mkdir -p build
	$(BIN)/python -m pip inspect | $(BIN)/python .ci/sbom.py > build/sbom.json

clean: ## remove the environment, runs and builds
	rm -rf .venv $(ADAPTERS) runs build dist *.egg-info

clients: $(READY) ## let clients of other projects call our server: openai for JavaScript, LiteLLM; needs npm
	$(BIN)/python tests/clients/run.py

lecture: $(READY) ## repeat the claims of the field's lecture on the models that ship; writes docs/lecture.md
	$(BIN)/python benchmarks/studies/lecture.py

torture: system $(READY) ## kill, starve and attack everything; writes the tables of docs/trust.md
	for script in kills full_disks hostile_files fuzz sandbox_attacks servers counts serve; do $(BIN)/python benchmarks/torture/$$script.py || exit 1; done

$(ADAPTERS)/ready: tests/adapters/requirements.txt | $(READY)
	$(BIN)/python -m venv --without-pip $(ADAPTERS)
	$(BIN)/python -m pip --python $(ADAPTERS)/bin/python install --quiet --no-deps -r $<
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
		> "$$($(ADAPTERS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/metagen-base.pth"
	touch $@

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
