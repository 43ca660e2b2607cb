# make install   the environment alone (.venv, versions of locked.txt)
# make demo      labels real traces, trains a tiny model with GRPO and with HICRA, writes demo/report.html
# make test      everything that CI runs
# make test-verl the part of it that needs verl, in an environment of its own (.venv-verl, versions of locked-verl.txt)
# make bench     every benchmark but benchmarks/competence.py, which trains for hours
# make figures   the pictures of the README, from demo/, and of docs/evaluation.md
# make lock      writes locked.txt anew from the bounds of pyproject.toml
PYTHON ?= python3
BIN := .venv/bin
DEMO ?= demo
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: install demo test lint types unit test-verl bench figures lock clean
install: .venv/installed

.venv/installed: locked.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "hicra needs Python 3.11 or later: make install PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r locked.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

demo: install
	$(BIN)/hicra demo --out $(DEMO)

test: lint types unit test-verl

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-verl: .venv-verl/installed
	.venv-verl/bin/python -m pytest tests/verl

.venv-verl/installed: locked-verl.txt pyproject.toml
	$(PYTHON) -m venv .venv-verl
	.venv-verl/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r locked-verl.txt
	.venv-verl/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

bench: install
	for script in $(filter-out benchmarks/competence.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

figures: install
	$(BIN)/python scripts/make_readme_figures.py $(DEMO)
	$(BIN)/python scripts/make_coverage_figure.py

lock: pyproject.toml
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet -e '.[dev]'
	(head -1 locked.txt; .venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//') > locked.new
	mv locked.new locked.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-verl .venv-lock demo
