"""Frozen, full, AdaptFormer at 32 bits and at 1 bit on real data: accuracy, memory, bytes.

python benchmarks/four_methods.py camvid --work-dir work_dirs/four_methods

Each method's learning rates are tuned over the same small grid on a seed that is used for nothing
else: first the head's (at the middle rate of backbone or adapters), then the other's at the best
head rate. Then other seeds train. Scores are those of the last iteration: nothing is selected on
the validation images but the rates. Runs go side by side, one core each (--jobs);
step times are measured afterwards, in runs that are alone on the machine. Finished runs are kept,
so that a killed sweep goes on where it was. Needs data and weights under MMQADAPTER_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUNING_SEED = 100
TIMED_STEPS = 40


@dataclass(frozen=True)
class Task:
    """A data set: its configs, metric and length of runs."""

    config: str
    metric: str
    iterations: int
    head_rates: tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """A way to train the backbone: config, overrides, and the group whose rate is tuned."""

    variant: str
    options: tuple[str, ...] = ()
    group: str = ''
    rates: tuple[float, ...] = ()


TASKS = {
    'camvid': Task('upernet_vit-tiny_{}_camvid.py', 'mIoU', 400, (3e-3, 1e-2)),
    'nuclei': Task('mask-rcnn_vit-tiny_{}_nuclei.py', 'coco/segm_mAP', 200, (3e-4, 1e-3, 3e-3)),
}
FLOAT = ('model.backbone.quantizer.bits=32',)
METHODS = {
    'frozen': Method('frozen'),
    'full': Method('full', group='backbone', rates=(3e-5, 1e-4, 3e-4)),
    'adaptformer': Method('qadapter', FLOAT, 'adapters', (1e-3, 3e-3, 1e-2)),
    'adaptformer@1': Method('qadapter', group='adapters', rates=(1e-3, 3e-3, 1e-2)),
}
# What else may bring 1 bit nearer to 32 bits; compared on request (--methods).
VARIANTS = {
    'adaptformer@1-learned-scale': ('model.backbone.adapter.scale=learned',),
    'adaptformer@1-per-channel': ('model.backbone.quantizer.granularity=channel',),
    'adaptformer@1-l2': ('model.backbone.quantizer.criterion=l2',),
    'adaptformer@2': ('model.backbone.quantizer.bits=2',),
}
ALL_METHODS = METHODS | {
    name: Method('qadapter', options, 'adapters', (1e-3, 3e-3))
    for name, options in VARIANTS.items()
}


@dataclass(frozen=True)
class Run:
    """One training: where it is kept and what it is given."""

    folder: Path
    task: Task
    method: Method
    seed: int
    iterations: int
    head: float
    rate: float
    validate: bool = True

    @property
    def result(self) -> Path:
        """Where its outcome is written once it has ended well."""
        return self.folder / 'result.json'

    def options(self) -> list[str]:
        """Overrides of the method's config."""
        options = [
            f'randomness.seed={self.seed}',
            f'train_cfg.max_iters={self.iterations}',
            f'train_cfg.val_interval={self.iterations if self.validate else 10**6}',
            f'param_scheduler.1.end={self.iterations}',
            f'optim_wrapper.optimizer.lr={self.head}',
            *self.method.options,
        ]
        if self.method.group:
            key = f'optim_wrapper.paramwise_cfg.custom_keys.{self.method.group}.lr_mult'
            options.append(f'{key}={self.rate / self.head}')
        return options

    def train(self, threads: int) -> dict:
        """Train, or read the outcome of a finished run."""
        if not self.result.is_file():
            config = ROOT / 'configs' / self.task.config.format(self.method.variant)
            command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', self.folder]
            command += ['--cfg-options', *self.options()]
            self.folder.mkdir(parents=True, exist_ok=True)
            print(self.folder.name, flush=True)
            with open(self.folder / 'console.log', 'w') as log:
                environment = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
                subprocess.run(
                    [*map(str, command)], stdout=log, stderr=log, check=True, env=environment
                )
            self.result.write_text(json.dumps(self.collect(), indent=1))
        return json.loads(self.result.read_text())

    def collect(self) -> dict:
        """Score, costs, sizes and loss curve."""
        scalars = max(self.folder.glob('*/vis_data/scalars.json'))
        lines = [json.loads(line) for line in scalars.read_text().splitlines()]
        scores = [line[self.task.metric] for line in lines if self.task.metric in line]
        return {
            **json.loads((self.folder / 'summary.json').read_text()),
            'score': scores[-1] if scores else None,
            'losses': [[line['step'], line['loss']] for line in lines if 'loss' in line],
            'seed': self.seed,
            'head_rate': self.head,
            'rate': self.rate,
            'iterations': self.iterations,
        }


def train_all(runs: list[Run], jobs: int) -> list[dict]:
    """Outcomes in the order of ``runs``; ``jobs`` at a time share the cores."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda run: run.train(threads), runs))


def tuning_run(name: str, task: Task, folder: Path, head: float, rate: float) -> Run:
    """A point of a method's grid, trained at full length: short runs favour high rates."""
    place = folder / f'tune_{name}_head{head:g}_rate{rate:g}'
    return Run(place, task, ALL_METHODS[name], TUNING_SEED, task.iterations, head, rate)


def best_of(candidates: dict[str, list[Run]], jobs: int) -> dict[str, Run]:
    """The run of the highest score for each method."""
    flat = list(dict.fromkeys(run for runs in candidates.values() for run in runs))
    score = {run: result['score'] for run, result in zip(flat, train_all(flat, jobs), strict=True)}
    return {name: max(runs, key=score.__getitem__) for name, runs in candidates.items()}


def tune(names: list[str], task: Task, folder: Path, jobs: int) -> dict[str, Run]:
    """The best of each method's grid, one rate after the other."""
    rates = {name: ALL_METHODS[name].rates or (0.0,) for name in names}
    heads = best_of(
        {
            name: [
                tuning_run(name, task, folder, head, rates[name][len(rates[name]) // 2])
                for head in task.head_rates
            ]
            for name in names
        },
        jobs,
    )
    return best_of(
        {
            name: [tuning_run(name, task, folder, heads[name].head, rate) for rate in rates[name]]
            for name in names
        },
        jobs,
    )


def main() -> None:
    """Tune, train, time, write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/four_methods'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', default=list(METHODS), choices=ALL_METHODS)
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='runs side by side')
    args = parser.parse_args()
    task, folder = TASKS[args.task], args.work_dir / args.task
    best = tune(args.methods, task, folder, args.jobs)
    finals = [
        replace(run, folder=folder / f'{name}_seed{seed}', seed=seed)
        for seed in args.seeds
        for name, run in best.items()
    ]
    trained = train_all(finals, args.jobs)
    timing = [
        replace(run, folder=folder / f'timing_{name}', iterations=TIMED_STEPS, validate=False)
        for name, run in best.items()
    ]
    timed = dict(zip(best, train_all(timing, jobs=1), strict=True))
    names = [name for _ in args.seeds for name in best]
    runs = [
        {**outcome, 'method': name, 'step_seconds': timed[name]['step_seconds']}
        for name, outcome in zip(names, trained, strict=True)
    ]
    tuning = [
        {'run': place.parent.name, **json.loads(place.read_text())}
        for place in sorted(folder.glob('tune_*/result.json'))
    ]
    (folder / 'runs.json').write_text(json.dumps({'runs': runs, 'tuning': tuning}, indent=1))
    print(f'{folder / "runs.json"} written; benchmarks/four_methods_report.py draws it.')


if __name__ == '__main__':
    main()
