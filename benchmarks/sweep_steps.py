"""Seconds of a training step of the methods of a sweep file, over those of the first method.

TIMM_FUSED_ATTN=0 python benchmarks/sweep_steps.py configs/sweeps/camvid_paired.yaml --steps 15 \
    --only frozen,full,lora-64,highway-joined,highway-joined-256 \
    --out benchmarks/results/sweep_steps_camvid

The methods take turns in one process, so that a machine that drifts changes all alike. A ratio is
the median over the rounds of the seconds of a method over those of the first one in the same round;
its range leaves out a quarter of the rounds on either side. Batches are generated, learning rates
are 0. ``TIMM_FUSED_ATTN=0`` chooses the attention of timm that is faster in bfloat16.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from report_files import header, print_table, write_report
from rich.progress import track

from mmqadapter.studies.benchmark.batches import batch_source
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.settings import Settings
from mmqadapter.studies.sweep.methods import SweepMethod
from mmqadapter.studies.sweep.plan import Sweep, read_sweep

MB = 10**6


def build_trainings(sweep: Sweep, names: Sequence[str], settings: Settings) -> dict[str, Training]:
    """Return a training of each method, all with the same generated batches."""
    plain = plain_config(sweep.config, settings)
    batches = batch_source(plain, settings)(settings.batch_size)
    builder = ModelBuilder(plain, settings.seed)
    models = {name: builder.build(as_benchmarked(sweep.methods[name])) for name in names}
    return {
        name: Training(model, batches, plain, settings.device, settings.amp)
        for name, model in models.items()
    }


def as_benchmarked(method: SweepMethod) -> Method:
    """Return a method of a sweep as one of a benchmark."""
    return Method(method.name, method.bits, lambda net: method.backbone)


def measure(trainings: Mapping[str, Training], steps: int) -> list[dict[str, Any]]:
    """Return a row per method, from ``steps`` rounds after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for index in track(range(steps + 1), 'Rounds'):
        for name, training in trainings.items():
            step = training.step().step
            if index:
                seconds[name].append(step)
    unit = next(iter(seconds.values()))
    return [
        {
            'method': name,
            'seconds': statistics.median(times),
            'ratios': [time / first for time, first in zip(times, unit, strict=True)],
            'activation_bytes': trainings[name].saved_bytes(),
        }
        for name, times in seconds.items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows in Markdown."""
    first = rows[0]['method']
    lines = [f'| method | step, s | over {first} | half of all rounds | activation memory, MB |']
    lines.append('|---' * 5 + '|')
    for row in rows:
        low, middle, high = statistics.quantiles(row['ratios'], n=4)
        lines.append(
            f'| {row["method"]} | {row["seconds"]:.2f} | {middle:.2f} | {low:.2f} to {high:.2f} '
            f'| {row["activation_bytes"] / MB:.0f} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure the methods; print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sweep', type=Path)
    parser.add_argument('--only', default='', metavar='METHOD,...', help='the first is the unit')
    parser.add_argument('--steps', type=int, default=15)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    sweep = read_sweep(args.sweep)
    names = sweep.chosen([name for name in args.only.split(',') if name])
    settings = Settings(torch.device(args.device), steps=args.steps).completed(sweep.config)
    rows = measure(build_trainings(sweep, names, settings), args.steps)
    fused = os.environ.get('TIMM_FUSED_ATTN', '1') != '0'
    head = header(
        __file__, torch.device(args.device).type, sweep=sweep.name, steps=args.steps,
        amp=settings.amp, timm_fused_attention=fused,
    )  # fmt: skip
    text = table(rows)
    write_report(args.out, head, rows, text)
    print_table(text)


if __name__ == '__main__':
    main()
