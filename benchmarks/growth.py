"""Growth of memory and time with the size of trunk, images and batch, for different methods.

python benchmarks/growth.py --out benchmarks/results/growth

At each point of an axis the methods are measured in rounds, in float32 with random weights; seconds
are medians of whole steps, bytes are activation memory (saved for backward by autograd). The
exponent p of cost ~ x^p is fitted by least squares on logarithms; x is the number of pixels, of
images, or of weights of the trunk.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from backbone_cost import METHODS, NETS, Measured
from report_files import header, print_table, write_report
from rich.progress import track

from mmqadapter.studies.report.drawing import COLORS

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator

COSTS = {'step_seconds': 'seconds per step', 'saved_bytes': 'activation memory, bytes'}


class Point(NamedTuple):
    """Net, image size in pixels and batch size of a measurement."""

    net: str
    size: int
    batch: int


AXES: dict[str, tuple[Callable[[Point], float], list[Point]]] = {
    'weights of the trunk': (
        lambda point: trunk_weights(point.net),
        [Point(net, 224, 1) for net in ('swin-t', 'swin-s', 'swin-b', 'swin-l')],
    ),
    'pixels': (
        lambda point: point.size**2,
        [Point('swin-t', size, 1) for size in (256, 384, 512, 768, 1024)],
    ),
    'images in a batch': (
        lambda point: point.batch,
        [Point('swin-t', 256, batch) for batch in (1, 2, 4, 8)],
    ),
}
NETS['swin-s'] = dict(NETS['swin-t'], depths=(2, 2, 18, 2))


def trunk_weights(net: str) -> float:
    """Return the number of weights in the blocks, to leading order: 12 C^2 per block."""
    width, depths = NETS[net]['embed_dims'], NETS[net]['depths']
    return sum(12 * depth * (width * 2**stage) ** 2 for stage, depth in enumerate(depths))


def measure(point: Point, methods: list[str], steps: int) -> dict[str, dict[str, float]]:
    """Return the costs of each method at a point."""
    images = torch.randn(point.batch, 3, point.size, point.size)
    measured = {name: Measured(METHODS[name](dict(NETS[point.net])), images) for name in methods}
    saved = {name: method.saved_bytes() for name, method in measured.items()}
    for _ in range(1 + steps):
        for method in measured.values():
            method.step()
    return {
        name: {
            'step_seconds': statistics.median(method.step_seconds[1:]),
            'saved_bytes': float(saved[name]),
        }
        for name, method in measured.items()
    }


def exponent(x: list[float], y: list[float]) -> float | None:
    """Return the power p of y ~ x^p; None if a cost is 0."""
    return None if min(y) <= 0 else float(np.polyfit(np.log(x), np.log(y), 1)[0])


def along(axis: str, methods: list[str], steps: int) -> list[dict]:
    """Return one row per method and cost."""
    coordinate, points = AXES[axis]
    measured = [measure(point, methods, steps) for point in track(points, axis)]
    x = [coordinate(point) for point in points]
    rows = []
    for method in methods:
        for cost in COSTS:
            y = [costs[method][cost] for costs in measured]
            rows.append(
                {'axis': axis, 'method': method, 'cost': cost, 'x': x, 'y': y,
                 'points': [list(point) for point in points], 'exponent': exponent(x, y)}
            )  # fmt: skip
    return rows


def markdown(rows: list[dict]) -> str:
    """Return the exponents in Markdown, one line per axis and cost."""
    methods = list(dict.fromkeys(row['method'] for row in rows))
    lines = [f'| cost | grows with | {" | ".join(methods)} |', '|---' * (len(methods) + 2) + '|']
    for axis in dict.fromkeys(row['axis'] for row in rows):
        for cost, title in COSTS.items():
            exponents = {
                r['method']: r['exponent'] for r in rows if (r['axis'], r['cost']) == (axis, cost)
            }
            cells = ['-' if exponents[m] is None else f'{exponents[m]:.2f}' for m in methods]
            lines.append(f'| {title} | {axis} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def draw(rows: list[dict], path: Path) -> None:
    """Plot the costs along the axes on logarithmic scales, each method in one color."""
    axes = list(dict.fromkeys(row['axis'] for row in rows))
    methods = list(dict.fromkeys(row['method'] for row in rows))
    figure, panels = plt.subplots(len(COSTS), len(axes), figsize=(4 * len(axes), 6), squeeze=False)
    for row in rows:
        panel = panels[list(COSTS).index(row['cost'])][axes.index(row['axis'])]
        if min(row['y']) > 0:
            color = COLORS[methods.index(row['method'])]
            panel.loglog(row['x'], row['y'], marker='o', color=color, label=row['method'])
        panel.set(xlabel=row['axis'], ylabel=COSTS[row['cost']])
        panel.set_xticks(row['x'], [_short(x) for x in row['x']])
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
    panels[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def _short(number: float) -> str:
    """Return a number as short text, such as 590k or 27M."""
    power = next((p for p in (9, 6, 3) if number >= 10**p), 0)
    unit = {0: '', 3: 'k', 6: 'M', 9: 'G'}[power]
    return f'{number / 10**power:.0f}{unit}' if number >= 10 else f'{number:.2g}'


def main() -> None:
    """Measure all axes, and print, plot and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    methods = ['full', 'frozen', 'joined cell, half']
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=methods)
    parser.add_argument('--axes', nargs='+', choices=AXES, default=list(AXES))
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    rows = [row for axis in args.axes for row in along(axis, args.methods, args.steps)]
    head = header(__file__, precision='float32', steps=args.steps)
    write_report(args.out, head, rows, markdown(rows))
    draw(rows, args.out / 'growth.png')
    print_table(markdown(rows))


if __name__ == '__main__':
    main()
