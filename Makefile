# Everything happens in a virtual environment of its own under .venv; nothing else is touched.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
export PYTHONDONTWRITEBYTECODE :=     # the suite starts some hundred processes; none of them is to compile the package again

.PHONY: attack bench chaos check clean demo format fuzz lint soak test types unit

demo: .venv/installed         ## the main job on real input, on an embedded server
	@$(BIN)/secure-queue demo $(ARGS)

test: check                   ## the whole suite
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

check: lint types             ## everything that needs no server

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/installed
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

attack: .venv/installed       ## every attack of the acceptance list, and which numbers are proved
	$(BIN)/python -m pytest -m attack --numprocesses 2 --dist worksteal $(ARGS)

fuzz: .venv/fuzz              ## a million inputs for everything that reads stored bytes; ARGS are libFuzzer's
	$(BIN)/python -m tests.fuzz 1000000 $(ARGS)

.venv/fuzz: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' >&2
	@touch $@

bench: .venv/installed        ## side by side with streaQ and SAQ
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: .venv/installed        ## every row of the acceptance table but the soak
	@$(BIN)/python -m tests.chaos $(ARGS)

soak: .venv/installed         ## its last row: random faults, for half an hour or ARGS="--minutes N"
	@$(BIN)/python -m tests.chaos --soak $(ARGS)

.venv/installed: pyproject.toml
	@echo "making .venv" >&2
	@$(PYTHON) -m venv .venv >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' >&2
	@touch $@

clean:
	rm -rf .venv .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
