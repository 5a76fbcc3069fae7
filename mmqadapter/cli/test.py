"""Command ``test``: evaluate a task file or a checkpoint."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmqadapter.cli.common import add_run_arguments, add_trust, command_parser, user_errors
from mmqadapter.engine.runner import load_config, testing_runner


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog, 'Evaluate a task file or a checkpoint on the test data of the config.'
    )
    parser.add_argument('config', help='the config that the weights were trained with')
    parser.add_argument('weights', help='a *.task.safetensors, or a checkpoint (*.pth)')
    add_trust(parser)
    add_run_arguments(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Evaluate with the test data and the test evaluator of the config."""
    args = parse_args(argv, prog)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.work_dir
    testing_runner(cfg, args.weights, args.amp, args.trust_checkpoint).test()


if __name__ == '__main__':
    sys.exit(main())
