"""Time of a backbone's training step with its blocks compiled, over that without.

python benchmarks/compiled_step.py --out work_dirs/gpu_report/compiled
python benchmarks/compiled_step.py --nets swin-t --size 64 --steps 1 --out DIR      # a try

Each block of the trunk is compiled by itself with torch.compile, since a whole net has branches on
its grid. Runs on a GPU if there is one; seconds are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from backbone_cost import METHODS, NETS, Measured
from report_files import header, print_table, write_report

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
COMPARED = ('full', 'frozen', 'adaptformer-64', 'joined cell, half')


def seconds(method: str, net: str, size: int, steps: int, compiled: bool) -> float:
    """Return the median seconds of a step, after two that do not count."""
    images = torch.randn(2, 3, size, size, device=DEVICE)
    measured = Measured(METHODS[method](dict(NETS[net])), images)
    backbone: Any = measured.net.to(DEVICE)
    if compiled:
        for name, module in backbone.named_modules():
            if name.split('.')[-2:-1] == ['blocks']:
                module.compile()
    times = []
    for _ in range(steps + 2):
        _wait()
        start = time.perf_counter()
        measured.step()
        _wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def _wait() -> None:
    if DEVICE == 'cuda':
        torch.cuda.synchronize()


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = ['| net | method | s per step | compiled over eager |', '|---|---|---|---|']
    for row in rows:
        ratio = row['compiled_seconds'] / row['eager_seconds'] if row['compiled_seconds'] else None
        shown = row['note'] if ratio is None else f'{ratio:.2f}'
        lines.append(f'| {row["net"]} | {row["method"]} | {row["eager_seconds"]:.3f} | {shown} |')
    return '\n'.join(lines) + '\n'


def row(net: str, method: str, size: int, steps: int) -> dict[str, Any]:
    """Return the row of a method; a compiler that fails is a note in it."""
    values: dict[str, Any] = {'net': net, 'method': method, 'compiled_seconds': None, 'note': ''}
    values['eager_seconds'] = seconds(method, net, size, steps, compiled=False)
    try:
        values['compiled_seconds'] = seconds(method, net, size, steps, compiled=True)
    except Exception as error:  # whatever the compiler raises is the result
        values['note'] = f'{type(error).__name__}: {str(error).strip().splitlines()[0]}'
    return values


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all methods, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=['swin-t'])
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(COMPARED))
    parser.add_argument('--size', type=int, default=512, help='pixels, both sides')
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args(argv)
    rows = []
    for net in args.nets:
        for method in args.methods:
            rows.append(row(net, method, args.size, args.steps))
            write_report(args.out, header(__file__, DEVICE, size=args.size), rows, markdown(rows))
    print_table(markdown(rows))


if __name__ == '__main__':
    main()
