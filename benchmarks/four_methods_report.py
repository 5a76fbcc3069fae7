"""Table, plots and overlays of a finished benchmarks/four_methods.py.

python benchmarks/four_methods_report.py camvid --work-dir work_dirs/four_methods \
    --out benchmarks/results/four_methods_camvid
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from datetime import date
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use('Agg')

import matplotlib.pyplot as plt  # noqa: E402
from four_methods import METHODS, ROOT, TASKS  # noqa: E402
from PIL import Image  # noqa: E402

from mmqadapter.inference import predict  # noqa: E402
from mmqadapter.running import load_config  # noqa: E402

# Photos of CamVid may not be passed on: its predictions are shown as label maps alone.
PICTURES = {
    'camvid': ('camvid/images/val', 'labels'),
    'nuclei': ('nuclei/val', 'overlays'),
}
LABELS = {
    'frozen': 'frozen',
    'full': 'full fine-tuning',
    'adaptformer': 'AdaptFormer, 32 bits',
    'adaptformer@1': 'AdaptFormer, 1 bit',
}


def rows(runs: list[dict], folder: Path) -> list[dict]:
    """One row a method: scores over seeds, costs of its first seed."""
    table = []
    for name in METHODS:
        mine = [run for run in runs if run['method'] == name]
        scores, first = [percent(run) for run in mine], mine[0]
        parts = {k: v for k, v in first.items() if k.startswith('trainable_backbone')}
        table.append(
            {
                'method': name,
                'score_mean': statistics.mean(scores),
                'score_deviation': statistics.stdev(scores) if len(scores) > 1 else None,
                'scores': scores,
                'minus_frozen': differences(runs, name, 'frozen'),
                'minus_32_bits': differences(runs, name, 'adaptformer'),
                'head_rate': first['head_rate'],
                'rate': first['rate'],
                'trainable_backbone_params': sum(parts.values()),
                'trainable_params': first['trainable_parameters'],
                'adapter_bytes': first['task_bytes_adapters'],
                'task_bytes': first['task_bytes_file'],
                'checkpoint_weight_bytes': weight_bytes(folder / f'{name}_seed{first["seed"]}'),
                'saved_for_backward_bytes': first['saved_for_backward_bytes'],
                'step_seconds': statistics.median(r['step_seconds'] for r in mine),
            }
        )
    return table


def percent(run: dict) -> float:
    """Score in points: mmdet gives shares, mmseg percent."""
    return 100 * run['score'] if run['score'] <= 1 else run['score']


def differences(runs: list[dict], name: str, other: str) -> list[float]:
    """Points of one method above another, seed by seed: data order and decoder start agree."""
    scores = {(run['method'], run['seed']): percent(run) for run in runs}
    return [scores[name, seed] - scores[other, seed] for seed in sorted({r['seed'] for r in runs})]


def weight_bytes(folder: Path) -> int:
    """Bytes of all weights in the last checkpoint of a run, optimiser aside."""
    path = max(folder.glob('iter_*.pth'), key=os.path.getmtime)
    state = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
    return sum(tensor.nbytes for tensor in state.values())


def markdown(table: list[dict], metric: str) -> str:
    """The table as a reader sees it."""
    lines = [
        f'| method | {metric} | above frozen | trains in the backbone | adapters, bytes | '
        'task, bytes | kept for backward | s per step |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in table:
        spread = '' if row['score_deviation'] is None else f' ± {row["score_deviation"]:.1f}'
        size = row['task_bytes'] or row['checkpoint_weight_bytes']
        adapters = f'{row["adapter_bytes"]:,}' if row['adapter_bytes'] else '-'
        lines.append(
            f'| {LABELS[row["method"]]} | {row["score_mean"]:.1f}{spread} | '
            f'{statistics.mean(row["minus_frozen"]):+.1f} | '
            f'{row["trainable_backbone_params"]:,} | {adapters} | {size:,} | '
            f'{row["saved_for_backward_bytes"] / 2**20:.0f} MiB | {row["step_seconds"]:.2f} |'
        )
    return '\n'.join(lines) + '\n'


def draw_scores(table: list[dict], metric: str, out: Path) -> None:
    """A dot for each seed, a line for their mean."""
    figure, axis = plt.subplots(figsize=(6, 3.5), layout='constrained')
    for place, row in enumerate(table):
        axis.plot([place] * len(row['scores']), row['scores'], 'o', color=f'C{place}')
        axis.hlines(row['score_mean'], place - 0.3, place + 0.3, color=f'C{place}')
        axis.text(place + 0.32, row['score_mean'], f'{row["score_mean"]:.1f}', va='center')
    axis.set_xticks(range(len(table)), [LABELS[row['method']] for row in table], fontsize=8)
    axis.set_xlim(-0.5, len(table) - 0.3)
    axis.set_ylabel(metric)
    figure.savefig(out / 'scores.png', dpi=120)
    plt.close(figure)


def draw_losses(runs: list[dict], out: Path) -> None:
    """Training loss of every run."""
    figure, axis = plt.subplots(figsize=(6, 3.5), layout='constrained')
    for place, name in enumerate(METHODS):
        for run in (run for run in runs if run['method'] == name):
            label = LABELS[name] if run['seed'] == runs[0]['seed'] else None
            axis.plot(*zip(*run['losses'], strict=True), color=f'C{place}', label=label)
    axis.set(xlabel='iteration', ylabel='training loss', yscale='log')
    axis.legend(fontsize=8)
    figure.savefig(out / 'losses.png', dpi=120)
    plt.close(figure)


def draw_overlays(task_name: str, folder: Path, seed: int, out: Path, count: int) -> None:
    """Predictions of each method on the same validation images, side by side."""
    where, kind = PICTURES[task_name]
    source = Path(os.environ['MMQADAPTER_DATA'], where)
    files = sorted(p for p in source.iterdir() if p.suffix in ('.jpg', '.png'))
    files = files[:: max(1, len(files) // count)][:count]
    figure, axes = plt.subplots(
        count, len(METHODS), figsize=(3.2 * len(METHODS), 2.5 * count), layout='constrained'
    )
    for column, (name, method) in enumerate(METHODS.items()):
        run = folder / f'{name}_seed{seed}'
        weights = max(run.glob('iter_*.pth'), key=os.path.getmtime)
        config = ROOT / 'configs' / TASKS[task_name].config.format(method.variant)
        options = dict(option.split('=') for option in method.options)
        bits = {key: int(value) for key, value in options.items()}
        with tempfile.TemporaryDirectory() as scratch:
            found = predict(config, weights, files, scratch, cfg_options=bits)
            for row, file in enumerate(files):
                picture = next(Path(scratch, kind).glob(f'{file.stem}*'))
                shown = Image.open(picture).convert('RGB')
                if kind == 'labels':
                    shown = np.uint8(load_config(config).metainfo.palette)[found[row].labels]
                axes[row][column].imshow(shown)
                axes[row][column].set_axis_off()
        axes[0][column].set_title(LABELS[name], fontsize=9)
    figure.savefig(out / 'overlays.png', dpi=70)
    plt.close(figure)


def main() -> None:
    """Read runs.json, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/four_methods'))
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--images', type=int, default=4, help='images in the overlay picture')
    args = parser.parse_args()
    folder, task = args.work_dir / args.task, TASKS[args.task]
    content = json.loads((folder / 'runs.json').read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    table = rows(content['runs'], folder)
    header = {
        'script': f'benchmarks/four_methods.py {args.task}',
        'date': date.today().isoformat(),
        'machine': f'{platform.machine()} CPU, {os.cpu_count()} cores',
        'device': 'cpu',
        'torch': torch.__version__,
        'precision': 'float32',
        'iterations': task.iterations,
        'tuning': [{k: t[k] for k in ('run', 'score', 'iterations')} for t in content['tuning']],
    }
    (args.out / 'report.json').write_text(json.dumps({'header': header, 'rows': table}, indent=1))
    (args.out / 'report.md').write_text(markdown(table, task.metric))
    draw_scores(table, task.metric, args.out)
    draw_losses(content['runs'], args.out)
    draw_overlays(args.task, folder, content['runs'][0]['seed'], args.out, args.images)
    print((args.out / 'report.md').read_text())


if __name__ == '__main__':
    main()
