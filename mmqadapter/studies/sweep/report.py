"""Report of a sweep and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmqadapter.inference.model import choose_device
from mmqadapter.studies.report.drawing import series_of
from mmqadapter.studies.report.files import Report, load_report, write_files, write_json
from mmqadapter.studies.report.header import make_header
from mmqadapter.studies.report.page import (
    Page,
    Samples,
    header_texts,
    render_page,
    svg_by_title,
)
from mmqadapter.studies.report.rows import memory_definition
from mmqadapter.studies.report.settings import Settings
from mmqadapter.studies.report.table import markdown_table
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.plots import TITLES, draw_plots
from mmqadapter.studies.sweep.rows import make_rows
from mmqadapter.studies.sweep.schedule import Results
from mmqadapter.studies.sweep.table import cells, mixed_machines, tuning_cells

ENVIRONMENT = ('config', 'command', 'date', 'machine', 'device', 'versions', 'memory')
LEGEND = (
    'Scores are in points, of the last iteration: mean and standard deviation over the seeds. '
    '"Above" columns are means of the differences between equal seeds. Rates were chosen by the '
    'score on the tuning seed, which is not reported. Full fine-tuning has no task file: its size '
    'is that of the whole model. Memory: {memory}. Times are medians of a training that was alone '
    'on the machine.'
)
MACHINES = (
    ' The trainings ran on different machines ({machines}): the same seed can differ by more than '
    'a point between them, so compare only rows of one machine.'
)


def make_report(
    sweep: Sweep, names: Sequence[str], results: Results, jobs: int, timing_steps: int
) -> Report:
    """Return the report of a finished sweep, with ``header`` and ``rows``.

    Args:
        sweep: Plan of the sweep.
        names: Names of the methods.
        results: Results of the sweep.
        jobs: Number of parallel trainings.
        timing_steps: Iterations of the timed trainings.
    """
    settings = Settings(device=torch.device(choose_device(None)))
    environment = make_header(sweep.config, settings)
    header = {
        'sweep': sweep.name,
        **{name: environment[name] for name in ENVIRONMENT},
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
            {
                'training': outcome.training.name,
                'reason': outcome.failure,
                'log': str(outcome.log),
            }
            for outcome in results.failed
        ],
    }
    return {'header': header, 'rows': make_rows(sweep, names, results)}


def write_report(report: Report, folder: Path, samples: Samples | None = None) -> list[Path]:
    """Write report.json, report.md, report.html and the plots; return their paths.

    Args:
        report: Result of :func:`make_report`.
        folder: Folder to write to, created if missing.
        samples: Predictions to show on the page.
    """
    return [write_json(report, folder), *write_files(_render(report, samples), folder)]


def rebuild_report(folder: Path) -> list[Path]:
    """Write report.md, report.html and the plots from the report.json of a folder.

    The page has no predictions: they are not in report.json.

    Returns:
        Paths of the written files.

    Raises:
        FileNotFoundError: The folder has no report.json.
        ValueError: The file is not a report of a sweep.
    """
    return write_files(_render(load_report(folder, 'mmqadapter sweep', 'metric'), None), folder)


def _render(report: Report, samples: Samples | None) -> dict[str, bytes]:
    header, rows = report['header'], report['rows']
    series = series_of([row['method'] for row in rows])
    plots = draw_plots(rows, series, header)
    page = Page(
        title=f'Comparison of methods: {header["sweep"]}',
        details=header_texts(header, exclude=('command', 'failed')),
        command=header['command'],
        table=cells(rows, header['metric']),
        legend=_legend(report),
        series=series,
        plots=svg_by_title(TITLES, plots),
        samples=samples,
        notes={'Failed': _failures(header)} if header['failed'] else None,
    )
    return {
        'report.md': _markdown(report).encode(),
        'report.html': render_page(page).encode(),
        **plots,
    }


def _legend(report: Report) -> str:
    legend = LEGEND.format(memory=memory_definition(report['header']))
    machines = mixed_machines(report['rows'])
    names = '; '.join(f'{number}: {name}' for number, name in enumerate(machines, 1))
    return legend + MACHINES.format(machines=names) if machines else legend


def _failures(header: Mapping[str, Any]) -> list[str]:
    return [
        f'{failure["training"]}: {failure["reason"]}; {failure["log"]}'
        for failure in header['failed']
    ]


def _markdown(report: Report) -> str:
    header, rows = report['header'], report['rows']
    table = markdown_table(cells(rows, header['metric']))
    sections = [f'# {header["sweep"]}', table, _legend(report)]
    if header['failed']:
        sections += ['## Failed', '\n'.join(f'- {line}' for line in _failures(header))]
    trials = tuning_cells(rows)
    if trials:
        sections += ['## Tuning', markdown_table(trials)]
    details = header_texts(header, exclude=('failed',))
    sections += ['## Header', '\n'.join(f'- {name}: {text}' for name, text in details.items())]
    return '\n\n'.join(section.strip() for section in sections) + '\n'
