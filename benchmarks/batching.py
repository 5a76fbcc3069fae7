"""Share of a training step that batched quantizers and batched parallel cells save.

python benchmarks/batching.py --out benchmarks/results/batching

A Swin alone, with forward, backward and AdamW at a learning rate of zero. Each row alternates one
kind of batching on and off, within one process; ratios are those of medians, off over on. With
quantizers off each layer quantizes its own weight when it uses it, and again if a call is
recomputed; with cells off each parallel cell updates the side stream by itself. Runs on a GPU if
there is one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.registry import MODELS
from report_files import header, print_table, write_report
from rich.progress import track

import mmqadapter  # noqa: F401
from mmqadapter.backbones import adapted, highway
from mmqadapter.highway import ParallelCell
from mmqadapter.quant import quantized_weights

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SWIN = dict(type='mmdet.SwinTransformer', window_size=7, drop_path_rate=0.0, init_cfg=None)
NETS = {
    'swin-t': dict(SWIN, embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'swin-b': dict(SWIN, embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
}
METHODS: dict[str, dict[str, Any]] = {
    'AdaptFormer in path': dict(
        type='mmqadapter.AdaptedBackbone', adapter=dict(type='AdaptFormer', width=64)
    ),
    'published highway': dict(
        type='mmqadapter.HighwayBackbone',
        adapter=dict(type='DualLowRankAdapter'),
        saved_taps='half',
    ),
    'joined highway': dict(
        type='mmqadapter.HighwayBackbone',
        adapter=dict(type='ConvAdapter', width=32),
        taps='stream',
        cell='JoinedCell',
        saved_taps='half',
    ),
}
ONE_BIT = dict(type='GaussianQuantizer', bits=1)


class Training:
    """Wrapped net with its optimizer, whose training steps are timed."""

    def __init__(self, net: str, method: str, size: int, batch: int) -> None:
        torch.manual_seed(0)
        config = dict(METHODS[method], backbone=NETS[net], quantizer=ONE_BIT)
        self.net = MODELS.build(config).to(DEVICE).train()
        self.images = torch.randn(batch, 3, size, size, device=DEVICE)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.0)

    def step(self) -> float:
        """Return the seconds of one step."""
        wait: Callable[[], Any] = torch.cuda.synchronize if DEVICE == 'cuda' else int
        wait()
        start = time.perf_counter()
        self.optimizer.zero_grad()
        maps = self.net(self.images)
        torch.autograd.backward(maps, [torch.ones_like(map_) for map_ in maps])
        self.optimizer.step()
        wait()
        return time.perf_counter() - start

    def forget(self) -> None:
        """Drop the quantized weights that an earlier step cached."""
        for _, quantizer, _ in quantized_weights(self.net):
            quantizer.cached.clear()


@contextmanager
def without_quantizers(training: Training) -> Iterator[None]:
    """Let each layer quantize its own weight."""
    training.forget()
    with (
        mock.patch.object(adapted, 'quantize_adapters'),
        mock.patch.object(highway, 'quantize_adapters'),
    ):
        yield


@contextmanager
def without_cells(training: Training) -> Iterator[None]:
    """Let each parallel cell update the side stream by itself."""
    with mock.patch.object(ParallelCell, 'update', return_value=None):
        yield


SWITCHES = {'quantizers': without_quantizers, 'cells': without_cells}


def measure(training: Training, switch: str, steps: int) -> dict[str, float]:
    """Return the median seconds of a step with a kind of batching on and off, and the ratio."""
    on, off = [], []
    for number in range(steps + 2):
        for _ in range(2):
            if (number + len(on) + len(off)) % 2:
                on.append(training.step())
            else:
                with SWITCHES[switch](training):
                    off.append(training.step())
    medians = {'on': statistics.median(on[2:]), 'off': statistics.median(off[2:])}
    return {**medians, 'ratio': medians['off'] / medians['on']}


def rows(nets: list[str], sizes: list[int], batch: int, steps: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each net, size, method and kind of batching that applies to it."""
    for net in nets:
        for size in sizes:
            for method in track(METHODS, description=f'{net} {size}'):
                training = Training(net, method, size, batch)
                for switch in SWITCHES:
                    if switch == 'cells' and method != 'published highway':
                        continue
                    seconds = measure(training, switch, steps)
                    yield dict(net=net, size=size, method=method, batching=switch, **seconds)


def table(measured: list[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = ['| net | pixels | method, 1 bit | batching of | s, on | off / on |', '|---' * 6 + '|']
    for row in measured:
        lines.append(
            f'| {row["net"]} | {row["size"]} | {row["method"]} | {row["batching"]} '
            f'| {row["on"]:.2f} | {row["ratio"]:.3f} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure all cases, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=list(NETS))
    parser.add_argument('--sizes', nargs='+', type=int, default=[224, 512])
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    measured = list(rows(args.nets, args.sizes, args.batch, args.steps))
    head = header(__file__, DEVICE, batch=args.batch, steps=args.steps)
    write_report(args.out, head, measured, table(measured))
    print_table(table(measured))


if __name__ == '__main__':
    main()
