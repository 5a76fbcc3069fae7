"""Score of a sweep's methods against the activation memory of their backbone.

python benchmarks/backbone_memory.py configs/sweeps/camvid.yaml DIR/report.json [MORE/report.json]
    --image-size 240 320 --batch-size 4 --out benchmarks/results/sweep_camvid/backbone_memory

Activation memory is what autograd saves for backward. The report of a sweep counts the whole model,
in which the decoder may need most of it whatever the method. Here every backbone of the report is
run alone on a random batch, and again with activation checkpointing of the trunk if gradients pass
through it.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope
from report_files import header, print_table, write_report
from rich.progress import track
from torch import nn

from mmqadapter.studies.report.drawing import draw_files, series_of
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.sweep.plan import read_sweep
from mmqadapter.utils.accounting import saved_for_backward
from mmqadapter.utils.atomic import atomic_write


def activation_bytes(config: dict, images: torch.Tensor) -> int:
    """Return the activation memory of a backbone in bytes."""
    torch.manual_seed(0)
    net: nn.Module = MODELS.build(config)
    net.train()
    with saved_for_backward(net) as saved:
        net(images)
    return saved.total


def checkpointed(config: dict) -> dict:
    """Return the config with activation checkpointing in the trunk."""
    copy = deepcopy(config)
    copy.get('backbone', copy)['with_cp'] = True
    return copy


def measure(row: dict[str, Any], config: dict, images: torch.Tensor) -> dict[str, Any]:
    """Return the scores and the activation memory of a method."""
    memory = activation_bytes(config, images)
    return {
        'method': row['method'],
        'score_mean': row['score_mean'],
        'score_deviation': row['score_deviation'],
        'saved_for_backward_bytes': memory,
        'recomputed_bytes': memory and activation_bytes(checkpointed(config), images),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table in Markdown, with one line per method."""
    lines = [
        '| method | score | activation memory, MB | with checkpointing, MB |',
        '|---|---|---|---|',
    ]
    for row in rows:
        spread = '' if row['score_deviation'] is None else f' ± {row["score_deviation"]:.2f}'
        lines.append(
            f'| {row["method"]} | {row["score_mean"]:.2f}{spread} '
            f'| {row["saved_for_backward_bytes"] / 1e6:.1f} '
            f'| {row["recomputed_bytes"] / 1e6:.1f} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure the backbones, and print, plot and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument(
        'reports',
        type=Path,
        nargs='+',
        help='one report.json of tools/sweep.py, or several of the same sweep',
    )
    parser.add_argument('--image-size', type=int, nargs=2, required=True, help='height and width')
    parser.add_argument('--batch-size', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    sweep, reports = read_sweep(args.sweep), [json.loads(p.read_text()) for p in args.reports]
    init_default_scope(sweep.config.default_scope)
    scored = [r for report in reports for r in report['rows'] if r['score_mean'] is not None]
    images = torch.randn(args.batch_size, 3, *args.image_size)
    backbones = {name: method.backbone for name, method in sweep.methods.items()}
    rows = [measure(row, backbones[row['method']], images) for row in track(scored)]
    sweep_header = reports[0]['header']
    settings = {name: getattr(args, name) for name in ('image_size', 'batch_size')}
    head = header(__file__, sweep=sweep_header['sweep'], **settings)
    write_report(args.out, head, rows, markdown(rows))
    for name, content in plot(rows, sweep_header['metric']).items():
        atomic_write(args.out / name, content)
    print_table(markdown(rows))


def plot(rows: list[dict[str, Any]], metric: str) -> dict[str, bytes]:
    """Return the plot of score against activation memory, by file name."""
    points = {
        row['method']: (row['saved_for_backward_bytes'] / 1e6, row['score_mean']) for row in rows
    }
    deviations = {row['method']: row['score_deviation'] for row in rows}
    axes = ('activation memory of the backbone, MB', metric)
    colors = series_of(list(points))
    return draw_files(
        {
            'score_memory': lambda: draw_pareto(
                points, colors, axes, highest=True, deviations=deviations
            )
        }
    )


if __name__ == '__main__':
    main()
