"""Command ``new``: write a config for a folder of annotated images."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from mmqadapter.cli.check_data import main as check_data
from mmqadapter.cli.common import command_parser, user_errors
from mmqadapter.own_data.formats import FORMATS
from mmqadapter.own_data.models import MODELS
from mmqadapter.own_data.new_config import Choices, NewConfig, new_config
from mmqadapter.own_data.originals import FaultyAnnotationsError
from mmqadapter.utils.terminal import print_line


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Look at a folder of annotated images, write a config that trains on it, and check the '
        'data. Files of the folder are not changed; those that training cannot read are converted '
        'into a folder beside it.',
    )
    parser.add_argument('data', help='folder of images with annotations')
    parser.add_argument(
        '--out', default='my_task.py', help='config to write (default: %(default)s)'
    )
    parser.add_argument(
        '--model', default='vit-tiny',
        help=f'pretrained backbone: {", ".join(MODELS)}, or a name of timm (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--method', default='highway',
        help='highway, adapter, lora, mona, frozen or full (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--bits', type=int, default=1, choices=(1, 2, 4, 8, 32),
        help='bits per adapter weight (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--classes', nargs='+', help='class names, if label maps have no names')
    parser.add_argument('--format', choices=FORMATS, help='format, if a folder has several')
    parser.add_argument('--checkpoint', help='weights of the backbone; default: those of timm')
    parser.add_argument('--batch', type=int, help='images per step; default: by the machine')
    parser.add_argument('--iterations', type=int, help='length; default: 40 passes over the data')
    parser.add_argument('--seed', type=int, default=0, help='of the split (default: %(default)s)')
    parser.add_argument('--force', action='store_true', help='replace an existing config')
    parser.add_argument('--no-check', action='store_true', help='do not check the data')
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Write the config, check the data, and return the exit status of the check."""
    args = parse_args(argv, prog)
    choices = Choices(
        args.model, args.method, args.bits, args.classes and tuple(args.classes), args.format,
        args.checkpoint, args.batch, args.iterations, args.seed,
    )  # fmt: skip
    try:
        written = new_config(args.data, args.out, choices, args.force)
    except FaultyAnnotationsError as error:
        for line in error.lines:
            print_line(line, sys.stderr)
        print_line('correct them, then run the same command again', sys.stderr)
        return 1
    _print(written)
    status = 0 if args.no_check else check_data([str(written.path)])
    path = shlex.quote(str(written.path))
    if status == 0:
        print_line(f'next: mmqadapter train {path}')
    else:
        print_line(f'correct them, then: mmqadapter check-data {path}')
    return status


def _print(written: NewConfig) -> None:
    proposal = written.proposal
    height, width = proposal.size
    print_line(f'found: {written.found}')
    print_line(f'split: {written.split}')
    for note in written.notes:
        print_line(f'note: {note}')
    if written.converted:
        print_line(f'converted files: {written.converted}')
    print_line(
        f'{proposal.origin}: {width} x {height} pixels, batch {proposal.batch}, '
        f'{proposal.iterations} iterations'
    )
    print_line(f'written: {written.path}')
