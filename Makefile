# make demo, make test: each works as the very first command on a Debian machine with git, make and python3.
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test bench check format docs setup clean

demo: setup  ## the whole pipeline on two local registries
	$(BIN)/rahti-migrate demo

test: setup  ## all tests
	$(BIN)/pytest -n $$((2 * $$(nproc)))  # they wait more than they compute

bench: setup  ## beside other tools, on a near and a far link; some minutes (docs/benchmarks.md has more)
	PYTHONPATH=tests $(BIN)/python benchmarks/sidebyside.py --population small tags500 --link wan lan --peer raw ours xargs crane oc
	PYTHONPATH=tests $(BIN)/python benchmarks/sidebyside.py --population small --link wan --peer ours xargs crane oc --again
	$(BIN)/python benchmarks/simulate.py --images 182 5000

check: setup  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## the files that are made from the code
	PYTHONPATH=tests $(BIN)/python tests/generated.py

setup: $(VENV)/.ready  ## what is missing: Debian packages, a virtual environment, Python packages

$(VENV)/.ready: pyproject.toml .ci/setup
	.ci/setup $(VENV)
	touch $@

clean:
	rm -rf $(VENV) rahti-migrate-demo
