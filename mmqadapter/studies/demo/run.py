"""The demo: pretraining on one domain, and four ways to adapt to another."""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from mmqadapter.checkpoints.safe_load import read_pickle
from mmqadapter.engine.runner import load_config, training_runner
from mmqadapter.hooks.efficiency_hook import SUMMARY_FILE
from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.demo.costs import measure_costs
from mmqadapter.studies.demo.domains import HUE
from mmqadapter.studies.demo.progress import ProgressHook
from mmqadapter.studies.demo.report import write_report
from mmqadapter.studies.demo.scenes import Domain
from mmqadapter.studies.demo.settings import COLORS, METHODS, TASKS, DemoMethod, DemoTask

COUNTS = {'train': 200, 'val': 60}


def run_demo(task_name: str, out: Path, configs: Path, iterations: int | None = None) -> list[dict]:
    """Run a demo and write its data, runs, table and images below ``out / task_name``.

    Args:
        task_name: ``'seg'`` or ``'det'``.
        out: Folder of all output; that of an earlier demo of this task is removed.
        configs: Folder of ``demo_seg.py`` and ``demo_det.py``.
        iterations: Training steps of each of the five runs; by default those of the config.

    Returns:
        One row per method.
    """
    task, folder = TASKS[task_name], out / task_name
    console = Console(file=sys.stdout)  # the present one, because training redirects sys.stdout
    for name in ('data', 'pretrain', *METHODS, 'predictions'):
        shutil.rmtree(folder / name, ignore_errors=True)
    console.print(f'Drawing scenes of two domains into {folder / "data"} ...')
    for name, domain in (('source', HUE), ('target', task.target)):
        for split, count in COUNTS.items():
            task.write(folder / 'data' / name, domain, split, count)
    weights = _pretrain(task, folder, configs, iterations, console)
    rows = []
    for name, method in METHODS.items():
        cfg = _configure(task, configs, folder, 'target', task.target, iterations)
        _set_method(cfg, method, str(weights))
        rows.append({'method': name, 'title': method.title, **_train(cfg, folder, name, console)})
        console.print(f'  {task.metric[1]} {task.percent(rows[-1]):.1f}')
    console.print('Measuring the cost of a step, one step of each method in turns ...')
    costs = measure_costs(_configure(task, configs, folder, 'target', task.target, iterations))
    rows = [{**row, **costs[row['method']]} for row in rows]
    write_report(task, folder, rows)
    return rows


def _pretrain(
    task: DemoTask, folder: Path, configs: Path, iterations: int | None, console: Console
) -> Path:
    """Train the whole model on the first domain, and save the backbone's weights."""
    cfg = _configure(task, configs, folder, 'source', HUE, iterations)
    _train(cfg, folder, 'pretrain', console)
    checkpoint = next((folder / 'pretrain').glob('iter_*.pth'))
    state = read_pickle(checkpoint)['state_dict']
    backbone = {key: value for key, value in state.items() if key.startswith('backbone.')}
    torch.save({'state_dict': backbone}, folder / 'pretrained.pth')
    return folder / 'pretrained.pth'


def _configure(
    task: DemoTask, configs: Path, folder: Path, data: str, domain: Domain, iterations: int | None
) -> Config:
    cfg = load_config(configs / task.config)
    classes = task.classes(domain)
    meta = dict(classes=classes, palette=COLORS[-len(classes) :])
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.data_root, dataset.metainfo = str(folder / 'data' / data), meta
    if 'ann_file' in cfg.val_dataloader.dataset:
        cfg.val_evaluator.ann_file = str(folder / 'data' / data / 'instances_val.json')
    if iterations:
        cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = iterations
        cfg.param_scheduler[1].end = max(iterations, cfg.param_scheduler[1].begin + 1)
        cfg.default_hooks.checkpoint.interval = iterations
    return cfg


def _set_method(cfg: Config, method: DemoMethod, weights: str) -> None:
    """Set the backbone, learning rates and hooks of a method; the config has a plain backbone."""
    net = {**cfg.model.backbone, 'init_cfg': dict(type='Pretrained', checkpoint=weights)}
    (tuned,) = parse_methods(method.method)
    cfg.model.backbone = tuned.change(net)
    keys = {key: dict(lr_mult=rate) for key, rate in method.rates.items()}
    cfg.optim_wrapper.paramwise_cfg.custom_keys = keys
    if method.head_bits != 32:
        hook = dict(type='mmqadapter.QuantizeTaskHook', bits=method.head_bits)
        cfg.custom_hooks = [*cfg.custom_hooks, hook]


def _train(cfg: Config, folder: Path, name: str, console: Console) -> dict[str, Any]:
    """Train with the output of mmengine in a log file; return score, costs and losses."""
    cfg.work_dir = str(folder / name)
    Path(cfg.work_dir).mkdir(parents=True)
    # mmengine stores loggers and curves under this name as long as the process runs.
    cfg.experiment_name = f'demo_{name}_{time.time_ns()}'
    log = folder / name / 'console.log'
    console.print(f'Training: {name} (log: {log})')
    with _bar(console) as bar, open(log, 'w') as file:
        with redirect_stdout(file), redirect_stderr(file):
            runner = training_runner(cfg)
            runner.register_hook(ProgressHook(bar, name))
            runner.train()
        for handler in runner.logger.handlers[:]:  # this stays the current logger
            if getattr(handler, 'stream', None) is file:
                runner.logger.removeHandler(handler)
    cfg.dump(folder / name / 'config.py')
    return _collect(runner, folder / name)


def _bar(console: Console) -> Progress:
    columns = (TextColumn('  {task.description}'), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, redirect_stdout=False)


def _collect(runner: Runner, work_dir: Path) -> dict[str, Any]:
    scalars = runner.message_hub.log_scalars
    scores = {key: scalars[key].current() for key in scalars if key.startswith('val/')}
    losses = scalars['train/loss'].data[0].tolist()
    weights = sum(tensor.nbytes for tensor in runner.model.state_dict().values())
    summary = json.loads((work_dir / SUMMARY_FILE).read_text())
    return {**summary, **scores, 'losses': losses, 'model_bytes': weights}
