"""Command ``serve``: a page to try task files in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmqadapter.cli.common import add_config_options, command_parser, user_errors
from mmqadapter.inference.predict import check_score
from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.served_tasks import load_tasks
from mmqadapter.serve.server import (
    Address,
    ended_by_interrupt,
    require_gradio,
    served,
    wait_forever,
)
from mmqadapter.serve.uploads import UploadLimits
from mmqadapter.utils.terminal import print_line


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog, 'Serve a page to try task files in, with images from files or the camera.'
    )
    parser.add_argument('config', help='the config that the tasks were trained with')
    parser.add_argument('tasks', nargs='+', metavar='task', help='*.task.safetensors files')
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: a GPU if there is one)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3,
        help='threshold for instances when the page opens (default: %(default)s)',
    )  # fmt: skip
    _add_address(parser)
    limits = UploadLimits()
    parser.add_argument(
        '--max-megabytes', type=float, default=limits.megabytes, metavar='MB',
        help='largest file of an image (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--max-megapixels', type=float, default=limits.megapixels, metavar='MP',
        help='largest image, width times height (default: %(default)s)',
    )  # fmt: skip
    add_config_options(parser)
    return parser.parse_args(argv)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--host', default='127.0.0.1',
        help='address to listen on; 0.0.0.0 lets the whole network in (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--port', type=int, help='default: the first free one from 7860 on')
    parser.add_argument(
        '--share', action='store_true',
        help="also open a public link through gradio's servers, for everyone who knows it",
    )  # fmt: skip


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Load the tasks, serve the page until Ctrl-C, and print its address."""
    args = parse_args(argv, prog)
    require_gradio()
    check_score(args.score_thr)
    limits = UploadLimits(args.max_megabytes, args.max_megapixels)
    tasks = load_tasks(args.config, args.tasks, args.device, args.cfg_options)
    for name, reason in tasks.refused.items():
        print_line(f'{name} cannot be used: {reason}', sys.stderr)
    address = Address(args.host, args.port, args.share)
    title = Path(args.config).stem
    count = len(tasks.accepted)
    page = served(Predictor(tasks, limits), title, args.score_thr, address)
    with page as urls, ended_by_interrupt():
        print_line(f'{count} task{"s" * (count > 1)} on {" and ".join(urls)} (Ctrl-C ends it)')
        if address.is_open:
            print_line('Others can open this page: it asks for no password.', sys.stderr)
        wait_forever()
    print_line('The server has ended; all uploaded images are deleted.')
    return 0
