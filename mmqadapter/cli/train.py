"""Command ``train``: train a config of mmdetection or mmsegmentation."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mmengine.runner import FlexibleRunner, Runner

from mmqadapter.cli.common import add_run_arguments, command_parser, user_errors
from mmqadapter.data_checks.outputs import require_outputs
from mmqadapter.engine.batch_norm import batch_norm_remedy
from mmqadapter.engine.lr_scaling import enable_lr_scaling
from mmqadapter.engine.run_length import EPOCHS, ITERATIONS, set_run_length
from mmqadapter.engine.runner import load_config, require_training, training_runner
from mmqadapter.hooks.stop_hook import StopHook, TrainingStopped, end_workers


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(prog, 'Train a config of mmdetection or mmsegmentation.')
    parser.add_argument('config', help='config file, or name of a shipped config')
    parser.add_argument(
        '--resume', nargs='?', const=True, default=False, metavar='CHECKPOINT',
        help='resume exactly, from this checkpoint, or from the last one in the work dir '
        '(without a value or with "auto")',
    )  # fmt: skip
    parser.add_argument(
        '--init-task', metavar='TASK_FILE', help='initialize the weights from a task file'
    )
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config',
    )  # fmt: skip
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        '--max-iters', type=int, metavar='N',
        help='train for N iterations; schedule and intervals are shortened with the training',
    )  # fmt: skip
    length.add_argument(
        '--max-epochs', type=int, metavar='N', help='the same for a config that counts epochs'
    )
    add_run_arguments(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Train the model; Ctrl-C and SIGTERM end the training, but save what was reached."""
    args = parse_args(argv, prog)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    require_training(cfg)
    require_outputs(cfg)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.work_dir
    for count, unit in ((args.max_iters, ITERATIONS), (args.max_epochs, EPOCHS)):
        if count is not None:
            set_run_length(cfg, count, unit)
    if args.auto_scale_lr:
        enable_lr_scaling(cfg)
    resume = True if args.resume == 'auto' else args.resume
    return train_or_stop(training_runner(cfg, resume, args.init_task, args.amp))


def train_or_stop(runner: Runner | FlexibleRunner) -> int:
    """Train until the end or a signal, and return the exit status (128 + number of the signal)."""
    hook = StopHook()
    hook.register(runner)
    try:
        with batch_norm_remedy():
            runner.train()
        return 0
    except TrainingStopped as stop:
        if stop.trained:
            runner.call_hook('after_train')
        else:
            end_workers()
        runner.logger.warning(_stop_message(runner, stop))
        return 128 + stop.number
    finally:
        hook.restore()


def _stop_message(runner: Runner | FlexibleRunner, stop: TrainingStopped) -> str:
    if not stop.trained:
        return f'Training {stop} in its first step; there is nothing to save.'
    return (
        f'Training {stop} after iteration {runner.iter} of {runner.max_iters}; --resume goes on '
        'from there.'
    )


if __name__ == '__main__':
    sys.exit(main())
