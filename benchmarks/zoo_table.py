"""Tables of docs/zoo.md: trainable parameters and task file of each method in each config.

python benchmarks/zoo_table.py          # builds every model without weights: about 15 minutes
python benchmarks/zoo_table.py --tables # only the tables, from the stored counts

The counts are stored in benchmarks/results/zoo/sizes.json; no network and no data are needed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.methods import (
    KNOWN,
    RECOMPUTED,
    WITH_ADAPTERS,
    Method,
    parse_methods,
)
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.benchmark.sizes import count_sizes
from mmqadapter.studies.report.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SIZES = ROOT / 'benchmarks/results/zoo/sizes.json'
PAGE = ROOT / 'docs/zoo.md'
BEGIN, END = '<!-- made by benchmarks/zoo_table.py -->', '<!-- end -->'
COSTS = ROOT / 'benchmarks/results/cpu_report'  # one report per measured model
SHIPPED, MEASURED = 'as shipped', 'highway-joined@1'
# Trainable parameters of the backbone depend only on the trunk.
TRUNKS = {
    'Swin-T': 'upernet_swin-t_160k_ade20k',
    'Swin-B': 'upernet_swin-b_160k_ade20k',
    'Swin-L': 'upernet_swin-l_160k_ade20k',
    'ViT-B': 'upernet_vit-b_160k_ade20k',
}
Sizes = dict[str, dict[str, dict[str, Any]]]  # by config and method


def count_all() -> Sizes:
    """Return the sizes of every method in every config of the zoo."""
    return {path.stem: count(path) for path in sorted(ROOT.glob('configs/zoo/*.py'))}


def count(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sizes of the config as shipped, and of every method in it."""
    cfg = load_config(path)
    wrapper = {k: v for k, v in cfg.model.backbone.to_dict().items() if k != 'backbone'}
    shipped = Method(SHIPPED, None, lambda net: {**wrapper, 'backbone': net})
    settings = Settings(torch.device('cpu'), real_data=True)  # no images are generated
    builder = ModelBuilder(plain_config(cfg, settings), seed=0)
    counts = {}
    for method in [shipped, *methods()]:
        sizes = count_sizes(builder.build(method), builder.plain_bytes)
        counts[method.name] = asdict(sizes)
        print(path.stem, method.name, counts[method.name], flush=True)
    return counts


def methods() -> list[Method]:
    """Return the methods of tools/benchmark.py at 32 bits, and the highways also at 1 bit."""
    names = [name for name in KNOWN if name != RECOMPUTED]
    quantized = [f'{name}@1' for name in WITH_ADAPTERS if name.startswith('highway')]
    return parse_methods(','.join([*names, *quantized]))


def tables(sizes: Sizes) -> str:
    """Return the three tables in Markdown."""
    parts = [
        overview(sizes),
        'Trainable parameters in the backbone:',
        by_method(
            {trunk: sizes[config] for trunk, config in TRUNKS.items()},
            lambda row: f'{row["trainable_backbone_params"]:,}',
        ),
        'Task file, MB (`full`: the whole model):',
        by_method(sizes, lambda row: f'{row["task_bytes"] / 1e6:.1f}'),
    ]
    return '\n\n'.join(parts)


def overview(sizes: Sizes) -> str:
    """Return a table with one line per config as shipped."""
    lines = [
        '| launch | trains in the backbone | trains in all | adapters, bytes | task file, bytes | '
        f'activation memory and step on a CPU, {MEASURED} / full fine-tuning |',
        '|---|---|---|---|---|---|',
    ]
    for config, rows in sizes.items():
        row = rows[SHIPPED]
        numbers = [
            f'{row[key]:,}'
            for key in (
                'trainable_backbone_params', 'trainable_params', 'adapter_bytes', 'task_bytes',
            )
        ]  # fmt: skip
        launch = f'`python tools/train.py configs/zoo/{config}.py`'
        lines.append(f'| {" | ".join([launch, *numbers, cost(config)])} |')
    return '\n'.join(lines)


def cost(config: str) -> str:
    """Return memory and time of a config of the zoo, if its model was measured."""
    reports = [path for path in COSTS.glob('*/report.json') if config.startswith(path.parent.name)]
    if not reports:
        return 'not yet measured'
    rows = {row['method']: row for row in json.loads(reports[0].read_text())['rows']}
    pair = [rows[method] for method in (MEASURED, 'full')]
    memory = ' / '.join(f'{row["saved_for_backward_bytes"] / 1e6:,.0f}' for row in pair)
    seconds = ' / '.join(f'{row["step_seconds"]:.1f}' for row in pair)
    return f'{memory} MB, {seconds} s'


def by_method(columns: Sizes, cell: Callable[[dict[str, Any]], str]) -> str:
    """Return a table with a line per method and a column for each of ``columns``."""
    lines = [f'| method | {" | ".join(columns)} |', '|---' * (len(columns) + 1) + '|']
    for method in next(iter(columns.values())):
        if method != SHIPPED:
            cells = [cell(rows[method]) for rows in columns.values()]
            lines.append(f'| {method} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    """Count the sizes, and insert the tables into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--tables', action='store_true', help='use the stored counts')
    if not parser.parse_args().tables:
        os.environ.pop('MMQADAPTER_METHOD', None)
        SIZES.parent.mkdir(parents=True, exist_ok=True)
        SIZES.write_text(json.dumps(count_all(), indent=1) + '\n')
    page = PAGE.read_text(encoding='utf-8')
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    text = tables(json.loads(SIZES.read_text()))
    PAGE.write_text(f'{before}{BEGIN}\n\n{text}\n\n{END}{after}', encoding='utf-8')


if __name__ == '__main__':
    main()
