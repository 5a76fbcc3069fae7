"""Time of a frozen MLP on a CPU that is computed in chunks of tokens, by the size of a chunk.

python benchmarks/chunk_size.py --out benchmarks/results/chunk_size

MLPs of the four stages of a Swin-B at 512 x 512, batch 2, float32, no gradients. Sizes are measured
in rounds; each time is the minimum, because disturbances of a machine only add to it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from report_files import header, print_table, write_report
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import chunked
from mmqadapter.backbones.acceleration.chunked import run_chunked

STAGES = ((32768, 128), (8192, 256), (2048, 512), (512, 1024))
SIZES = (256, 512, 1024, 2048, 4096)


def mlp(channels: int) -> nn.Module:
    """Build a frozen MLP, four times as wide inside, that is computed in chunks."""
    layers = nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
    net = nn.Sequential(*layers).requires_grad_(False)
    run_chunked([net])
    return net


def seconds(net: nn.Module, x: Tensor, size: int) -> float:
    """Return the seconds of one call in chunks of ``size`` tokens."""
    chunked.CHUNK = size
    start = time.perf_counter()
    net(x)
    return time.perf_counter() - start


def measure(tokens: int, channels: int, repeats: int) -> dict[str, float]:
    """Return the time with each chunk size, relative to that without chunks."""
    net, x = mlp(channels), torch.randn(2, tokens // 2, channels)
    sizes = (tokens, *(size for size in SIZES if size < tokens))
    rounds = [[seconds(net, x, size) for size in sizes] for _ in range(repeats)]
    unchunked, *chunks = (min(times) for times in zip(*rounds, strict=True))
    return {str(size): best / unchunked for size, best in zip(sizes[1:], chunks, strict=True)}


def main() -> None:
    """Measure all stages, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    head = header(__file__, repeats=args.repeats)
    rows = [{'tokens': n, 'channels': c, **measure(n, c, args.repeats)} for n, c in STAGES]
    lines = [f'| tokens x channels | {" | ".join(map(str, SIZES))} |', '|---' * 6 + '|']
    for row in rows:
        shares = (f'{row[str(size)]:.2f}' if str(size) in row else '' for size in SIZES)
        lines.append(f'| {row["tokens"]:,} x {row["channels"]:,} | {" | ".join(shares)} |')
    write_report(args.out, head, rows, '\n'.join([*lines, '']))
    print_table('\n'.join([*lines, '']))


if __name__ == '__main__':
    main()
