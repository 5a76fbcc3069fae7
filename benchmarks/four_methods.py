"""Frozen, full, AdaptFormer at 32 bits and at 1 bit on real data: accuracy, memory, bytes.

python benchmarks/four_methods.py camvid --work-dir work_dirs/four_methods

Each method's learning rates are tuned on a seed of its own over the same small grid, in short
runs; then three other seeds train in full. Scores are those of the last iteration: nothing is
selected on the validation images but the rates. Finished runs are kept, so that a killed sweep goes
on where it was. Needs the data of docs/own_data.md under MMQADAPTER_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUNING_SEED = 100
NORMS = dict(norm_decay_mult=0.0, bias_decay_mult=0.0)


@dataclass(frozen=True)
class Task:
    """A data set: its configs, metric and length of runs."""

    config: str
    metric: str
    iterations: int
    tuning_iterations: int
    head_rates: tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """A way to train the backbone: config, overrides, and the group whose rate is tuned."""

    variant: str
    options: tuple[str, ...] = ()
    group: str = ''
    rates: tuple[float, ...] = ()


TASKS = {
    'camvid': Task('upernet_vit-tiny_{}_camvid.py', 'mIoU', 200, 100, (1e-3, 3e-3)),
    'nuclei': Task('mask-rcnn_vit-tiny_{}_nuclei.py', 'coco/segm_mAP', 200, 80, (1e-3, 3e-3)),
}
FLOAT = ('model.backbone.quantizer.bits=32',)
METHODS = {
    'frozen': Method('frozen'),
    'full': Method('full', group='backbone', rates=(3e-5, 1e-4, 3e-4)),
    'adaptformer': Method('qadapter', FLOAT, 'adapters', (3e-4, 1e-3, 3e-3)),
    'adaptformer@1': Method('qadapter', group='adapters', rates=(3e-4, 1e-3, 3e-3)),
}


def run(
    task: Task, method: Method, folder: Path, seed: int, head: float, rate: float, iterations: int
) -> dict:
    """Train once, or read the result of a finished run."""
    result = folder / 'result.json'
    if not result.is_file():
        options = [
            f'randomness.seed={seed}',
            f'train_cfg.max_iters={iterations}',
            f'train_cfg.val_interval={iterations}',
            f'param_scheduler.1.end={iterations}',
            f'optim_wrapper.optimizer.lr={head}',
            *method.options,
        ]
        if method.group:
            key = f'optim_wrapper.paramwise_cfg.custom_keys.{method.group}.lr_mult'
            options.append(f'{key}={rate / head}')
        config = ROOT / 'configs' / task.config.format(method.variant)
        command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', folder]
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / 'console.log', 'w') as log:
            print(folder.name, flush=True)
            subprocess.run(
                [*map(str, command), '--cfg-options', *options], stdout=log, stderr=log, check=True
            )
        collected = collect(folder, task.metric)
        collected |= dict(seed=seed, head_rate=head, rate=rate, iterations=iterations)
        result.write_text(json.dumps(collected, indent=1))
    return json.loads(result.read_text())


def collect(folder: Path, metric: str) -> dict:
    """Score, costs, sizes and loss curve of a finished run."""
    scalars = max(folder.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    score = [line[metric] for line in lines if metric in line][-1]
    checkpoint = max(folder.glob('iter_*.pth'), key=os.path.getmtime)
    losses = [[line['step'], line['loss']] for line in lines if 'loss' in line]
    summary = json.loads((folder / 'summary.json').read_text())
    return {**summary, 'score': score, 'checkpoint': checkpoint.name, 'losses': losses}


def tune(name: str, method: Method, task: Task, folder: Path, heads: tuple) -> tuple[float, float]:
    """Best head rate and best rate of the tuned group, by short runs on the tuning seed."""
    scores = {}
    for head in heads:
        for rate in method.rates or (0.0,):
            place = folder / f'tune_{name}_head{head:g}_rate{rate:g}'
            done = run(task, method, place, TUNING_SEED, head, rate, task.tuning_iterations)
            scores[head, rate] = done['score']
    return max(scores, key=lambda pair: scores[pair])


def main() -> None:
    """Tune, train, write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/four_methods'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = parser.parse_args()
    task, folder = TASKS[args.task], args.work_dir / args.task
    # The head rate is tuned where nothing but the head trains, and is then the same for all.
    head, _ = tune('frozen', METHODS['frozen'], task, folder, task.head_rates)
    rates = {n: tune(n, m, task, folder, (head,))[1] for n, m in METHODS.items()}
    runs = []
    for seed in args.seeds:
        for name, method in METHODS.items():
            place = folder / f'{name}_seed{seed}'
            done = run(task, method, place, seed, head, rates[name], task.iterations)
            runs.append({'method': name, **done})
    tuning = [
        {'run': place.parent.name, **json.loads(place.read_text())}
        for place in sorted(folder.glob('tune_*/result.json'))
    ]
    (folder / 'runs.json').write_text(json.dumps({'runs': runs, 'tuning': tuning}, indent=1))
    print(f'{folder / "runs.json"} written; benchmarks/four_methods_report.py draws it.')


if __name__ == '__main__':
    main()
