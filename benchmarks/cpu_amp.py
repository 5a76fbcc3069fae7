"""Seconds of a training step on a CPU in bfloat16, over those in float32.

python benchmarks/cpu_amp.py configs/classification/vit-tiny_qadapter_cifar1k.py \
    configs/upernet_vit-tiny_qadapter_camvid.py --steps 5 --out benchmarks/results/cpu_amp

Models of timm are measured with PyTorch's fused attention, timm's default, and with timm's plain
one (``TIMM_FUSED_ATTN=0``). All settings of a method take turns in one process; times are medians.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from report_files import header, print_table, write_report
from torch import nn

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.batches import batch_source
from mmqadapter.studies.benchmark.methods import Method, parse_methods
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.settings import Settings

# Name, mixed precision, fused attention. The first one is the unit.
WAYS = (
    ('float32', False, True),
    ('float32, plain attention', False, False),
    ('bfloat16', True, True),
    ('bfloat16, plain attention', True, False),
)


def set_fused(model: nn.Module, fused: bool) -> None:
    """Choose the attention of all blocks of timm."""
    for module in model.modules():
        if hasattr(module, 'fused_attn'):
            module.fused_attn = fused


def measure(cfg: Config, method: Method, settings: Settings) -> dict[str, Any]:
    """Return seconds of a step in float32, and those of each way over them."""
    settings = settings.completed(cfg)
    plain = plain_config(cfg, settings)
    batches = batch_source(plain, settings)(settings.batch_size)
    model = ModelBuilder(plain, settings.seed).build(method)
    trainings = {
        name: Training(model, batches, plain, settings.device, amp) for name, amp, _ in WAYS
    }
    times: dict[str, list[float]] = {name: [] for name in trainings}
    for index in range(settings.steps + 1):
        for name, _, fused in WAYS:
            set_fused(model, fused)
            step = trainings[name].step()
            if index:  # the first one warms up
                times[name].append(step.step)
    medians = {name: statistics.median(values) for name, values in times.items()}
    unit = medians[WAYS[0][0]]
    return {'seconds': unit, **{name: value / unit for name, value in medians.items()}}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows in Markdown."""
    names = [name for name, _, _ in WAYS[1:]]
    lines = [f'| config | method | float32, s | {" | ".join(names)} |', '|---' * 6 + '|']
    for row in rows:
        ratios = ' | '.join(f'{row[name]:.2f}' for name in names)
        lines.append(f'| {row["config"]} | {row["method"]} | {row["seconds"]:.2f} | {ratios} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure all configs and methods; print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--methods', default='full,frozen,adaptformer@1')
    parser.add_argument('--steps', type=int, default=9)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    settings = Settings(torch.device('cpu'), steps=args.steps)
    rows = [
        {'config': Path(name).stem, 'method': method.name}
        | measure(load_config(name), method, settings)
        for name in args.configs
        for method in parse_methods(args.methods)
    ]
    text = table(rows)
    write_report(args.out, header(__file__, steps=args.steps), rows, text)
    print_table(text)


if __name__ == '__main__':
    main()
