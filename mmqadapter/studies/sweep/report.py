"""Files of a sweep's report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmqadapter.inference.model import choose_device
from mmqadapter.studies.report.drawing import series_of
from mmqadapter.studies.report.header import make_header
from mmqadapter.studies.report.page import Page, Samples, chosen_plots, facts, render_page
from mmqadapter.studies.report.settings import Settings
from mmqadapter.studies.report.table import markdown_table
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.plots import TITLES, draw_plots
from mmqadapter.studies.sweep.rows import make_rows
from mmqadapter.studies.sweep.schedule import Results
from mmqadapter.studies.sweep.table import cells, tuning_cells
from mmqadapter.utils.atomic import atomic_write

MACHINE = ('config', 'command', 'date', 'machine', 'device', 'versions', 'memory')
LEGEND = (
    'Scores are in points, of the last iteration, mean and deviation over the seeds; above another '
    'method is the mean of the differences seed by seed. Rates were chosen by the score on the '
    'tuning seed, which is not among the others. Full fine-tuning has no task file: its size is '
    'that of the whole model. Memory: {memory}. Seconds are medians of a training that was alone '
    'on the machine.'
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
        sweep.length.unit: sweep.length.count,
        'processes': sweep.processes,
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


def write_report(
    report: dict[str, Any], folder: Path, samples: Samples | None = None
) -> list[Path]:
    """Write report.json, report.md, report.html and the plots; returns their paths.

    Args:
        report: Result of :func:`make_report`.
        folder: Where to; made where it is missing.
        samples: Predictions for the page.
    """
    header, rows = report['header'], report['rows']
    series = series_of([row['method'] for row in rows])
    pictures = draw_plots(rows, series, header)
    page = Page(
        title=f'Methods compared: {header["sweep"]}',
        facts=facts(header, left_out=('command', 'failed')),
        command=header['command'],
        table=cells(rows, header['metric']),
        legend=LEGEND.format(**header),
        series=series,
        plots=chosen_plots(TITLES, pictures),
        samples=samples,
        notes={'Failed': _failures(header)} if header['failed'] else None,
    )
    files = {
        'report.json': json.dumps(report, indent=1).encode(),
        'report.md': _markdown(report).encode(),
        'report.html': render_page(page).encode(),
        **pictures,
    }
    for name, content in files.items():
        atomic_write(folder / name, content)
    return [folder / name for name in files]


def _failures(header: Mapping[str, Any]) -> list[str]:
    return [f'{one["training"]}: {one["reason"]}; {one["log"]}' for one in header['failed']]


def _markdown(report: dict[str, Any]) -> str:
    header, rows = report['header'], report['rows']
    table = markdown_table(cells(rows, header['metric']))
    parts = [f'# {header["sweep"]}', table, LEGEND.format(**header)]
    if header['failed']:
        parts += ['## Failed', '\n'.join(f'- {line}' for line in _failures(header))]
    tuning = tuning_cells(rows)
    if tuning:
        parts += ['## Tuning', markdown_table(tuning)]
    told = [f'- {name}: {text}' for name, text in facts(header, left_out=('failed',)).items()]
    return '\n\n'.join(part.strip() for part in [*parts, '## Header', '\n'.join(told)]) + '\n'
