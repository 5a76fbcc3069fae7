"""Score of a sweep's methods against the bytes that their backbone keeps for backward.

python benchmarks/kept_in_backbone.py configs/sweeps/camvid.yaml DIR/report.json [MORE/report.json]
    --image-size 240 320 --batch-size 4 --out benchmarks/results/sweep_camvid/kept_in_backbone

A sweep's own report counts the whole model, of which the decoder may keep the larger part whatever
the method. Here every backbone of the report is built and run alone on a random batch; with
activation checkpointing of the trunk as well, where gradients cross it.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console
from rich.progress import track
from torch import nn

from mmqadapter.studies.report.drawing import draw_files, series_of
from mmqadapter.studies.report.pareto import draw_pareto
from mmqadapter.studies.sweep.plan import read_sweep
from mmqadapter.utils.accounting import saved_for_backward
from mmqadapter.utils.atomic import atomic_write


def kept(config: dict, images: torch.Tensor) -> int:
    """Bytes that a backbone keeps for backward."""
    torch.manual_seed(0)
    net: nn.Module = MODELS.build(config)
    net.train()
    with saved_for_backward(net) as saved:
        net(images)
    return saved.total


def recomputed(config: dict) -> dict:
    """Return the same backbone with activation checkpointing in its trunk."""
    copy = deepcopy(config)
    copy.get('backbone', copy)['with_cp'] = True
    return copy


def measure(row: dict[str, Any], config: dict, images: torch.Tensor) -> dict[str, Any]:
    """Bytes and scores of a method."""
    bytes_kept = kept(config, images)
    return {
        'method': row['method'],
        'score_mean': row['score_mean'],
        'score_deviation': row['score_deviation'],
        'kept_bytes': bytes_kept,
        'kept_bytes_recomputed': bytes_kept and kept(recomputed(config), images),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """One line a method."""
    lines = [
        '| method | score | kept, MB | with checkpointing, MB |',
        '|---|---|---|---|',
    ]
    for row in rows:
        spread = '' if row['score_deviation'] is None else f' ± {row["score_deviation"]:.2f}'
        lines.append(
            f'| {row["method"]} | {row["score_mean"]:.2f}{spread} | {row["kept_bytes"] / 1e6:.1f} '
            f'| {row["kept_bytes_recomputed"] / 1e6:.1f} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument(
        'reports',
        type=Path,
        nargs='+',
        help='report.json of tools/sweep.py, or several of one sweep',
    )
    parser.add_argument('--image-size', type=int, nargs=2, required=True, help='height and width')
    parser.add_argument('--batch-size', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    sweep, reports = read_sweep(args.sweep), [json.loads(p.read_text()) for p in args.reports]
    init_default_scope(sweep.config.default_scope)
    scored = [row for one in reports for row in one['rows'] if row['score_mean'] is not None]
    images = torch.randn(args.batch_size, 3, *args.image_size)
    backbones = {name: method.backbone for name, method in sweep.methods.items()}
    rows = [measure(row, backbones[row['method']], images) for row in track(scored)]
    write(rows, reports[0]['header'], args)


def write(rows: list[dict[str, Any]], header: dict[str, Any], args: argparse.Namespace) -> None:
    """report.json, report.md and the picture."""
    points = {row['method']: (row['kept_bytes'] / 1e6, row['score_mean']) for row in rows}
    deviations = {row['method']: row['score_deviation'] for row in rows}
    axes = ('kept for backward in the backbone, MB', header['metric'])
    pictures = draw_files(
        {
            'score_kept': lambda: draw_pareto(
                points, series_of(list(points)), axes, highest=True, deviations=deviations
            )
        }
    )
    about = {
        'script': 'benchmarks/kept_in_backbone.py', 'sweep': header['sweep'],
        'torch': torch.__version__, 'image_size': args.image_size, 'batch_size': args.batch_size,
    }  # fmt: skip
    files = {
        'report.json': json.dumps({'header': about, 'rows': rows}, indent=1).encode(),
        'report.md': markdown(rows).encode(),
        **pictures,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        atomic_write(args.out / name, content)
    Console().print(markdown(rows), markup=False, soft_wrap=True)


if __name__ == '__main__':
    main()
