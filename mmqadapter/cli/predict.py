"""Command ``predict``: predict images with one or several task files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmqadapter.cli.common import add_config_options, add_trust, command_parser, user_errors
from mmqadapter.inference import FailedImagesError, iter_predictions, iter_task_predictions
from mmqadapter.inference.several import task_names
from mmqadapter.utils.terminal import print_line


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog, 'Write overlays, and label maps (8-bit PNG) or instances (COCO JSON), for images.'
    )
    parser.add_argument('config', help='the config that the task was trained with')
    parser.add_argument('task', help='a *.task.safetensors, or a checkpoint (*.pth)')
    parser.add_argument(
        'images', nargs='+',
        help='files, folders or quoted globs; a *.safetensors among them is another task',
    )  # fmt: skip
    parser.add_argument(
        '--out', required=True,
        help='folder for the results; several tasks get a subfolder each, named as their file',
    )  # fmt: skip
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3,
        help='leave out instances below this score (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--resume', action='store_true',
        help='leave out images whose results --out has from the same weights and settings',
    )  # fmt: skip
    add_config_options(parser)
    add_trust(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Predict with a progress bar; print where the results are, and which images failed."""
    args = parse_args(argv, prog)
    tasks, images = _tasks_and_images(args)
    done, failures = 0, None
    predictions = _predictions(args, tasks, images)
    try:
        for _ in predictions:
            done += 1
    except FailedImagesError as error:
        failures = error
    for name in task_names(tasks) if len(tasks) > 1 else ('',):
        print_line(f'{done} images predicted; results in {Path(args.out, name)}')
    if failures is None:
        return 0
    print_line(f'{failures.title}:', sys.stderr)
    for image, reason in failures.failures.items():
        print_line(f'{image}: {reason}', sys.stderr)
    return 1


def _predictions(
    args: argparse.Namespace, tasks: Sequence[str], images: Sequence[str]
) -> Iterator[Any]:
    options = dict(
        score_thr=args.score_thr, device=args.device, cfg_options=args.cfg_options,
        progress=True, resume=args.resume,
    )  # fmt: skip
    if len(tasks) > 1:
        return iter_task_predictions(args.config, tasks, images, args.out, **options)
    trust = args.trust_checkpoint
    return iter_predictions(args.config, args.task, images, args.out, trust=trust, **options)


def _tasks_and_images(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    further = [name for name in args.images if Path(name).suffix == '.safetensors']
    images = [name for name in args.images if name not in further]
    return [args.task, *further], images
