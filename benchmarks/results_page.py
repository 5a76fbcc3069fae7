"""Tables of the pages results.md and memory.md and of README.md, from benchmarks/results.

python benchmarks/results_page.py            # write the tables again
python benchmarks/results_page.py --check    # exit status 1 if a page differs from the reports
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'benchmarks/results'
PAGES = (ROOT / 'docs/results.md', ROOT / 'docs/memory.md', ROOT / 'README.md')
BEGIN, END = '<!-- table: {} -->', '<!-- end of table -->'
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and the text of a row."""

    title: str
    text: Callable[[Row], str]


def score(row: Row) -> str:
    """Return the mean score, with the deviation over the seeds if there are several."""
    deviation = row['score_deviation']
    return f'{row["score_mean"]:.1f}' + ('' if deviation is None else f' ± {deviation:.1f}')


def above_frozen(row: Row) -> str:
    """Return the mean difference from the frozen backbone at equal seeds."""
    differences = list((row.get('minus_frozen') or {}).values())
    if row['method'] == 'frozen' or not differences:
        return ''
    return f'{sum(differences) / len(differences):+.1f}'


def number(key: str, unit: float = 1, digits: int = 0) -> Callable[[Row], str]:
    """Return a column text: the value of ``key`` divided by ``unit``, or a dash."""

    def text(row: Row) -> str:
        value = row.get(key)
        return '-' if value is None else f'{value / unit:,.{digits}f}'

    return text


METHOD = Column('method', lambda row: row['method'])
TRAINED = Column('trains in the backbone', number('trainable_backbone_params'))
ADAPTERS = Column('adapters, bytes', number('adapter_bytes'))
TASK = Column('task file, bytes', number('task_bytes'))
MEMORY = Column('activation memory, MB', number('saved_for_backward_bytes', 1e6))
SECONDS = Column('s per step', number('step_seconds', digits=2))


def _scored(metric: str) -> list[Column]:
    frozen = Column('above frozen', above_frozen)
    return [METHOD, Column(metric, score), frozen, TRAINED, ADAPTERS, TASK, MEMORY]


def share(key: str, *path: str) -> Callable[[Row], str]:
    """Return a column text: a fraction, or that of an entry of a mapping."""

    def text(row: Row) -> str:
        value = row[key]
        for name in path:
            value = value[name]
        return f'{value:.2f}'

    return text


FORETOLD = [
    METHOD,
    Column('peak of tensors, MiB', number('peak_bytes', 2**20)),
    Column('saved', lambda row: f'{100 * row["memory_saving"]:.0f} %'),
    Column('logs of others, MiB', number('published_mib')),
    Column('fits 11 GiB', lambda row: 'yes' if row['fits_11gb'] else 'no'),
    Column('TFLOP', number('flops', 1e12, 1)),
    Column('GB moved', number('moved_bytes', 1e9)),
    Column('time over full, RTX 4090', share('time_over_full', 'RTX 4090')),
    Column('A100', share('time_over_full', 'A100 40GB')),
]
COSTS = [METHOD, TRAINED, ADAPTERS, TASK, MEMORY, SECONDS]
TABLES: dict[str, tuple[str, list[Column], Sequence[str] | None]] = {
    'sweep_camvid': ('sweep_camvid', [*_scored('mIoU'), SECONDS], None),
    'sweep_camvid_paired': ('sweep_camvid_paired', _scored('mIoU'), None),
    'sweep_camvid_swin': ('sweep_camvid_swin', _scored('mIoU'), None),
    'sweep_camvid_rivals': ('sweep_camvid_rivals', _scored('mIoU'), None),
    'sweep_camvid_storage': ('sweep_camvid_storage', _scored('mIoU'), None),
    'sweep_camvid_trunk': ('sweep_camvid_trunk', _scored('mIoU'), None),
    'sweep_camvid_head_bits': ('sweep_camvid_head_bits', _scored('mIoU'), None),
    'sweep_nuclei_paired': ('sweep_nuclei_paired', _scored('mask AP'), None),
    'sweep_nuclei': ('sweep_nuclei', _scored('mask AP'), None),
    'sweep_nuclei_head_bits': ('sweep_nuclei_head_bits', _scored('mask AP'), None),
    'sweep_cifar1k': ('sweep_cifar1k', _scored('top-1'), None),
    'sweep_cifar1k_highway': ('sweep_cifar1k_highway', _scored('top-1'), None),
    'sweep_cifar1k_methods': ('sweep_cifar1k_methods', _scored('top-1'), None),
    'sweep_cifar1k_distilled': ('sweep_cifar1k_distilled', _scored('top-1'), None),
    'cost_mask-rcnn_swin-t': ('cpu_report/mask-rcnn_swin-t', COSTS, None),
    'cost_mask-rcnn_swin-b': ('cpu_report/mask-rcnn_swin-b', COSTS, None),
    'cost_upernet_swin-t': ('cpu_report/upernet_swin-t', COSTS, None),
    'cost_upernet_swin-b': ('cpu_report/upernet_swin-b', COSTS, None),
    **{
        f'foretold_{name}': (f'foretold/{name}', FORETOLD, None)
        for name in (
            'cascade-mask-rcnn_swin-b',
            'cascade-mask-rcnn_swin-l',
            'retinanet_swin-l',
            'upernet_swin-l',
        )
    },
    'readme': (
        'cpu_report/mask-rcnn_swin-b',
        [METHOD, TRAINED, MEMORY, SECONDS, TASK],
        ['full', 'frozen', 'lora', 'adaptformer@1', 'highway-joined', 'highway-joined@1'],
    ),
}


def table(name: str) -> str:
    """Return a table in Markdown, with a line that says where the figures come from."""
    folder, columns, methods = TABLES[name]
    report = json.loads((RESULTS / folder / 'report.json').read_text('utf-8'))
    rows = report['rows']
    if methods:
        by_method = {row['method']: row for row in rows}
        rows = [by_method[method] for method in methods]
    lines = [
        [column.title for column in columns],
        ['---'] * len(columns),
        *([column.text(row) for column in columns] for row in rows),
    ]
    return '\n'.join(
        [*('| ' + ' | '.join(cells) + ' |' for cells in lines), '', source(report, folder)]
    )


def source(report: dict, folder: str) -> str:
    """Return where, when and from which config the figures of a report come."""
    header = report['header']
    seeds = header.get('seeds')
    parts = [
        f'`{header["config"]}`',
        f'{header["iterations"]} iterations' if 'iterations' in header else '',
        f'seeds {", ".join(map(str, seeds))}' if seeds else '',
        header['machine'],
        header['date'],
        f'`benchmarks/results/{folder}`',
    ]
    return '; '.join(part for part in parts if part) + '.'


def filled(page: str) -> str:
    """Return a page whose marked tables are made anew."""
    for name in TABLES:
        begin = BEGIN.format(name)
        if begin in page:
            before, rest = page.split(begin, 1)
            after = rest.split(END, 1)[1]
            page = f'{before}{begin}\n\n{table(name)}\n\n{END}{after}'
    return page


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='compare only')
    check = parser.parse_args(argv).check
    differing = []
    for path in PAGES:
        text = path.read_text('utf-8')
        if filled(text) != text:
            differing.append(path.name)
            if not check:
                path.write_text(filled(text), 'utf-8')
    state = 'differs from the reports' if check else 'written'
    print(f'{state}: {", ".join(differing)}' if differing else 'up to date')
    return int(check and bool(differing))


if __name__ == '__main__':
    raise SystemExit(main())
