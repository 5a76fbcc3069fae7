"""Train a config of mmdet or mmseg: python tools/train.py CONFIG."""

from __future__ import annotations

import argparse
import os

from mmengine.config import DictAction

from mmqadapter.running import load_config, training_runner


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file, such as one of configs/')
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and task files')
    parser.add_argument(
        '--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
        help='continue exactly: from the last checkpoint of the work dir, or from this one',
    )  # fmt: skip
    parser.add_argument('--init-task', metavar='TASK_FILE', help='start from a task file')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='override settings, such as model.backbone.quantizer.bits=2',
    )  # fmt: skip
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.work_dir
    training_runner(cfg, args.resume, args.init_task, args.amp).train()


if __name__ == '__main__':
    main()
