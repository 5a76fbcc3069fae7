"""Memory, operations and bytes of the published training runs, foretold without a GPU.

python benchmarks/foretold.py --out benchmarks/results/foretold        # 20 minutes on two cores
python benchmarks/foretold.py --out DIR --models upernet_swin-l --methods full,highway

Peaks are those of all tensors of a step, without the context and the workspaces of a GPU. Times are
lower bounds by each card's peak speeds (roofline), so they are given over full fine-tuning only.
The published memory is that of the training logs that accompany Mona (arXiv 2408.08345): PyTorch's
peak of allocated bytes, which includes workspaces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from report_files import header, print_table, write_report
from rich.progress import track

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.methods import HIGHWAYS, Method, parse_methods
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.fits.run import quiet
from mmqadapter.studies.fits.search import needed_bytes
from mmqadapter.studies.foretell.op_costs import OpCosts
from mmqadapter.studies.foretell.step import OutlinedModel
from mmqadapter.studies.report.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
METHODS = 'full,full+checkpointing,frozen,partial1,adapter,adaptformer,lora,lorand,mona,highway,highway-joined'  # noqa: E501
HALF_TRUNK, INT8_TAPS = ', 16-bit trunk', ', int8 taps'
# Operations a second in float32 and in 16 bits with float32 sums, and bytes a second, as the vendor
# names them for dense matrices.
CARDS = {'RTX 4090': (82.6e12, 165.2e12, 1008e9), 'A100 40GB': (19.5e12, 312e12, 1555e9)}
ELEVEN = 11 * 2**30  # bytes of a GTX 1080 Ti


@dataclass(frozen=True)
class Run:
    """Published training run.

    Attributes:
        config: Config of the zoo.
        batch: Images of a GPU.
        image_size: Height and width in pixels.
        amp: Mixed precision.
        published: MiB of the released logs, by method.
    """

    config: str
    batch: int
    image_size: tuple[int, int]
    amp: bool
    published: dict[str, int]


RUNS = {
    'cascade-mask-rcnn_swin-b': Run(
        'cascade-mask-rcnn_swin-b_3x_coco.py', 2, (800, 1333), True, {}
    ),
    'retinanet_swin-l': Run(
        'retinanet_swin-l_voc0712.py', 1, (600, 1000), True,
        {'adaptformer': 4248, 'lora': 4581, 'adapter': 4626, 'mona': 5921},
    ),
    'upernet_swin-l': Run(
        'upernet_swin-l_160k_ade20k.py', 2, (512, 512), False, {'full': 18446, 'mona': 17493}
    ),
    'cascade-mask-rcnn_swin-l': Run(
        'cascade-mask-rcnn_swin-l_3x_coco.py', 2, (800, 1333), True, {}
    ),
}  # fmt: skip


def with_options(method: Method, name: str, **options: Any) -> Method:
    """Return the method with further arguments of its wrapper, and a name that says so."""
    return Method(method.name + name, method.bits, lambda net: {**method.change(net), **options})


def selected(names: str) -> list[Method]:
    """Return the methods, and highways also on a trunk of 16 bits, without and with int8 taps."""
    methods = parse_methods(names)
    highways = [m for m in methods if m.name.partition('@')[0] in HIGHWAYS]
    half = [with_options(m, HALF_TRUNK, trunk=dict(dtype='bfloat16')) for m in highways]
    return [*methods, *half, *(with_options(m, INT8_TAPS, saved_taps='int8') for m in half)]


def foretell(run: Run, method: Method) -> dict[str, Any]:
    """Return the row of a method."""
    cfg = load_config(str(ROOT / 'configs/zoo' / run.config), None)
    settings = Settings(torch.device('cuda'), run.batch, run.image_size).completed(cfg)
    settings = replace(settings, amp=run.amp)
    with quiet():
        model = OutlinedModel(plain_config(cfg, settings), method)
        with model.training(settings) as training, OpCosts() as costs:
            peak = training.peak_live_bytes()
    return {
        'method': method.name,
        'trained_bytes': model.trained_bytes,
        'peak_bytes': peak,
        'needed_bytes': needed_bytes(peak),
        'fits_11gb': needed_bytes(peak) <= ELEVEN,
        'published_mib': run.published.get(method.name),
        'flops': costs.flops,
        'moved_bytes': costs.bytes,
        'seconds': {card: costs.seconds(*speeds) for card, speeds in CARDS.items()},
    }


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with ratios to full fine-tuning in place of bounds on seconds."""
    by_name = {row['method']: row for row in rows}
    full = by_name.get('full')
    compared = []
    for row in rows:
        ratios: dict[str, Any] = {'memory_saving': None, 'time_over_full': None}
        if full is not None:
            ratios['memory_saving'] = 1 - row['peak_bytes'] / full['peak_bytes']
            ratios['time_over_full'] = {
                card: row['seconds'][card] / full['seconds'][card] for card in CARDS
            }
        compared.append({**{k: v for k, v in row.items() if k != 'seconds'}, **ratios})
    return compared


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    cards = ' | '.join(f'time over full, {card}' for card in CARDS)
    lines = [
        f'| method | peak, MiB | saved | published, MiB | in 11 GiB | TFLOP | GB moved | {cards} |',
        '|---' * (7 + len(CARDS)) + '|',
    ]
    for row in rows:
        saved, times = row['memory_saving'], row['time_over_full']
        cells = [
            row['method'],
            f'{row["peak_bytes"] / 2**20:,.0f}',
            '-' if saved is None else f'{saved:.1%}',
            '' if row['published_mib'] is None else f'{row["published_mib"]:,}',
            'yes' if row['fits_11gb'] else 'no',
            f'{row["flops"] / 1e12:.2f}',
            f'{row["moved_bytes"] / 1e9:.0f}',
            *('-' if times is None else f'{times[card]:.2f}' for card in CARDS),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Foretell all methods of all runs, and print and write a report for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=RUNS, default=list(RUNS))
    parser.add_argument('--methods', default=METHODS)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args(argv)
    for name in args.models:
        run, rows = RUNS[name], []
        head = header(
            __file__,
            config=run.config,
            batch=run.batch,
            image_size=run.image_size,
            precision='float16 (autocast)' if run.amp else 'float32',
        )
        for method in track(selected(args.methods), name):
            rows.append(foretell(run, method))
            table = markdown(compare(rows))
            write_report(args.out / name, head, compare(rows), table)
        print_table(table)


if __name__ == '__main__':
    main()
