"""CPU time of a quantizer's forward and backward, over that with PyTorch's general operations.

python benchmarks/quantizer_step.py --out benchmarks/results/quantizer_step

The general operations are ``torch.std_mean``, ``torch.bucketize`` and indexing of the levels, in
place of what the quantizer computes; the gradient is the same formula, written with one operation
for each term. Both take turns; each time is the minimum, because disturbances only add to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report_files import header, print_table, write_report
from torch import Tensor

from mmqadapter.quant import BITS, GaussianQuantizer, gaussian_codebook

SHAPE = (256, 2048)
EPSILON = 1e-5


class General(torch.autograd.Function):
    """The quantizer's formula, one mean and deviation per output channel."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, levels: Tensor, thresholds: Tensor) -> Tensor:
        """Return the quantized weight."""
        std, mean = torch.std_mean(weight, 1, keepdim=True)
        codes = torch.bucketize((weight - mean) / (std + EPSILON), thresholds, out_int32=True)
        ctx.save_for_backward(weight, mean, std, codes.to(torch.uint8), levels)
        return levels[codes] * std + mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the weight."""
        (grad,), (weight, mean, std, codes, levels) = grads, ctx.saved_tensors
        centered, count = weight - mean, weight.shape[1]
        ratio = std / (std + EPSILON)
        residual = levels[codes.int()] - ratio * centered / (std + EPSILON)
        through_std = (grad * residual).sum(1, keepdim=True) * centered / ((count - 1) * std)
        through_mean = (1 - ratio) * grad.mean(1, keepdim=True)
        return ratio * grad + through_std + through_mean, None, None


def seconds(compute: Callable[[Tensor], Tensor], weight: Tensor) -> float:
    """Return the CPU seconds of a forward and a backward pass."""
    start = time.process_time()
    compute(weight).sum().backward()
    return time.process_time() - start


def measure(bits: int, repeats: int) -> dict[str, Any]:
    """Return milliseconds of both, after a check that they agree."""
    levels, thresholds = (value.float() for value in gaussian_codebook(bits))
    weight = torch.randn(SHAPE, requires_grad=True)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        'general': lambda value: General.apply(value, levels, thresholds),
        'quantizer': GaussianQuantizer(bits, granularity='channel').train(),
    }
    # A value on the border of two levels may take either.
    difference = (ways['quantizer'](weight) - ways['general'](weight)).abs()
    assert float((difference > 1e-5).float().mean()) < 1e-4
    rounds = [{name: seconds(way, weight) for name, way in ways.items()} for _ in range(repeats)]
    best = {name: 1e3 * min(times[name] for times in rounds) for name in ways}
    return {'bits': bits, **best, 'over general': best['quantizer'] / best['general']}


def main() -> None:
    """Measure each number of bits, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=40)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(bits, args.repeats) for bits in BITS]
    lines = ['| bits | general, ms | quantizer, ms | over general |', '|---|---|---|---|']
    lines += [
        f'| {row["bits"]} | {row["general"]:.1f} | {row["quantizer"]:.1f} | '
        f'{row["over general"]:.2f} |'
        for row in rows
    ]
    text = '\n'.join(lines) + '\n'
    write_report(args.out, header(__file__, shape=SHAPE, repeats=args.repeats), rows, text)
    print_table(text)


if __name__ == '__main__':
    main()
