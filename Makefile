# make demo    set up everything and solve 100 problems with the model that ships with metagen
# make test    set up everything, lint, check types and run all tests
# make check   lint and types alone
# make bench   the benchmarks; each prints its own table
.PHONY: demo test check bench clean

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/ready
	$(BIN)/metagen solve metagen/data/evaluation.jsonl --limit 100 --strategy "Vote(16)" --out runs/demo

test: check
	$(BIN)/python -m pytest -n 2 -m "not engine and not install"
	$(BIN)/python -m pytest -m "engine or install"

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	for benchmark in benchmarks/bench_*.py; do $(BIN)/python $$benchmark || exit 1; done

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv runs build dist *.egg-info
