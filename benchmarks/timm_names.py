"""Names of timm through TimmBackbone in our wrappers: the table of docs/compatibility.md.

python -m benchmarks.timm_names                      # all names that have no line yet
python -m benchmarks.timm_names vit_tiny_patch16_224 # these names, again
python -m benchmarks.timm_names --page               # only the page, from the results

Random weights, moved from where timm starts them, small images, deep nets cut to a few blocks.
"Works" means: the net starts equal to the bare one bit for bit, and once the adapters have moved,
two backward passes give every adapter parameter a finite gradient that is not zero, and no trunk
parameter any.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

import mmqadapter  # noqa: F401  (registers the wrappers)
from benchmarks.timm_names_list import NAMES

ROOT = Path(__file__).resolve().parent
RESULTS, PAGE = ROOT / 'results/timm_names.jsonl', ROOT.parent / 'docs/compatibility.md'
BEGIN, END = '<!-- made by benchmarks/timm_names.py -->', '<!-- end -->'
WORKS = 'works'
# The first that a net can be built with: the depth of a plain ViT is cut, other nets are whole.
CUTS: tuple[dict[str, Any], ...] = (
    dict(img_size=64, depth=2), dict(img_size=112, depth=2), dict(img_size=64), dict(),
)  # fmt: skip
DUAL = dict(type='DualLowRankAdapter', branches=2, rank=2)
METHODS: dict[str, dict[str, Any]] = {
    'AdaptFormer': dict(
        type='AdaptedBackbone', adapter=dict(type='AdaptFormer', width=4, dropout=0.0)
    ),
    'ConvAdapter': dict(type='AdaptedBackbone', adapter=dict(type='ConvAdapter', width=4)),
    'LoRA': dict(type='AdaptedBackbone', adapter=dict(type='LoRA', rank=2)),
    'highway': dict(type='HighwayBackbone', adapter=DUAL),
}
LOW_RANK = dict(METHODS['highway'], downsample='low-rank')
Row = dict[str, Any]


def run(name: str) -> Row:
    """Return what a name does in each method: ``works``, or the words of a refusal or a fault."""
    net = cut = None
    for cut in CUTS:
        try:
            net = build(name, cut)
            break
        except ValueError as error:
            words = str(error)
    if net is None:
        return {'name': name, 'refused': words}
    row = {'name': name, 'net': type(net.model).__name__, 'cut': cut}
    for method, config in METHODS.items():
        row[method] = outcome(net, dict(backbone=config_of(name, cut), **config))
    if "downsample='low-rank'" in row['highway']:
        low_rank = outcome(net, dict(backbone=config_of(name, cut), **LOW_RANK))
        row['highway'] = f"{low_rank}, with downsample='low-rank'"
    return row


def config_of(name: str, cut: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a net."""
    return dict(type='mmqadapter.TimmBackbone', model_name=name, **cut)


def build(name: str, cut: dict[str, Any]) -> Any:
    """Return the bare net in eval mode, frozen, with parameters that have moved."""
    torch.manual_seed(0)
    net = MODELS.build(config_of(name, cut))
    move(net.parameters())
    net.eval()
    return net.requires_grad_(False)


@torch.no_grad()
def move(parameters: Iterable[nn.Parameter]) -> None:
    """Move parameters that start at 0 or 1 as well."""
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters:
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)


def outcome(net: Any, config: dict[str, Any]) -> str:
    """Return what a net does in a wrapper."""
    try:
        wrapped: Any = MODELS.build(dict(config, type=f'mmqadapter.{config["type"]}'))
        wrapped.load_state_dict(net.state_dict(), strict=False)
        faults = list(find_faults(net, wrapped, image_for(config['backbone'])))
    except ValueError as error:
        return f'refused: {error}'
    return f'wrong: {"; ".join(faults)}' if faults else WORKS


def image_for(config: dict[str, Any]) -> Tensor:
    """Return an image of the size that a config names, or 224."""
    size = config.get('img_size', 224)
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))


def find_faults(net: nn.Module, wrapped: Any, image: Tensor) -> Iterator[str]:
    """Yield what is wrong with a wrapped net."""
    with torch.no_grad():
        if not all(map(torch.equal, wrapped(image), net(image))):
            yield 'it does not start as the bare net'
    wrapped.train()
    for _ in range(2):
        move(wrapped.adapters.parameters())
        wrapped.zero_grad()
        maps = wrapped(image)
        sum((m * torch.linspace(0, 1, m.numel()).view_as(m)).sum() for m in maps).backward()
    adapters = dict(wrapped.adapters.named_parameters())
    bad = [n for n, p in adapters.items() if p.grad is None or not _useful(p.grad)]
    if bad:
        yield f'{len(bad)} parameters without a gradient, such as {bad[0]}'
    if any(p.grad is not None for p in wrapped.trunk.parameters()):
        yield 'a gradient in the trunk'


def _useful(gradient: Tensor) -> bool:
    return bool(gradient.isfinite().all() and gradient.any())


def table(rows: Iterable[Row]) -> str:
    """Return the table of the page in Markdown."""
    rows = sorted(rows, key=lambda row: row['name'])
    accepted = [row for row in rows if 'net' in row and row['AdaptFormer'] == WORKS]
    both = [row for row in accepted if row['highway'].startswith(WORKS)]
    lines = [
        f'{len(rows)} names: {len(accepted)} work in path, {len(both)} of them on the highway too.',
        '', '| net of timm | names | AdaptFormer | ConvAdapter | LoRA | highway |',
        '|---|---|---|---|---|---|',
    ]  # fmt: skip
    groups: dict[tuple, list[str]] = {}
    for row in (row for row in rows if 'net' in row):
        words = tuple(_brief(row[method]) for method in METHODS)
        groups.setdefault((row['net'], *words), []).append(f'`{row["name"]}`')
    for (net, *words), names in sorted(groups.items()):
        lines.append(f'| {net} | {", ".join(names)} | {" | ".join(words)} |')
    refused = [f'`{row["name"]}`' for row in rows if 'refused' in row]
    return '\n'.join([*lines, '', f'Refused by name ({len(refused)}): {", ".join(refused)}.'])


def _brief(words: str) -> str:
    return 'no' if words.startswith('refused') else words


def read_rows() -> dict[str, Row]:
    """Return the results by name."""
    if not RESULTS.exists():
        return {}
    return {row['name']: row for row in map(json.loads, RESULTS.read_text().splitlines())}


def write(rows: dict[str, Row]) -> None:
    """Write results, in the order of their names, and the page."""
    RESULTS.write_text(''.join(json.dumps(rows[name]) + '\n' for name in sorted(rows)))
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f'{before}{BEGIN}\n\n{table(rows.values())}\n\n{END}{after}', encoding='utf-8')


def main() -> None:
    """Run the names that are asked for, or all that have no result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('names', nargs='*')
    parser.add_argument('--page', action='store_true', help='only write the page')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    rows = read_rows()
    names = [] if args.page else args.names or [name for name in NAMES if name not in rows]
    for name in names:
        rows[name] = run(name)
        write(rows)
        sys.stdout.write(f'{json.dumps(rows[name])}\n')
        sys.stdout.flush()
    write(rows)
    print(Counter(_brief(row.get('highway', 'no')) for row in rows.values()))


if __name__ == '__main__':
    main()
