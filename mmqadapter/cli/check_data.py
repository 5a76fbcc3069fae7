"""Command ``check-data``: find errors in the data of a config before training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmqadapter.cli.common import add_config_options, command_parser, user_errors
from mmqadapter.data_checks.config import collect_problems, scan_config
from mmqadapter.data_checks.problem import ERROR
from mmqadapter.data_checks.report import print_report
from mmqadapter.data_checks.source import set_data_root
from mmqadapter.engine.runner import load_config
from mmqadapter.utils.terminal import SafeConsole


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Find missing files, wrong sizes, unknown labels and empty classes in the train and val '
        'data of a config. Exit status: 0 for none or warnings only, 1 for errors.',
    )
    parser.add_argument('config', help='an mmsegmentation or mmdetection config')
    parser.add_argument('--data-root', help='root that replaces those in the config')
    add_config_options(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Check the data, print a report, and return the exit status."""
    args = parse_args(argv, prog)
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    scans = scan_config(cfg)
    problems = collect_problems(scans)
    print_report(scans, problems, SafeConsole())
    return int(any(problem.severity == ERROR for problem in problems))
