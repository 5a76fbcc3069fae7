"""GFLOPS of the linear layers of a Swin-B on a CPU, with and without prepacked weights.

python benchmarks/prepacked_linear.py --out benchmarks/results/prepacked_linear

A call has a thousand tokens, as in a chunked MLP, and computes no gradients. Variants are measured
in rounds; each time is the minimum, because disturbances of a machine only add to it.
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from pathlib import Path

import torch
from report_files import header, print_table, write_report
from torch import Tensor, nn

from mmqadapter.backbones.acceleration.prepacked_linear import prepack_weights

TOKENS = 1024
SHAPES = tuple(
    shape for c in (128, 256, 512, 1024) for shape in ((c, 3 * c), (c, 4 * c), (4 * c, c))
)
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def seconds(layer: nn.Module, x: Tensor) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    layer(x)
    return time.perf_counter() - start


@torch.no_grad()
def measure(inputs: int, outputs: int, repeats: int) -> dict[str, float]:
    """Return the GFLOPS of each variant."""
    layers, tokens = {}, {}
    for name, dtype in DTYPES.items():
        stock = nn.Linear(inputs, outputs).to(dtype).requires_grad_(False)
        prepacked = deepcopy(stock)
        prepack_weights(prepacked)
        layers |= {name: stock, f'{name}, packed': prepacked}
        tokens |= dict.fromkeys((name, f'{name}, packed'), torch.randn(TOKENS, inputs).to(dtype))
    rounds = [
        {name: seconds(layer, tokens[name]) for name, layer in layers.items()}
        for _ in range(repeats)
    ]
    work = 2e-9 * TOKENS * inputs * outputs
    return {name: work / min(times[name] for times in rounds) for name in layers}


def main() -> None:
    """Measure all layers, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=30)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    head = header(__file__, repeats=args.repeats)
    rows = [{'inputs': i, 'outputs': o, **measure(i, o, args.repeats)} for i, o in SHAPES]
    names = list(rows[0])[2:]
    heads = [name.replace('packed', 'prepacked') for name in names]
    lines = [f'| inputs -> outputs | {" | ".join(heads)} |', '|---' * (1 + len(heads)) + '|']
    for row in rows:
        speeds = ' | '.join(f'{row[name]:.0f}' for name in names)
        lines.append(f'| {row["inputs"]:,} -> {row["outputs"]:,} | {speeds} |')
    write_report(args.out, head, rows, '\n'.join([*lines, '']))
    print_table('\n'.join([*lines, '']))


if __name__ == '__main__':
    main()
