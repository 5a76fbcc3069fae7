"""Command ``benchmark``: measure what tuning methods cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mmqadapter.cli.common import (
    add_config_options,
    add_render,
    command_parser,
    height_and_width,
    print_written,
    user_errors,
)
from mmqadapter.engine.batch_norm import batch_norm_remedy
from mmqadapter.engine.runner import load_config
from mmqadapter.inference.model import choose_device
from mmqadapter.studies.benchmark.methods import KNOWN, parse_methods
from mmqadapter.studies.benchmark.report import live_report, rebuild_report, write_report
from mmqadapter.studies.benchmark.run import run_benchmark
from mmqadapter.studies.report.settings import Settings, parse_bytes

METHODS = 'full,full+checkpointing,frozen,partial1,bitfit,norm,adapter,adaptformer,lora,highway'


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Measure memory, time and size of tuning methods on a model with random weights; write '
        'report.json, report.md, report.html and plots.',
    )
    parser.add_argument('config', help='an mmdetection, mmsegmentation or mmpretrain config')
    parser.add_argument('--out', type=Path, required=True, help='folder for the report')
    parser.add_argument(
        '--methods', default=METHODS, metavar='LIST',
        help=f'comma-separated, from {", ".join(KNOWN)}; a suffix @1, @2, @4 or @8 sets the bits '
        'of the adapters (default: %(default)s)',
    )  # fmt: skip
    _add_workload(parser)
    parser.add_argument(
        '--find-max-batch', metavar='MEMORY',
        help='also find the largest batch that trains in this memory, such as 11GB',
    )  # fmt: skip
    add_render(parser, rebuild_report)
    add_config_options(parser)
    return parser.parse_args(argv)


def _add_workload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch-size', type=int, default=0, help="images (default: the config's)")
    parser.add_argument(
        '--image-size', type=int, nargs='+', metavar='PIXELS',
        help='side, or height and width, of the generated images '
        "(default: the config's, or 512 if it has none)",
    )  # fmt: skip
    parser.add_argument(
        '--steps', type=int, default=20, help='measured steps per method (default: %(default)s)'
    )
    parser.add_argument(
        '--warm-up', type=int, default=5,
        help='steps before them that do not count (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--amp', action='store_true', help='use mixed precision')
    parser.add_argument('--device', help='cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of weights and images (default: %(default)s)'
    )
    parser.add_argument(
        '--real-data', action='store_true',
        help='load the training data of the config in place of generated images',
    )  # fmt: skip


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Measure with a live table, write the report, and print where it is."""
    args = parse_args(argv, prog)
    methods, settings = parse_methods(args.methods), read_settings(args)
    cfg = load_config(args.config, args.cfg_options)
    with live_report(args.out) as observe, batch_norm_remedy():
        report = run_benchmark(cfg, methods, settings, observe)
    print_written(write_report(report, args.out))


def read_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of a command line.

    Raises:
        ValueError: A value is outside its range.
    """
    return Settings(
        device=torch.device(choose_device(args.device)),
        batch_size=args.batch_size,
        image_size=height_and_width(args.image_size),
        steps=args.steps,
        warm_up=args.warm_up,
        amp=args.amp,
        seed=args.seed,
        real_data=args.real_data,
        memory_limit=parse_bytes(args.find_max_batch) if args.find_max_batch else None,
    )
