"""Predict with a task file: python tools/predict.py CONFIG TASK_FILE IMAGES... --out DIR."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from mmqadapter.command_line import add_config_options, user_errors
from mmqadapter.inference import predict


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description='Write overlays, and label maps (8-bit PNG) or instances (COCO JSON).'
    )
    parser.add_argument('config', help='the config that the task was trained with')
    parser.add_argument('task', help='a *.task.safetensors, or a checkpoint (*.pth)')
    parser.add_argument('images', nargs='+', help='files, folders or quoted globs')
    parser.add_argument('--out', required=True, help='folder for the results')
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='leave out instances below this score'
    )
    add_config_options(parser)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Predict, with a progress bar, and say where the results are."""
    args = parse_args(argv)
    predictions = predict(
        args.config,
        args.task,
        args.images,
        args.out,
        score_thr=args.score_thr,
        device=args.device,
        cfg_options=args.cfg_options,
        progress=True,
    )
    Console().print(f'{len(predictions)} images predicted; results in {args.out}', markup=False)


if __name__ == '__main__':
    sys.exit(main())
