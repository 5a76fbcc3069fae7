"""Command ``test``: evaluate a task file or a checkpoint."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mmqadapter.cli.common import add_run_arguments, add_trust, command_parser, user_errors
from mmqadapter.engine.runner import load_config, testing_runner
from mmqadapter.engine.test_options import (
    augment_tests,
    draw_predictions,
    dump_metric,
    write_results,
)
from mmqadapter.utils.terminal import print_line


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog, 'Evaluate a task file or a checkpoint on the test data of the config.'
    )
    parser.add_argument('config', help='the config that the weights were trained with')
    parser.add_argument('weights', help='a *.task.safetensors, or a checkpoint (*.pth)')
    parser.add_argument(
        '--out', help='write the results: label maps into a folder, or a .pkl file of others'
    )
    parser.add_argument('--show-dir', help='folder for pictures of predictions beside the truth')
    parser.add_argument('--show', action='store_true', help='show these pictures in a window')
    parser.add_argument(
        '--wait-time', type=float, default=2.0, help='seconds per window (default: %(default)s)'
    )
    parser.add_argument(
        '--tta', action='store_true', help='average over each image and its mirror image'
    )
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
    draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.out:
        write_results(cfg, args.out)
    if args.tta:
        augment_tests(cfg)
    runner = testing_runner(cfg, args.weights, args.amp, args.trust_checkpoint)
    runner.test_evaluator.metrics.extend(dump_metric(cfg, args.out))
    runner.test()
    if args.show_dir:
        print_line(f'Pictures: {Path(args.show_dir)}')


if __name__ == '__main__':
    sys.exit(main())
