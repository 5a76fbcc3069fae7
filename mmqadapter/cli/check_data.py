"""Check the data of a config before training: ``python tools/check_data.py CONFIG``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from mmqadapter.cli.common import add_config_options, user_errors
from mmqadapter.data_checks.config import collect_problems, scan_config
from mmqadapter.data_checks.problem import ERROR
from mmqadapter.data_checks.report import print_report
from mmqadapter.data_checks.source import set_data_root
from mmqadapter.engine.runner import load_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Find missing files, wrong sizes, unknown labels and empty classes in the '
        'train and val data of a config. Exit status: 0 sound or warnings only, 1 errors.'
    )
    parser.add_argument('config', help='an mmsegmentation or mmdetection config')
    parser.add_argument('--data-root', help='take this root instead of those in the config')
    add_config_options(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Check, print the report, and return the exit status."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    if args.data_root:
        set_data_root(cfg, args.data_root)
    scans = scan_config(cfg)
    problems = collect_problems(scans)
    print_report(scans, problems, Console())
    return int(any(problem.severity == ERROR for problem in problems))
