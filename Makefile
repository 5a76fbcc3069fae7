PY := .venv/bin/python
CODE := mmqadapter tools
PYTEST := $(PY) -m pytest -q -n auto --maxprocesses 8 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help env test test-all lint format demo demo-det wheel clean clean-env

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env:  ## set up .venv (a few minutes once, then a no-op)
	@tools/dev/setup_env.sh

test: env  ## lint, and beside it the tests that are not marked slow
	@tools/dev/lint_beside.sh $(PYTEST) -m "not slow"

test-all: test  ## the same, then the slow tests: compilers, Ray, several processes and hosts, kills, long runs
	@$(PYTEST) -m slow

lint: env  ## ruff, codespell, mypy, duplicated code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib $(wildcard *.md docs configs) $(CODE) tests
	$(PY) -m mypy $(CODE)
	$(PY) -m pylint --disable=all --enable=duplicate-code $(CODE)

format: env  ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

demo: env  ## semantic segmentation from nothing to pictures; options: make demo ARGS="--help"
	$(PY) tools/demo.py $(ARGS)

demo-det: env  ## the same for instance segmentation
	$(PY) tools/demo.py --task det $(ARGS)

wheel: env  ## build the wheel into dist/
	$(PY) -m pip wheel --no-deps --no-build-isolation -w dist .

clean:  ## remove caches and build output
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants
	find $(CODE) tests -name __pycache__ -prune -exec rm -rf {} +

clean-env:  ## remove .venv (the compiled mmcv wheel stays in the cache)
	rm -rf .venv .env.lock
