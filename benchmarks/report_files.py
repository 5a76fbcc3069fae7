"""Header and files that the reports of the benchmark scripts have in common."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mmqadapter.utils.atomic import atomic_write


def header(script: str, device: str = 'cpu', **settings: Any) -> dict[str, Any]:
    """Return what a report says of its making.

    Args:
        script: ``__file__`` of the script.
        device: ``'cuda'`` if the script measured on a GPU.
        **settings: Settings of the measurement.
    """
    cpu = f'{platform.machine()} CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads'
    return {
        'script': f'benchmarks/{Path(script).name}',
        'date': date.today().isoformat(),
        'machine': torch.cuda.get_device_name() if device == 'cuda' else cpu,
        'torch': torch.__version__,
        **settings,
    }


def write_report(out: Path, head: dict[str, Any], rows: list[dict[str, Any]], table: str) -> None:
    """Write ``report.json`` and ``report.md``, which holds the table in Markdown."""
    content = json.dumps({'header': head, 'rows': rows}, indent=1)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / 'report.json', content.encode())
    atomic_write(out / 'report.md', table.encode())


def print_table(table: str) -> None:
    """Print a table in Markdown, whose lines are not wrapped."""
    Console().print(table, markup=False, soft_wrap=True)
