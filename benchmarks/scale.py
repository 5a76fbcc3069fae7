"""What data-parallel training sends and holds: measured for one rank, planned for many.

python benchmarks/scale.py --out benchmarks/results/scale

One process, one DDP rank over gloo: a communication hook counts the bytes of gradients that a step
hands over, and autograd those that it keeps for backward, on one image in float32. From these the
plan follows: a ring all-reduce sends and receives 2 (n - 1) / n of them on each of n ranks, however
many there are, and a rank holds weights, gradients, AdamW's two moments, and what is kept for its
images.

A ViT-g of full depth needs more memory than small machines have. Its blocks are alike, so each of
these counts grows by the same number of bytes with each block: three shallow nets are measured, the
third proves that it is so, and the deep one follows exactly.
"""

import argparse
import json
import os
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
from backbone_cost import METHODS, NETS
from mmengine.registry import MODELS
from rich.console import Console
from rich.progress import track
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from mmqadapter.utils.accounting import saved_for_backward


class Case(NamedTuple):
    """A net on images of a size in pixels; its depth where that follows from shallow ones."""

    net: str
    size: int
    depth: int | None = None


SHALLOW = (4, 5, 6)
CASES = (Case('swin-l', 512), Case('vit-g', 518, depth=40))
RANKS = (8, 64, 512)
GIGA = 1e9
Bytes = dict[str, int]


def net_config(case: Case, depth: int | None) -> dict:
    """Config of the net; a ViT-g of ``depth`` blocks gives four maps, as the deep one does."""
    if depth is None:
        return dict(NETS[case.net])
    return dict(
        type='mmqadapter.TimmBackbone',
        model_name='vit_giant_patch14_dinov2',
        img_size=case.size,
        depth=depth,
        out_indices=(0, 1, 2, depth - 1),
        drop_path_rate=0.0,
    )


class SentBytes:
    """Communication hook that counts what it is given, and sends it as DDP would."""

    def __init__(self) -> None:
        self.total = 0

    def hook(self, state: None, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        """Mean of a bucket of gradients over all ranks; DDP checks these annotations."""
        self.total += bucket.buffer().nbytes
        work = distributed.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(_first)


def _first(future: torch.futures.Future) -> Tensor:
    return future.value()[0]


def measure(case: Case, method: str) -> dict[str, str | int]:
    """Bytes of one rank with one image."""
    if case.depth is None:
        counted = measure_net(METHODS[method](net_config(case, None)), case.size)
    else:
        shallow = [METHODS[method](net_config(case, depth)) for depth in SHALLOW]
        counted = deep([measure_net(config, case.size) for config in shallow], case.depth)
    return {'net': case.net, 'size': case.size, 'method': method, **counted}


def deep(shallow: list[Bytes], depth: int) -> Bytes:
    """Extrapolate the figures of a net of ``depth`` blocks from nets of ``SHALLOW`` blocks."""
    first, second, third = shallow
    for name in first:
        assert third[name] - second[name] == second[name] - first[name], f'{name} is not linear'
    more = depth - SHALLOW[0]
    return {name: first[name] + more * (second[name] - first[name]) for name in first}


def measure_net(config: dict, size: int) -> Bytes:
    """Bytes of a net: weights, those that train, those that a step sends and keeps."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.train()
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    parallel, sent = DistributedDataParallel(model), SentBytes()
    parallel.register_comm_hook(None, sent.hook)
    with saved_for_backward(model) as kept:
        maps = parallel(torch.randn(1, 3, size, size))
    torch.autograd.backward(
        [one for one in maps if one.requires_grad],
        [torch.ones_like(one) for one in maps if one.requires_grad],
    )
    assert sent.total == trained, f'{sent.total:,} bytes were sent, {trained:,} train'
    return {
        'weight_bytes': sum(p.nbytes for p in model.parameters()),
        'trained_bytes': trained,
        'sent_bytes': sent.total,
        'kept_bytes': kept.total,
    }


def planned(row: dict, ranks: int) -> float:
    """Bytes that a rank sends in a step, and receives, in a ring all-reduce."""
    return 2 * (ranks - 1) / ranks * row['sent_bytes']


def held(row: dict) -> int:
    """Bytes that a rank holds besides what it keeps for images: weights, gradients, moments."""
    return row['weight_bytes'] + 3 * row['trained_bytes']


def markdown(rows: list[dict]) -> str:
    """Return the plan; ranks differ only in what they send."""
    ranks = ' | '.join(f'sent by a rank of {n}, MB' for n in RANKS)
    lines = [
        f'| net | method | weights, optimiser, GB | kept an image, GB | gradients, MB | {ranks} |',
        '|---' * (5 + len(RANKS)) + '|',
    ]
    for row in rows:
        kept = f'{row["kept_bytes"] / GIGA:.2f}'
        sent = ' | '.join(f'{planned(row, n) / 1e6:,.1f}' for n in RANKS)
        lines.append(
            f'| {row["net"]}, {row["size"]} px | {row["method"]} | {held(row) / GIGA:.2f} | {kept} '
            f'| {row["sent_bytes"] / 1e6:,.1f} | {sent} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure, plan, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    methods = ['full', 'adaptformer-64', 'highway, half', 'joined cell, half', 'joined cell, 1 bit']
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=methods)
    parser.add_argument('--nets', nargs='+', default=[case.net for case in CASES])
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29877')
    distributed.init_process_group('gloo', rank=0, world_size=1)
    cases = [(case, method) for case in CASES if case.net in args.nets for method in args.methods]
    rows = [measure(*case) for case in track(cases)]
    distributed.destroy_process_group()
    header = {
        'script': 'benchmarks/scale.py', 'date': date.today().isoformat(),
        'torch': torch.__version__, 'precision': 'float32', 'ranks': RANKS,
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'report.json').write_text(json.dumps({'header': header, 'rows': rows}, indent=1))
    (args.out / 'report.md').write_text(markdown(rows))
    Console().print(markdown(rows), markup=False, soft_wrap=True)


if __name__ == '__main__':
    main()
