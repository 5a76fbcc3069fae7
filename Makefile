PY := .venv/bin/python
CODE := mmqadapter tools
PYTEST := $(PY) -m pytest -q -n auto --maxprocesses 8 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help env env-ops env-upstream env-docs env-serve test test-all test-upstream lint format docs demo demo-det wheel clean clean-env

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env:  ## set up .venv (a few minutes once, then a no-op; needs no compiler)
	@tools/dev/setup_env.sh

env-ops:  ## set up .venv-ops: .venv with mmcv's operators compiled (10 minutes once)
	@tools/dev/setup_ops_env.sh

env-upstream:  ## set up .venv-upstream: PyTorch 2.1 and the upstream packages
	@tools/dev/setup_upstream_env.sh

env-docs:  ## set up .venv-docs: what builds the documentation site (seconds, no PyTorch)
	@tools/dev/setup_docs_env.sh

env-serve: env  ## set up .venv-serve: .venv with what the page of `mmqadapter serve` needs (half a minute)
	@tools/dev/setup_serve_env.sh

test: env  ## lint, and beside it the tests that are not marked slow
	@tools/dev/lint_beside.sh $(PYTEST) -m "not slow"

test-all: test env-ops env-serve docs  ## also the slow tests, the site, the page, and our operators against those of mmcv
	@$(PYTEST) -m slow
	@.venv-ops/bin/python -m pytest -q tests/test_compat
	@.venv-serve/bin/python -m pytest -q tests/test_serve/test_served_page.py tests/test_serve/test_served_page_in_browser.py

test-upstream: env-upstream  ## the tests that are not slow, with PyTorch 2.1 and the upstream packages
	@.venv-upstream/bin/python -m pytest -q -n auto --maxprocesses 8 --dist loadgroup -m "not slow"

lint: env  ## ruff, codespell, mypy, duplicated code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib $(wildcard *.md docs configs) $(CODE) tests
	$(PY) -m mypy $(CODE)
	$(PY) -m pylint --disable=all --enable=duplicate-code $(CODE)

format: env  ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: env-docs  ## build the documentation site into build/site; a warning stops it
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict

demo: env  ## semantic segmentation from nothing to pictures; options: make demo ARGS="--help"
	$(PY) tools/demo.py $(ARGS)

demo-det: env  ## the same for instance segmentation
	$(PY) tools/demo.py --task det $(ARGS)

wheel: env  ## build the wheel into dist/
	$(PY) -m pip wheel --no-deps --no-build-isolation -w dist .

clean:  ## remove caches and build output
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants
	find $(CODE) tests -name __pycache__ -prune -exec rm -rf {} +

clean-env:  ## remove .venv and its kin (compiled wheels of mmcv stay in the cache)
	rm -rf .venv .venv-ops .venv-upstream .venv-upstream-ops .venv-docs .venv-serve .env.lock
