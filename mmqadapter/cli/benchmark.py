"""Measure what tuning methods cost: python tools/benchmark.py CONFIG --methods LIST --out DIR."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from mmqadapter.cli.common import add_config_options, add_render, user_errors
from mmqadapter.engine.runner import load_config
from mmqadapter.inference.model import choose_device
from mmqadapter.studies.benchmark.methods import KNOWN, parse_methods
from mmqadapter.studies.benchmark.report import live_report, rebuild_report, write_report
from mmqadapter.studies.benchmark.run import run_benchmark
from mmqadapter.studies.report.settings import Settings, parse_bytes

METHODS = 'full,full+checkpointing,frozen,partial1,bitfit,norm,adapter,adaptformer,lora,highway'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Memory, time and size of tuning methods on a model with random weights; '
        'writes report.json, report.md, report.html and plots.'
    )
    parser.add_argument('config', help='an mmdetection or mmsegmentation config')
    parser.add_argument('--out', type=Path, required=True, help='folder for the report')
    parser.add_argument(
        '--methods', default=METHODS, metavar='LIST',
        help=f'some of {", ".join(KNOWN)}, with commas between; with @1, @2, @4 or @8 behind them '
        'adapters have so many bits (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=int, default=0, help="images (default: the config's)")
    parser.add_argument(
        '--image-size', type=int, nargs='+', metavar='PIXELS',
        help="side, or height and width, of generated images (default: the config's, or 512)",
    )  # fmt: skip
    parser.add_argument('--steps', type=int, default=20, help='measured steps of each method')
    parser.add_argument('--warm-up', type=int, default=5, help='steps before that do not count')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--device', help='cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument('--seed', type=int, default=0, help='of weights and images')
    parser.add_argument(
        '--real-data', action='store_true', help="the config's training data, not generated ones"
    )
    parser.add_argument(
        '--find-max-batch', metavar='MEMORY',
        help='find the largest batch, too, that trains in this memory, such as 11GB',
    )  # fmt: skip
    add_render(parser, rebuild_report)
    add_config_options(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Measure with a live table, write the report, and say where it is."""
    args = parse_args(argv)
    methods, settings = parse_methods(args.methods), read_settings(args)
    cfg = load_config(args.config, args.cfg_options)
    with live_report(args.out) as observe:
        report = run_benchmark(cfg, methods, settings, observe)
    files = ', '.join(str(path) for path in write_report(report, args.out))
    Console().print(f'Written: {files}', markup=False, soft_wrap=True)


def read_settings(args: argparse.Namespace) -> Settings:
    """Settings of a command line.

    Raises:
        ValueError: A value outside its range.
    """
    return Settings(
        device=torch.device(choose_device(args.device)),
        batch_size=args.batch_size,
        image_size=_height_and_width(args.image_size),
        steps=args.steps,
        warm_up=args.warm_up,
        amp=args.amp,
        seed=args.seed,
        real_data=args.real_data,
        memory_limit=parse_bytes(args.find_max_batch) if args.find_max_batch else None,
    )


def _height_and_width(pixels: Sequence[int] | None) -> tuple[int, int] | None:
    if pixels is None:
        return None
    if len(pixels) > 2:
        raise ValueError(f'--image-size {pixels}: give one side, or height and width.')
    return pixels[0], pixels[-1]
