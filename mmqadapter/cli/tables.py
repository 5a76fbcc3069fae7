"""Tables of what task files and released tasks hold, for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from mmqadapter.interop.petl_vit import PetlContent
from mmqadapter.utils.text import printable

# Share of a file from which on a lossless coder is worth another dependency.
PAYS = 0.05


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


def change_table(metrics: dict[str, tuple[float, float]]) -> Table:
    """Metrics before and after a weight was stored at few bits."""
    table = Table('metric', 'before', 'after', 'change', title='Metrics')
    for name, (before, after) in metrics.items():
        table.add_row(name, f'{before:.3f}', f'{after:.3f}', f'{after - before:+.3f}')
    return table


def task_table(path: str, content: dict[str, Any]) -> Table:
    """What :func:`mmqadapter.inspect_task` gives, for a person."""
    dataset = content['dataset'] or {}
    rows = {
        'format version': content['version'],
        **{f'tuning: {name}': value for name, value in content['tuning'].items()},
        'trunk (sha-256)': content['trunk'],
        'classes': ', '.join(dataset.get('classes') or []) or '-',
        'bits per head weight': content['head_bits'],
        **{f'bytes: {name}': f'{size:,}' for name, size in content['bytes'].items()},
        **dict(map(_group_row, content['groups'])),
        'a lossless second stage': _lossless(content),
        'tensors': len(content['tensors']),
    }
    return _two_columns(path, rows)


def _group_row(group: dict[str, Any]) -> tuple[str, str]:
    told = f'{group["bytes"]:,} bytes for {group["numbers"]:,} numbers'
    if group['entropy'] is not None:
        told += f', entropy {group["entropy"]:.3f} bits per code'
    return f'{group["part"]}: {group["stored"]}', told


def _lossless(content: dict[str, Any]) -> str:
    """Whether coding the codes again, as zstd does, would make the file much smaller."""
    coded = [group for group in content['groups'] if group['lossless'] is not None]
    saved = sum(group['lossless'] * group['bytes'] for group in coded)
    share = saved / content['bytes']['file']
    verdict = 'would pay' if share > PAYS else 'does not pay'
    return f'{verdict}: {share:.1%} of the file'


def _two_columns(title: str, rows: dict[str, Any]) -> Table:
    """As plain text: a file may hold what rich or a terminal would take for a command."""
    table = Table('what', 'value', show_header=False, title=Text(printable(title)))
    table.columns[1].overflow = 'fold'
    for name, value in rows.items():
        told = value if isinstance(value, str) else json.dumps(value)
        table.add_row(Text(printable(name)), Text(printable(told)))
    return table
