"""Terminal tables of the content of task files and of released PETL-ViT tasks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from mmqadapter.interop.petl_vit import PetlContent

# Saved share of a file from which on a lossless coder would be worth another dependency.
WORTHWHILE = 0.05


def petl_table(path: str, content: PetlContent) -> Table:
    """Return a table of the settings of a released PETL-ViT task and of its size in bytes."""
    adapters = content.codes.nbytes + content.statistics.nbytes
    sizes = {'adapters': adapters, 'head': sum(t.nbytes for t in content.head.values())}
    rows = {
        **asdict(content.settings),
        'adapter matrices': content.statistics.numel() // 2,
        **{f'bytes: {name}': f'{size:,}' for name, size in sizes.items()},
    }
    return _two_columns(path, rows)


def change_table(metrics: dict[str, tuple[float, float]]) -> Table:
    """Return a table of metrics before and after weights were stored with fewer bits."""
    table = Table('metric', 'before', 'after', 'change', title='Metrics')
    for name, (before, after) in metrics.items():
        table.add_row(name, f'{before:.3f}', f'{after:.3f}', f'{after - before:+.3f}')
    return table


def task_table(path: str, content: dict[str, Any]) -> Table:
    """Return a table of what :func:`mmqadapter.inspect_task` returned for the file ``path``."""
    dataset = content['dataset'] or {}
    rows = {
        'format version': content['version'],
        **{f'tuning: {name}': value for name, value in content['tuning'].items()},
        'trunk (sha-256)': content['trunk'],
        'classes': ', '.join(dataset.get('classes') or []) or '-',
        'bits per head weight': content['head_bits'],
        **{f'bytes: {name}': f'{size:,}' for name, size in content['bytes'].items()},
        **dict(map(_group_row, content['groups'])),
        'lossless compression (zstd)': _lossless_verdict(content),
        'tensors': len(content['tensors']),
    }
    return _two_columns(path, rows)


def _group_row(group: dict[str, Any]) -> tuple[str, str]:
    size = f'{group["bytes"]:,} bytes for {group["numbers"]:,} numbers'
    if group['entropy'] is not None:
        size += f', entropy {group["entropy"]:.3f} bits per code'
    return f'{group["part"]}: {group["stored"]}', size


def _lossless_verdict(content: dict[str, Any]) -> str:
    """Say whether a lossless coder such as zstd would make the file much smaller."""
    coded = [group for group in content['groups'] if group['lossless'] is not None]
    saved = sum(group['lossless'] * group['bytes'] for group in coded)
    share = saved / content['bytes']['file']
    verdict = 'worthwhile' if share > WORTHWHILE else 'not worthwhile'
    return f'{verdict}, it would save {share:.1%} of the file'


def _two_columns(title: str, rows: dict[str, Any]) -> Table:
    # Text, since rich would take a string with brackets, as a file may hold, for markup.
    table = Table('what', 'value', show_header=False, title=Text(title))
    table.columns[1].overflow = 'fold'
    for name, value in rows.items():
        text = value if isinstance(value, str) else json.dumps(value)
        table.add_row(Text(name), Text(text))
    return table
