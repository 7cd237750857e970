# Typegate: `make run` to type, `make test` to check everything.
PYTHON ?= $(shell config/python)
PY := .venv/bin/python
ARGS ?=

.PHONY: help run test setup services lint types imports coverage simulate bench bench-results bench-cluster load chaos protocol pictures clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: .venv/run  ## set up what is needed and serve on http://127.0.0.1:8080 (ARGS="--port 9000" to change)
	.venv/bin/typegate serve $(ARGS)

.venv/run: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Typegate needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	test -x $(PY) || $(PYTHON) -m venv .venv || { command -v apt-get && apt-get install -y python3-venv && $(PYTHON) -m venv .venv; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/test: .venv/run tests/system-packages loadtest/servers/install tests/scoring/break_test.py
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,load]'
	tests/system-packages
	$(PY) -m tests.scoring.break_test
	touch $@

setup: .venv/test  ## install everything that the tests need, system packages too

services: .venv/run  ## install and run MariaDB, Redis and Kafka on 127.0.0.1 until Ctrl-C (ARGS="--only kafka --data DIR")
	loadtest/servers/install
	$(PY) -m loadtest.servers up $(ARGS)

lint: .venv/test  ## ruff: rules and form
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/test  ## mypy, strict
	$(PY) -m mypy

imports: .venv/test  ## the import contracts
	.venv/bin/lint-imports

coverage: .venv/test  ## scoring and session: every branch, by their own tests
	$(PY) -m pytest -q -n 2 --cov=scoring --cov-report=term --cov-fail-under=100 tests/scoring
	$(PY) -m pytest -q -n 2 --cov=session --cov-report=term --cov-fail-under=100 tests/session

test: lint types imports coverage  ## set up what is needed and pass every check and test
	$(PY) -m loadtest.servers run --any -- $(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore=tests/scoring --ignore=tests/session

simulate: .venv/test  ## the simulated cluster (ARGS="--seeds 0:100000", ARGS="--replay 4711 --shrink")
	$(PY) -m tests.simulation $(ARGS)

bench: .venv/run  ## measure this machine: table and JSON in bench-out/
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(PY) -m loadtest.bench $(ARGS)

bench-results: .venv/test  ## the way of a result through Kafka, a worker and MySQL: table and JSON in bench-out/
	$(PY) -m loadtest.bench.results $(ARGS)

bench-cluster: .venv/test  ## two nodes, Redis, HAProxy: takeovers, a death, races, the bus; table and JSON in bench-out/
	$(PY) -m loadtest.bench.cluster $(ARGS)

load: .venv/run  ## locust's typists (ARGS="--host ws://127.0.0.1:8080 --headless -u 200 -r 20 -t 2m --shape ramp")
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[load]'
	$(PY) -m locust -f loadtest/locustfile.py $(ARGS)

chaos: .venv/test  ## everything dies while people type (ARGS="--seed 7 --minutes 5 --typists 300")
	$(PY) -m loadtest.chaos $(ARGS)

protocol: .venv/run  ## print the tables of PROTOCOL.md from the code
	$(PY) -m gateway.protocol

pictures: .venv/test  ## take README's screenshots
	$(PY) -m tests.gateway.web.pictures

clean:  ## remove what the build made (your data folder stays)
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* bench-out
	find . -name __pycache__ -prune -exec rm -rf {} +
