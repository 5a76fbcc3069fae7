"""Foretelling of several methods, each in a process of its own."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from multiprocessing import get_context
from typing import Any

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.fits.search import fit
from mmqadapter.studies.planner.blank_model import only_warnings
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.settings import Settings


def fit_rows(
    config: str, options: Any, methods: Sequence[str], settings: Settings, memory: int
) -> Iterator[Row]:
    """Yield the row of each method, in order; see :func:`.search.fit`.

    Args:
        config: Path of the config.
        options: Settings of the config to override.
        methods: Names of the methods.
        settings: Result of :meth:`.Settings.completed`.
        memory: Bytes of the GPU.

    Raises:
        ValueError: A method does not fit the backbone, or a step cannot be foretold.
    """
    work = partial(_fit, config, options, settings, memory)
    workers = min(os.cpu_count() or 1, len(methods))
    if workers == 1:
        yield from map(work, methods)
        return
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        yield from pool.map(work, methods)


def _fit(config: str, options: Any, settings: Settings, memory: int, name: str) -> Row:
    (method,) = parse_methods(name)
    with quiet():
        return fit(plain_config(load_config(config, options), settings), method, settings, memory)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what building a network prints and logs, and torch's warnings of missing content."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(only_warnings())
        yield
