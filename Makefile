# make demo, make test: each works as the very first command on a Debian machine with git, make and python3.
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test bench reliability storm check format lock lowest pythons docs setup clean

demo: setup  ## the whole pipeline on two local registries
	$(BIN)/rahti-migrate demo

test: setup  ## all tests
	@.ci/browser
	$(BIN)/pytest -n $$((2 * $$(nproc)))  # they wait more than they compute

bench: setup  ## beside other tools, on a near and a far link; some minutes (docs/benchmarks.md has more)
	PYTHONPATH=tests $(BIN)/python benchmarks/sidebyside.py --population small tags500 --link wan lan --peer raw ours xargs crane oc
	PYTHONPATH=tests $(BIN)/python benchmarks/sidebyside.py --population small --link wan --peer ours xargs crane oc --again
	$(BIN)/python benchmarks/simulate.py --images 182 5000

reliability: setup  ## every fault in every phase of a copy; a quarter of an hour (writes docs/reliability.md)
	PYTHONPATH=tests $(BIN)/python tests/fault_table.py

storm: setup  ## two hundred kills; some minutes (writes docs/reliability.md)
	PYTHONPATH=tests $(BIN)/python tests/storm.py

check: setup  ## format, lint, types, layers, known holes in what we depend on
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	.ci/audit $(BIN)

lock: setup  ## the versions that development uses, from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o .ci/dev.lock

lowest:  ## all tests with the oldest versions that pyproject.toml allows
	CONSTRAINTS=.ci/lowest.txt $(MAKE) VENV=$(VENV)-lowest test

pythons:  ## all tests with every other Python from 3.11 on that is on PATH
	.ci/pythons

format: setup  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## the files that are made from the code
	PYTHONPATH=tests $(BIN)/python tests/generated.py

setup: $(VENV)/.ready  ## what is missing: Debian packages, a virtual environment, Python packages

$(VENV)/.ready: pyproject.toml .ci/setup .ci/dev.lock
	.ci/setup $(VENV)
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-* rahti-migrate-demo
