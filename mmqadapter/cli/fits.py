"""Command ``fits``: foretell which tuning methods fit into the memory of a GPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import track

from mmqadapter.cli.common import (
    add_config_options,
    command_parser,
    height_and_width,
    print_written,
    user_errors,
)
from mmqadapter.engine.runner import load_config
from mmqadapter.studies.benchmark.methods import KNOWN, parse_methods
from mmqadapter.studies.fits.cards import card_bytes
from mmqadapter.studies.fits.report import MARGIN, cells, make_header, write_fits
from mmqadapter.studies.fits.run import fit_rows
from mmqadapter.studies.report.image_size import largest_image_size
from mmqadapter.studies.report.rows import Row
from mmqadapter.studies.report.settings import Settings, parse_bytes
from mmqadapter.studies.report.table import terminal_tables
from mmqadapter.utils.terminal import print_line

METHODS = 'full,frozen,partial1,adaptformer,lora,mona,highway,highway-joined'
WIDTH = 160  # columns of text in which no number is cut off


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Foretell which tuning methods train in the memory of a GPU, with which batch, in float32 '
        'and in mixed precision. No GPU is needed.',
    )
    parser.add_argument('config', help='an mmdetection, mmsegmentation or mmpretrain config')
    memory = parser.add_mutually_exclusive_group(required=True)
    memory.add_argument('--memory', help='memory of the GPU, such as 11GB or 24GiB')
    memory.add_argument('--gpu', metavar='NAME', help='its name, such as "RTX 4090"')
    parser.add_argument(
        '--methods', default=METHODS, metavar='LIST',
        help=f'comma-separated, from {", ".join(KNOWN)}; a suffix @1, @2, @4 or @8 sets the bits '
        'of the adapters (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=int, default=0, help="images (default: the config's)")
    parser.add_argument(
        '--image-size', type=int, nargs='+', metavar='PIXELS',
        help='side, or height and width (default: the largest of the training pipeline)',
    )  # fmt: skip
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    add_config_options(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Foretell, print the table, and write the JSON file if asked for."""
    args = parse_args(argv, prog)
    methods = parse_methods(args.methods)
    memory = card_bytes(args.gpu) if args.gpu else parse_bytes(args.memory)
    cfg = load_config(args.config, args.cfg_options)
    settings = _settings(args, cfg)
    header = make_header(Path(args.config).name, settings, memory, args.gpu)
    names = [method.name for method in methods]
    rows = list(
        _with_progress(fit_rows(args.config, args.cfg_options, names, settings, memory), names)
    )
    console = Console()
    width = console.width if console.is_terminal else max(console.width, WIDTH)
    console = Console(width=width)
    for table in terminal_tables(cells(rows, settings.batch_size), _title(header), width):
        console.print(table)
    print_line(MARGIN)
    print_line(f'To check on a GPU: {_check(args, settings)}')
    if args.json:
        write_fits(args.json, header, rows)
        print_written([args.json])


def _with_progress(rows: Iterator[Row], names: Sequence[str]) -> Iterator[Row]:
    """Yield rows with a bar, or, where stderr is no terminal, with a line for each."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(rows, 'Foretelling', len(names), console=console, transient=True)
        return
    print_line(f'Foretelling {len(names)} methods, in up to some minutes each.', sys.stderr)
    for number, row in enumerate(rows, 1):
        print_line(f'{number} of {len(names)}: {row["method"]}', sys.stderr)
        yield row


def _settings(args: argparse.Namespace, cfg: Config) -> Settings:
    settings = Settings(
        device=torch.device('cuda'),  # whose memory is asked for; nothing runs there
        batch_size=args.batch_size,
        image_size=height_and_width(args.image_size),
    ).completed(cfg)
    largest = None if args.image_size else largest_image_size(cfg)
    return replace(settings, image_size=largest) if largest else settings


def _title(header: dict) -> str:
    height, width = header['image_size']
    memory = f'{header["memory_bytes"] / 1e9:.1f} GB'
    gpu = f'{header["gpu"]}, {memory}' if header['gpu'] else memory
    return f'{header["config"]}, {height} x {width} pixels, on {gpu}'


def _check(args: argparse.Namespace, settings: Settings) -> str:
    size = ' '.join(map(str, settings.image_size or ()))
    return (
        f'mmqadapter benchmark {args.config} --methods {args.methods} --image-size {size} '
        f'--batch-size {settings.batch_size} --out DIR'
    )
