"""Command ``train``: train a config of mmdetection or mmsegmentation."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmqadapter.cli.common import add_run_arguments, command_parser, user_errors
from mmqadapter.engine.runner import load_config, training_runner


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(prog, 'Train a config of mmdetection or mmsegmentation.')
    parser.add_argument('config', help='config file, or name of a shipped config')
    parser.add_argument(
        '--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
        help='resume exactly, from this checkpoint or from the last one in the work dir',
    )  # fmt: skip
    parser.add_argument(
        '--init-task', metavar='TASK_FILE', help='initialize the weights from a task file'
    )
    add_run_arguments(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Train the model."""
    args = parse_args(argv, prog)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.work_dir
    training_runner(cfg, args.resume, args.init_task, args.amp).train()


if __name__ == '__main__':
    sys.exit(main())
