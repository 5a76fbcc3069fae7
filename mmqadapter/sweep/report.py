"""Files of a sweep's report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmqadapter.atomic import atomic_write
from mmqadapter.benchmark.header import make_header
from mmqadapter.benchmark.settings import Settings
from mmqadapter.inference.model import choose_device
from mmqadapter.sweep.course import Results
from mmqadapter.sweep.plan import Sweep
from mmqadapter.sweep.plots import draw_plots
from mmqadapter.sweep.rows import make_rows
from mmqadapter.sweep.table import cells, markdown_table, tuning_cells

MACHINE = ('config', 'command', 'date', 'machine', 'device', 'versions')
LEGEND = (
    'Scores are in points, of the last iteration, mean and deviation over the seeds; above another '
    'method is the mean of the differences seed by seed. Rates were chosen by the score on the '
    'tuning seed, which is not among the others. Full fine-tuning has no task file: its size is '
    'that of the whole model. Seconds are medians of a training that was alone on the machine.'
)


def make_report(
    sweep: Sweep, names: Sequence[str], results: Results, jobs: int, timing_steps: int
) -> dict[str, Any]:
    """``header`` and ``rows`` of a finished sweep.

    Args:
        sweep: The sweep.
        names: Of the methods.
        results: Of the sweep.
        jobs: How many trained side by side.
        timing_steps: Length of the timed trainings.
    """
    settings = Settings(device=torch.device(choose_device(None)))
    about = make_header(sweep.config, settings)
    header = {
        'sweep': sweep.name,
        **{name: about[name] for name in MACHINE},
        'metric': sweep.metric,
        'iterations': sweep.iterations,
        'seeds': list(sweep.seeds),
        'tuning_seed': sweep.tuning_seed,
        'head_rates': list(sweep.head_rates),
        'rates': {group: list(rates) for group, rates in sweep.rates.items()},
        'jobs': jobs,
        'timing_steps': timing_steps,
        'failed': [
            {'training': one.training.name, 'reason': one.failure, 'log': str(one.log)}
            for one in results.failed
        ],
    }
    return {'header': header, 'rows': make_rows(sweep, names, results)}


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write report.json, report.md and the plots; returns their paths.

    Args:
        report: Result of :func:`make_report`.
        folder: Where to; made where it is missing.
    """
    files = {
        'report.json': json.dumps(report, indent=1).encode(),
        'report.md': _page(report).encode(),
        **draw_plots(report['rows'], report['header']['metric']),
    }
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [folder / name for name in files]


def _page(report: dict[str, Any]) -> str:
    header, rows = report['header'], report['rows']
    parts = [f'# {header["sweep"]}', markdown_table(cells(rows, header['metric'])), LEGEND]
    if header['failed']:
        lines = [f'- {one["training"]}: {one["reason"]}; {one["log"]}' for one in header['failed']]
        parts += ['## Failed', '\n'.join(lines)]
    tuning = tuning_cells(rows)
    if tuning:
        parts += ['## Tuning', markdown_table(tuning)]
    told = [f'- {name}: {_text(value)}' for name, value in header.items() if name != 'failed']
    return '\n\n'.join(part.strip() for part in [*parts, '## Header', '\n'.join(told)]) + '\n'


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return '; '.join(f'{name} {_text(one)}' for name, one in value.items() if one is not None)
    return ', '.join(map(str, value)) if isinstance(value, list) else str(value)
