"""Traffic and memory of data-parallel training: measured for one rank, computed for many.

python benchmarks/scale.py --out benchmarks/results/scale

One process is one DDP rank over gloo. A communication hook counts the gradient bytes that a step
sends, and autograd the activation memory (saved for backward), for one image in float32. From this
follow the numbers for n ranks: a ring all-reduce sends and receives 2 (n - 1) / n of the gradient
bytes on each rank, and the memory of a rank consists of weights, gradients, the two moments of
AdamW, and the activation memory of its images.

A ViT-g of full depth needs more memory than small machines have. Its blocks are alike, so that each
of these counts grows by the same number of bytes with each block: three shallow nets are measured,
the third confirms the growth, and the counts of the deep net follow exactly.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import torch
from backbone_cost import METHODS, NETS
from mmengine.registry import MODELS
from report_files import header, print_table, write_report
from rich.progress import track
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from mmqadapter.utils.accounting import saved_for_backward


class Case(NamedTuple):
    """Net and image size in pixels; with a depth, the counts are computed from shallow nets."""

    net: str
    size: int
    depth: int | None = None


SHALLOW = (4, 5, 6)
CASES = (Case('swin-l', 512), Case('vit-g', 518, depth=40))
RANKS = (8, 64, 512)
GIGA = 1e9
Bytes = dict[str, int]


def net_config(case: Case, depth: int | None) -> dict:
    """Return the config of the net; a ViT-g of ``depth`` blocks has four maps like the deep one."""
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
    """Communication hook that counts the bytes of gradients and reduces them as DDP does."""

    def __init__(self) -> None:
        self.total = 0

    def hook(self, state: None, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        """Reduce a bucket of gradients over all ranks; DDP requires these annotations."""
        self.total += bucket.buffer().nbytes
        work = distributed.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(_first)


def _first(future: torch.futures.Future) -> Tensor:
    return future.value()[0]


def measure(case: Case, method: str) -> dict[str, str | int]:
    """Return the byte counts of one rank with one image."""
    if case.depth is None:
        counts = measure_net(METHODS[method](net_config(case, None)), case.size)
    else:
        shallow = [METHODS[method](net_config(case, depth)) for depth in SHALLOW]
        counts = extrapolate([measure_net(config, case.size) for config in shallow], case.depth)
    return {'net': case.net, 'size': case.size, 'method': method, **counts}


def extrapolate(shallow: list[Bytes], depth: int) -> Bytes:
    """Return the counts of a net of ``depth`` blocks, from those of ``SHALLOW`` blocks."""
    first, second, third = shallow
    for name in first:
        assert third[name] - second[name] == second[name] - first[name], f'{name} is not linear'
    added = depth - SHALLOW[0]
    return {name: first[name] + added * (second[name] - first[name]) for name in first}


def measure_net(config: dict, size: int) -> Bytes:
    """Count the bytes of a net: weights, trained weights, sent gradients, activation memory."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.train()
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    parallel, sent = DistributedDataParallel(model), SentBytes()
    parallel.register_comm_hook(None, sent.hook)
    with saved_for_backward(model) as saved:
        maps = parallel(torch.randn(1, 3, size, size))
    trained_maps = [map_ for map_ in maps if map_.requires_grad]
    torch.autograd.backward(trained_maps, [torch.ones_like(map_) for map_ in trained_maps])
    assert sent.total == trained, f'{sent.total:,} bytes were sent, expected {trained:,}'
    return {
        'weight_bytes': sum(p.nbytes for p in model.parameters()),
        'trained_bytes': trained,
        'sent_bytes': sent.total,
        'saved_for_backward_bytes': saved.total,
    }


def bytes_sent(row: dict, ranks: int) -> float:
    """Return the bytes that a rank sends, and receives, in the ring all-reduce of a step."""
    return 2 * (ranks - 1) / ranks * row['sent_bytes']


def state_bytes(row: dict) -> int:
    """Return the bytes of weights, gradients and moments on a rank."""
    return row['weight_bytes'] + 3 * row['trained_bytes']


def markdown(rows: list[dict]) -> str:
    """Return the table in Markdown; the number of ranks affects only what a rank sends."""
    ranks = ' | '.join(f'sent by a rank of {n}, MB' for n in RANKS)
    lines = [
        '| net | method | weights, optimizer, GB | activation memory per image, GB '
        f'| gradients, MB | {ranks} |',
        '|---' * (5 + len(RANKS)) + '|',
    ]
    for row in rows:
        state, activations = state_bytes(row) / GIGA, row['saved_for_backward_bytes'] / GIGA
        sent = ' | '.join(f'{bytes_sent(row, n) / 1e6:,.1f}' for n in RANKS)
        lines.append(
            f'| {row["net"]}, {row["size"]} px | {row["method"]} | {state:.2f} '
            f'| {activations:.2f} | {row["sent_bytes"] / 1e6:,.1f} | {sent} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Measure all cases, and print and write the report."""
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
    head = header(__file__, precision='float32', ranks=RANKS)
    write_report(args.out, head, rows, markdown(rows))
    print_table(markdown(rows))


if __name__ == '__main__':
    main()
