"""Peak memory of training steps against the foretold, and their times, for three detectors.

python benchmarks/gpu_peaks.py --out work_dirs/gpu_report/peaks
python benchmarks/gpu_peaks.py --out DIR --device cpu --toy       # a try

A GPU's peak of allocated bytes is compared; on a CPU that of the bytes of living tensors. Foretold
figures are those of benchmarks/results/foretold where they are for the same step; others are made
on the spot. Each detector's report is written when it is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from foretold import ROOT, RUNS, Run
from report_files import header, print_table, write_report

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.methods import Method, parse_methods
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.benchmark.run import run_benchmark
from mmqadapter.studies.fits.run import quiet
from mmqadapter.studies.foretell.step import OutlinedModel
from mmqadapter.studies.report.settings import Settings

FORETOLD = ROOT / 'benchmarks/results/foretold'
METHODS = 'full,frozen,adaptformer,highway,highway-joined'
DETECTORS = ('cascade-mask-rcnn_swin-b', 'retinanet_swin-l', 'upernet_swin-l')
TOY = {
    'demo_seg': Run('../demo_seg.py', 2, (64, 64), False, {}),
    'demo_det': Run('../demo_det.py', 2, (64, 64), False, {}),
}


def measure(name: str, run: Run, methods: str, steps: int, device: str) -> list[dict[str, Any]]:
    """Return the rows of a detector: measured and foretold peak, and seconds of a step."""
    cfg = load_config(str(ROOT / 'configs/zoo' / run.config), None)
    settings = Settings(
        torch.device(device), run.batch, run.image_size, steps, warm_up=2, amp=run.amp
    )
    parsed = parse_methods(methods)
    rows = run_benchmark(cfg, parsed, settings, lambda report: None)['rows']
    known = stored(name)
    return [
        compared(row, known.get(row['method']) or foretold(cfg, method, settings))
        for row, method in zip(rows, parsed, strict=True)
    ]


def stored(name: str) -> dict[str, int]:
    """Return the peaks of the report in benchmarks/results, by method."""
    path = FORETOLD / name / 'report.json'
    rows = json.loads(path.read_text('utf-8'))['rows'] if path.is_file() else []
    return {row['method']: row['peak_bytes'] for row in rows}


def foretold(cfg: Any, method: Method, settings: Settings) -> int:
    """Return the foretold peak of a step on the device of the settings."""
    on_gpu = settings.device.type == 'cuda'
    settings = replace(settings, device=torch.device('cuda')).completed(cfg)
    with quiet():
        model = OutlinedModel(plain_config(cfg, settings), method, on_gpu)
        return model.peak_bytes(settings)


def compared(row: dict[str, Any], peak: int) -> dict[str, Any]:
    """Return a row of the report."""
    measured = row['peak_allocated_bytes'] or row['peak_live_bytes']
    return {
        'method': row['method'],
        'peak_bytes': measured,
        'reserved_bytes': row['peak_reserved_bytes'],
        'foretold_bytes': peak,
        'foretold_over_measured': measured and peak / measured,
        'step_seconds': row['step_seconds'],
        'note': row['note'],
    }


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        '| method | peak, MiB | foretold, MiB | foretold over measured | s per step |',
        '|---|---|---|---|---|',
    ]
    for row in rows:
        if row['note']:
            lines.append(f'| {row["method"]} | {row["note"]} | | | |')
            continue
        lines.append(
            f'| {row["method"]} | {row["peak_bytes"] / 2**20:,.0f} '
            f'| {row["foretold_bytes"] / 2**20:,.0f} | {row["foretold_over_measured"]:.3f} '
            f'| {row["step_seconds"]:.3f} |'
        )
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all detectors, and print and write a report for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', default='cuda:0')
    parser.add_argument('--toy', action='store_true', help='very small nets and images')
    parser.add_argument('--methods', default=METHODS)
    parser.add_argument('--steps', type=int, default=6)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args(argv)
    for name, run in (TOY if args.toy else {name: RUNS[name] for name in DETECTORS}).items():
        rows = measure(name, run, args.methods, args.steps, args.device)
        head = header(__file__, args.device.partition(':')[0], config=run.config, batch=run.batch)
        write_report(args.out / name, head, rows, markdown(rows))
        print_table(markdown(rows))


if __name__ == '__main__':
    main()
