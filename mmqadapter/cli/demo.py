"""Command ``demo``: adapt a small model from one generated domain to another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmqadapter.cli.common import command_parser, user_errors
from mmqadapter.utils.shipped import configs_folder


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Pretrain a small model on one generated domain, adapt it to another with 1-bit adapters, '
        'compare that with other ways of tuning, and draw the predictions.',
    )
    parser.add_argument(
        '--task', choices=['seg', 'det'], default='seg',
        help='segmentation or detection (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/demo'),
        help='folder for all results (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--iterations', type=int, help="training steps of each run (default: the config's)"
    )
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run a demo."""
    args = parse_args(argv, prog)
    # After the parser, so that --help need not load the detectors.
    from mmqadapter.studies.demo import run_demo

    run_demo(args.task, args.out, configs_folder(), args.iterations)
