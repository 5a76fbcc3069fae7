"""Table and JSON file of which methods fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmqadapter.studies.fits.search import CONTEXT, FRAGMENTS, PRECISIONS
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.settings import Settings
from mmqadapter.studies.report.table import Cell, cell
from mmqadapter.utils.atomic import atomic_write

GIGA = 1e9
MARGIN = (
    f'GB on the GPU: the foretold peak of all tensors, plus {FRAGMENTS:.0%} for workspaces and '
    f'fragmentation and {CONTEXT / GIGA:.1f} GB for the context. DDP: of each process.'
)


def make_header(config: str, settings: Settings, memory: int, gpu: str | None) -> dict[str, Any]:
    """Return what the report says of its making.

    Args:
        config: Name of the config.
        settings: Result of :meth:`.Settings.completed`.
        memory: Bytes of the GPU.
        gpu: Name of the GPU, if one was given.
    """
    return {
        'config': config,
        'memory_bytes': memory,
        'gpu': gpu,
        'batch': settings.batch_size,
        'image_size': list(settings.image_size or ()),
        'context_bytes': CONTEXT,
        'fragments': FRAGMENTS,
    }


def write_fits(path: Path, header: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write header and rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps({'header': header, 'rows': list(rows)}, indent=1).encode())


def cells(rows: Sequence[Row], batch: int) -> list[dict[str, Cell]]:
    """Return the cells of the table.

    Args:
        rows: Results of :func:`.fit_rows`.
        batch: Images of the config's batch.
    """
    return [_cells(row, batch) for row in rows]


def _cells(row: Row, batch: int) -> dict[str, Cell]:
    line = {
        'method': cell(row['method']),
        'bits': cell(row['bits']),
        'trains, MB': cell(round(row['trained_bytes'] / 1e6)),
    }
    for name in PRECISIONS:
        needs = row[name]
        line[f'{name}: batch {batch}, GB'] = _gigabytes(needs['needed_bytes'])
        line[f'{name}: largest batch'] = cell(needs['max_batch'])
        line[f'{name}: largest, DDP'] = cell(needs['max_batch_ddp'])
    return line


def _gigabytes(count: int) -> Cell:
    return Cell(f'{count / GIGA:.1f}', count)
