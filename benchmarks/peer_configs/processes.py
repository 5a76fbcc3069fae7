"""Run a group of equal configs in a process of its own; it may crash or hang."""

from __future__ import annotations

import json
import logging
import resource
import tempfile
import warnings
from argparse import Namespace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger

from benchmarks.peer_configs.check import Outcome, run
from benchmarks.peer_configs.configs import WRAPPERS

COLUMNS = ('bare', *WRAPPERS)
# Imported once, by the process from which those of the groups are forked.
MODULES = ('mmdet.models', 'mmdet.engine', 'mmdet.datasets', 'mmseg.models', 'mmseg.engine')
CONTEXT = get_context('forkserver')
CONTEXT.set_forkserver_preload(['mmqadapter', 'transformers', *MODULES, __name__])


def run_group(names: list[str], limits: Namespace) -> list[dict[str, Any]]:
    """Return the rows of equal configs, from a child process.

    Args:
        names: The configs.
        limits: ``timeout`` in seconds and ``memory`` in GB.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, 'outcomes.jsonl')
        child = CONTEXT.Process(target=_child, args=(folder, names, limits.memory))
        child.start()
        child.join(limits.timeout)
        end = f'exit status {child.exitcode}'
        if child.is_alive():
            child.kill()
            child.join()
            end = f'stopped after {limits.timeout} s'
        outcomes = map(json.loads, lines.read_text().splitlines() if lines.exists() else ())
        seen = {(name, column): outcome for name, column, outcome in outcomes}
    return [make_row(name, seen, end) for name in names]


def make_row(name: str, seen: dict[tuple[str, str], dict], end: str) -> dict[str, Any]:
    """Return the row of a config; a column of which nothing was heard tells how the process ended.

    Args:
        name: The config.
        seen: Outcomes by config and column. After a failure of the bare model there may be no more.
        end: How the process ended.
    """
    silent = Outcome('process', end).as_row()
    return {'config': name} | {column: seen.get((name, column), silent) for column in COLUMNS}


def _child(folder: str, names: list[str], memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory << 30,) * 2)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    with Path(folder, 'outcomes.jsonl').open('w', buffering=1) as file:

        def note(name: str, column: str, outcome: Outcome) -> None:
            text = json.dumps([name, column, outcome.as_row()])
            file.write(text.replace(f'{folder}/', '') + '\n')

        run(Path(folder), names, note)
