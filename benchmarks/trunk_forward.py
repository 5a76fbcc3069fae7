"""Time, memory and error of the forward of a frozen trunk, for each way to accelerate it.

python benchmarks/trunk_forward.py --out benchmarks/results/trunk_forward

All ways have the same random weights and compute no gradients. They are measured in rounds within
one process, so that a change of the machine's speed affects all of them alike; seconds are medians.
The error is that of the worst map compared with the stock net in float32, relative to the map's
norm. Runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from report_files import header, print_table, write_report
from rich.progress import track
from torch import Tensor

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.utils.accounting import stored_weights

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SWIN = dict(type='mmdet.SwinTransformer', window_size=7, drop_path_rate=0.0, init_cfg=None)
VIT = dict(out_indices=(2, 5, 8, 11), drop_path_rate=0.0)
NETS = {
    'swin-t': dict(SWIN, embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'swin-b': dict(SWIN, embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'swin-l': dict(SWIN, embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
    'vit-b': dict(VIT, type='mmseg.VisionTransformer', img_size=(512, 512), init_cfg=None),
    'timm-vit-b': dict(VIT, type='mmqadapter.TimmBackbone', model_name='vit_base_patch16_224'),
    'timm-swin-b': dict(
        type='mmqadapter.TimmBackbone',
        model_name='swin_base_patch4_window7_224',
        drop_path_rate=0.0,
    ),
}
STOCK, AUTOCAST = 'stock', 'stock, bfloat16 autocast'
WAYS: dict[str, dict] = {
    STOCK: {},
    AUTOCAST: {},
    'fused': dict(attention='fused'),
    'fused, chunked': dict(attention='fused', mlp='chunked'),
    'fused, chunked, prepacked': dict(attention='fused', mlp='chunked', prepacked=True),
    'prepacked': dict(prepacked=True),
    'bfloat16': dict(dtype='bfloat16'),
    'bfloat16, fused': dict(dtype='bfloat16', attention='fused'),
    'bfloat16, fused, chunked': dict(dtype='bfloat16', attention='fused', mlp='chunked'),
    'bfloat16, fused, chunked, prepacked': dict(
        dtype='bfloat16', attention='fused', mlp='chunked', prepacked=True
    ),
    'int8': dict(dtype='int8'),
    'int8, fused': dict(dtype='int8', attention='fused'),
}


class Measured:
    """Trunk with one way of acceleration, whose forward is measured."""

    def __init__(self, way: str, config: dict, images: Tensor) -> None:
        torch.manual_seed(0)
        # Without options this is the stock net, frozen and in eval mode.
        self.net = FrozenBackbone(dict(config), trunk=WAYS[way]).to(DEVICE)
        self.images, self.autocast = images, way == AUTOCAST
        self.seconds: list[float] = []

    def step(self) -> list[Tensor]:
        """Time one forward, and return the maps in float32."""
        wait: Callable[[], None] = torch.cuda.synchronize if DEVICE == 'cuda' else _nothing
        wait()
        start = time.perf_counter()
        with torch.no_grad(), self._context():
            maps = self.net(self.images)
        wait()
        self.seconds.append(time.perf_counter() - start)
        return [map_.float() for map_ in maps]

    def megabytes(self) -> float:
        """Return the size of the parameters, or of the codes in their place, in MB."""
        return sum(t.nbytes for t in stored_weights(self.net)) / 1e6

    def peak_megabytes(self) -> float | None:
        """Return the GPU memory in MB that a forward needs in addition; None on a CPU."""
        if DEVICE == 'cpu':
            return None
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self.step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6

    def _context(self) -> AbstractContextManager:
        return torch.autocast(DEVICE, torch.bfloat16) if self.autocast else nullcontext()


def measure(net: str, args: argparse.Namespace) -> list[dict]:
    """Return one row per way."""
    images = torch.randn(args.batch, 3, args.size, args.size, device=DEVICE)
    trunks = {way: Measured(way, NETS[net], images) for way in args.ways}
    maps = {way: trunk.step() for way, trunk in trunks.items()}
    peaks = {way: trunk.peak_megabytes() for way, trunk in trunks.items()}
    for trunk in trunks.values():
        trunk.seconds.clear()
    for _ in track(range(args.warm_up + args.steps), net):
        for trunk in trunks.values():
            trunk.step()
    medians = {way: statistics.median(t.seconds[args.warm_up :]) for way, t in trunks.items()}
    return [
        {
            'net': net,
            'way': way,
            'seconds': medians[way],
            'over_stock': medians[way] / medians[STOCK],
            'parameters_mb': trunk.megabytes(),
            'peak_mb': peaks[way],
            'error': error(maps[way], maps[STOCK]),
        }
        for way, trunk in trunks.items()
    ]


def error(maps: list[Tensor], exact: list[Tensor]) -> float:
    """Return the relative error of the worst map."""
    pairs = zip(maps, exact, strict=True)
    return max(float((map_ - best).norm() / best.norm()) for map_, best in pairs)


def markdown(rows: list[dict]) -> str:
    """Return the table in Markdown."""
    lines = [
        '| net | way | forward, s | over stock | parameters, MB | peak, MB | error of the maps |',
        '|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        peak = '-' if row['peak_mb'] is None else f'{row["peak_mb"]:.0f}'
        lines.append(
            f'| {row["net"]} | {row["way"]} | {row["seconds"]:.4f} | {row["over_stock"]:.3f} | '
            f'{row["parameters_mb"]:.0f} | {peak} | {row["error"]:.1e} |'
        )
    return '\n'.join(lines) + '\n'


def _nothing() -> None:
    """Do nothing: a CPU needs no synchronization."""


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    nets = ['swin-t', 'swin-b', 'swin-l', 'vit-b']
    parser.add_argument('--nets', nargs='+', choices=NETS, default=nets)
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS))
    parser.add_argument('--size', type=int, default=512, help='pixels, both sides')
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--warm-up', type=int, default=5)
    parser.add_argument('--out', type=Path, required=True, help='folder of report.json and .md')
    args = parser.parse_args()
    args.ways = list(dict.fromkeys([STOCK, *args.ways]))  # always included, for comparison
    return args


def main() -> None:
    """Measure all nets, write the report after each, and print it."""
    args = parse()
    head = header(
        __file__,
        DEVICE,
        size=args.size,
        batch=args.batch,
        steps=args.steps,
        warm_up=args.warm_up,
    )
    rows: list[dict] = []
    for net in args.nets:
        rows += measure(net, args)
        write_report(args.out, head, rows, markdown(rows))
    print_table(markdown(rows))


if __name__ == '__main__':
    main()
