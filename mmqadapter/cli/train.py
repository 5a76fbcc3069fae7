"""Train a config of mmdet or mmseg: python tools/train.py CONFIG."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmqadapter.cli.common import add_run_arguments, user_errors
from mmqadapter.engine.runner import load_config, training_runner


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, such as one of configs/')
    parser.add_argument(
        '--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
        help='continue exactly: from the last checkpoint of the work dir, or from this one',
    )  # fmt: skip
    parser.add_argument('--init-task', metavar='TASK_FILE', help='start from a task file')
    add_run_arguments(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Train."""
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.work_dir
    training_runner(cfg, args.resume, args.init_task, args.amp).train()


if __name__ == '__main__':
    sys.exit(main())
