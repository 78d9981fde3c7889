# Commands for developers; CONTRIBUTING.md says when to use which.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help venv run test slow lint format bench hooks release

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

venv:  ## make .venv with everything that the tests need
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[test]'

run:  ## run a relay on plain HTTP, on 127.0.0.1:8080
	$(BIN)/fastrelay --insecure-listen 127.0.0.1:8080

test:  ## run all tests except the slow ones
	$(BIN)/pytest

slow:  ## run the slow tests
	$(BIN)/pytest -m slow

lint:  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format:  ## format the code
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format .

bench:  ## list the benchmarks
	$(BIN)/python -m bench --help

hooks:  ## run the linters before every commit
	$(BIN)/pip install -q pre-commit
	$(BIN)/pre-commit install

release:  ## build the files of release VERSION in dist/
	$(BIN)/python .ci/release $(VERSION)
