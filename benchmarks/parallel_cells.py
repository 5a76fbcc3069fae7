"""Time of the parallel cells of a highway stage, computed together or one after another.

python benchmarks/parallel_cells.py --out benchmarks/results/parallel_cells

Forward and backward of the stages of a Swin-B at 512 x 512, batch 2: two taps per block, the
published adapter, taps saved in bfloat16 for backward. Both variants are measured in rounds;
seconds are medians. Runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn

from mmqadapter.adapters import DualLowRankAdapter
from mmqadapter.highway import SAVED_TAPS, FusedResidual, ParallelCell, add_updates
from mmqadapter.utils.atomic import atomic_write

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
STAGES = ((32768, 128, 4), (8192, 256, 4), (2048, 512, 36), (512, 1024, 4))
GRID = (0, 0)  # not used by this adapter


def one_after_another(cells: nn.ModuleList, taps: list[Tensor]) -> Tensor:
    """Update the stream by one cell after another."""
    h = torch.zeros(1, 1, 1, device=DEVICE)
    for cell, tap in zip(cells, taps, strict=True):
        h = cell(h, tap, GRID)
    return h


def together(cells: nn.ModuleList, taps: list[Tensor]) -> Tensor:
    """Update the stream by all cells at once."""
    updates = [cell.update(tap, GRID) for cell, tap in zip(cells, taps, strict=True)]
    return add_updates(torch.zeros(1, 1, 1, device=DEVICE), updates)


VARIANTS: dict[str, Callable[[nn.ModuleList, list[Tensor]], Tensor]] = {
    'one after another': one_after_another,
    'together': together,
}


def seconds(variant: str, cells: nn.ModuleList, taps: list[Tensor], grad: Tensor) -> float:
    """Return the seconds of a forward and a backward pass."""
    wait = torch.cuda.synchronize if DEVICE == 'cuda' else int
    wait()
    start = time.perf_counter()
    VARIANTS[variant](cells, taps).backward(grad)
    wait()
    return time.perf_counter() - start


def measure(tokens: int, channels: int, count: int, repeats: int) -> dict[str, float]:
    """Return the milliseconds of both variants."""
    residual = FusedResidual(SAVED_TAPS['half'])
    cells = nn.ModuleList(
        ParallelCell(DualLowRankAdapter(channels), residual) for _ in range(count)
    )
    cells.to(DEVICE)
    *taps, grad = torch.randn(count + 1, 2, tokens // 2, channels, device=DEVICE)
    rounds = [
        {variant: seconds(variant, cells, taps, grad) for variant in VARIANTS}
        for _ in range(repeats + 2)
    ]
    return {v: 1e3 * statistics.median(times[v] for times in rounds[2:]) for v in VARIANTS}


def main() -> None:
    """Measure all stages, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    cpu = f'{platform.machine()} CPU, {os.cpu_count()} cores'
    header = {
        'script': 'benchmarks/parallel_cells.py',
        'date': date.today().isoformat(),
        'machine': torch.cuda.get_device_name() if DEVICE == 'cuda' else cpu,
        'torch': torch.__version__,
        'repeats': args.repeats,
    }
    names = ('tokens', 'channels', 'cells')
    rows = [
        {**dict(zip(names, stage, strict=True)), **measure(*stage, args.repeats)}
        for stage in STAGES
    ]
    lines = ['| tokens x channels | cells | one after another, ms | together, ms | ratio |']
    lines.append('|---' * 5 + '|')
    for row in rows:
        before, after = row['one after another'], row['together']
        lines.append(
            f'| {row["tokens"]:,} x {row["channels"]:,} | {row["cells"]} | {before:.1f} | '
            f'{after:.1f} | {after / before:.2f} |'
        )
    args.out.mkdir(parents=True, exist_ok=True)
    atomic_write(args.out / 'report.json', json.dumps({'header': header, 'rows': rows}).encode())
    atomic_write(args.out / 'report.md', '\n'.join([*lines, '']).encode())
    print(*lines, sep='\n')


if __name__ == '__main__':
    main()
