"""Error of a highway's gradients if the inputs of adapters are saved in fewer bits.

python benchmarks/saved_taps_error.py --out benchmarks/results/saved_taps_error

Relative error |g - g_float| / |g_float| over all trained weights of the backbone, with random trunk
weights, perturbed adapters (noise of 0.02 on every initial weight) and a random gradient for each
map, at 512 x 512, batch 1, float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from backbone_cost import DUAL, JOINED, NETS
from mmengine.registry import MODELS
from report_files import header, print_table, write_report
from rich.progress import track
from torch import Tensor

CELLS = {'published': dict(adapter=DUAL), 'joined': JOINED}
NOISE = 0.02


def gradient(net: str, cell: str, saved_taps: str, size: int) -> Tensor:
    """Return the gradients of all trained weights as one vector, with the same random numbers."""
    torch.manual_seed(0)
    config = dict(CELLS[cell], backbone=dict(NETS[net]), saved_taps=saved_taps)
    model = MODELS.build(dict(config, type='mmqadapter.HighwayBackbone')).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(NOISE * torch.randn_like(parameter))
    maps = model(torch.randn(1, 3, size, size))
    torch.autograd.backward(maps, [torch.randn_like(map_) for map_ in maps])
    return torch.cat([p.grad.flatten() for p in trained if p.grad is not None])


def measure(net: str, cell: str, size: int) -> list[dict]:
    """Return one row per compact format."""
    exact = gradient(net, cell, 'float', size)
    rows = []
    for saved_taps in ('half', 'int8'):
        difference = gradient(net, cell, saved_taps, size) - exact
        error = (difference.norm() / exact.norm()).item()
        rows.append({'net': net, 'cell': cell, 'saved_taps': saved_taps, 'relative_error': error})
    return rows


def main() -> None:
    """Measure all nets and cells, and print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', nargs='+', choices=NETS, default=['swin-t', 'swin-b'])
    parser.add_argument('--image-size', type=int, default=512, help='pixels')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    pairs = [(net, cell) for net in args.nets for cell in CELLS]
    rows = [row for pair in track(pairs) for row in measure(*pair, args.image_size)]
    head = header(__file__, image_size=args.image_size)
    table = '| net | cell | saved as | relative error of the gradient |\n|---|---|---|---|\n'
    for row in rows:
        table += f'| {row["net"]} | {row["cell"]} | {row["saved_taps"]} | '
        table += f'{100 * row["relative_error"]:.3f} % |\n'
    write_report(args.out, head, rows, table)
    print_table(table)


if __name__ == '__main__':
    main()
