"""Linear layers of a Swin-B on a CPU, stock against packed weights: GFLOPS in float32 and bfloat16.

python benchmarks/prepacked_linear.py --out benchmarks/results/prepacked_linear

A thousand tokens a call, as MLPs in pieces have them, no gradients. Ways take turns; the time of
each is its best, since what disturbs a machine only adds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from copy import deepcopy
from datetime import date
from pathlib import Path

import torch
from torch import Tensor, nn

from mmqadapter.backbones.acceleration.prepacked_linear import prepack_weights
from mmqadapter.utils.atomic import atomic_write

TOKENS = 1024
SHAPES = tuple(
    shape for c in (128, 256, 512, 1024) for shape in ((c, 3 * c), (c, 4 * c), (4 * c, c))
)
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def seconds(layer: nn.Module, x: Tensor) -> float:
    """One call."""
    start = time.perf_counter()
    layer(x)
    return time.perf_counter() - start


@torch.no_grad()
def measure(inputs: int, outputs: int, repeats: int) -> dict[str, float]:
    """GFLOPS of each way."""
    layers, tokens = {}, {}
    for name, dtype in DTYPES.items():
        stock = nn.Linear(inputs, outputs).to(dtype).requires_grad_(False)
        packed = deepcopy(stock)
        prepack_weights(packed)
        layers |= {name: stock, f'{name}, packed': packed}
        tokens |= dict.fromkeys((name, f'{name}, packed'), torch.randn(TOKENS, inputs).to(dtype))
    turns = [{n: seconds(one, tokens[n]) for n, one in layers.items()} for _ in range(repeats)]
    work = 2e-9 * TOKENS * inputs * outputs
    return {name: work / min(turn[name] for turn in turns) for name in layers}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    header = {
        'script': 'benchmarks/prepacked_linear.py',
        'date': date.today().isoformat(),
        'machine': f'{platform.machine()} CPU, {os.cpu_count()} cores',
        'torch': torch.__version__,
        'repeats': args.repeats,
    }
    rows = [{'inputs': i, 'outputs': o, **measure(i, o, args.repeats)} for i, o in SHAPES]
    ways = list(rows[0])[2:]
    lines = [f'| inputs -> outputs | {" | ".join(ways)} |', '|---' * (1 + len(ways)) + '|']
    for row in rows:
        speeds = ' | '.join(f'{row[way]:.0f}' for way in ways)
        lines.append(f'| {row["inputs"]:,} -> {row["outputs"]:,} | {speeds} |')
    args.out.mkdir(parents=True, exist_ok=True)
    atomic_write(args.out / 'report.json', json.dumps({'header': header, 'rows': rows}).encode())
    atomic_write(args.out / 'report.md', '\n'.join([*lines, '']).encode())
    print(*lines, sep='\n')


if __name__ == '__main__':
    main()
