"""Tables of what task files and released tasks hold, for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.table import Table

from mmqadapter.petl_vit import PetlContent


def petl_table(path: str, content: PetlContent) -> Table:
    """Settings of a released PETL-ViT task, and bytes of its parts."""
    adapters = content.codes.nbytes + content.statistics.nbytes
    sizes = {'adapters': adapters, 'head': sum(t.nbytes for t in content.head.values())}
    rows = {
        **asdict(content.settings),
        'adapter matrices': content.statistics.numel() // 2,
        **{f'bytes: {name}': f'{size:,}' for name, size in sizes.items()},
    }
    return _two_columns(path, rows)


def task_table(path: str, content: dict[str, Any]) -> Table:
    """What :func:`mmqadapter.inspect_task` gives, for a person."""
    dataset = content['dataset'] or {}
    rows = {
        'format version': content['version'],
        **{f'tuning: {name}': value for name, value in content['tuning'].items()},
        'trunk (sha-256)': content['trunk'],
        'classes': ', '.join(dataset.get('classes', [])) or '-',
        'bits per head weight': content['head_bits'],
        **{f'bytes: {name}': f'{size:,}' for name, size in content['bytes'].items()},
        'tensors': len(content['tensors']),
    }
    return _two_columns(path, rows)


def _two_columns(title: str, rows: dict[str, Any]) -> Table:
    table = Table('what', 'value', show_header=False, title=title)
    table.columns[1].overflow = 'fold'
    for name, value in rows.items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    return table
