# make demo    set up everything and solve 100 problems with the model that ships with metagen
# make test    set up everything, lint, check types and run all tests
# make system  install what the system must bring for tests of code and proofs, where that is possible
# make check   lint and types alone
# make bench   the benchmarks; each prints its own table
# make torture kills, full disks, hostile files and attempts to leave the sandbox; writes the tables of docs/trust.md
.PHONY: demo test system check bench torture clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/ready
	$(BIN)/metagen solve metagen/data/evaluation.jsonl --limit 100 --strategy "Vote(16)" --out runs/demo

test: system check
	$(BIN)/python -m pytest -n 2 -m "not engine and not install"
	$(BIN)/python -m pytest -m "engine or install"

system:
	@if command -v bwrap >/dev/null && command -v coqc >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap coq >/dev/null; \
	fi; \
	command -v bwrap >/dev/null || echo "no bubblewrap: tests of the sandbox and of all that runs in it are skipped"; \
	command -v coqc >/dev/null || echo "no coqc: tests of proofs are skipped"

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	for benchmark in benchmarks/bench_*.py; do $(BIN)/python $$benchmark || exit 1; done

torture: system .venv/ready
	for script in kills full_disks hostile_files sandbox_attacks; do $(BIN)/python benchmarks/torture/$$script.py || exit 1; done

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info
