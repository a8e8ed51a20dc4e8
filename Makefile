# Two commands for a newcomer: `make demo` runs the main job on the lab, `make test` passes the tests.
# What they do is written in tools/ and tests/run.py; this file only names it.
PYTHON ?= python3
VENV := .venv/bin/python

.PHONY: demo test test-unit test-full lint environment environment-dev destroy bench build

demo:                        ## from a fresh clone to a chat answer from four hosts
	$(PYTHON) tools/demo.py

test: environment-dev        ## everything that fits in 45 minutes
	$(VENV) tests/run.py

test-unit: environment-dev   ## lint and unit tests: no lab, no root
	$(VENV) tests/run.py --only lint unit

test-full: environment-dev   ## every case; after a break, goes on where it stopped
	$(VENV) tests/run.py --full

lint: environment-dev
	$(VENV) tests/run.py --only lint

bench:                       ## the figures of the first and the second run
	$(PYTHON) tests/bench/site.py

destroy: environment         ## leave nothing of the lab behind, its cache included
	.venv/bin/ansible-playbook playbooks/lab_destroy.yml

build: environment-dev       ## tarball and wheel into dist/
	.venv/bin/ansible-galaxy collection build --force --output-path dist
	$(VENV) -m build --wheel --outdir dist

environment:
	$(PYTHON) tools/environment.py

environment-dev:
	$(PYTHON) tools/environment.py --dev
