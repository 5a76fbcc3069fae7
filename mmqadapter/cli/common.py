"""What the tools share on the command line."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

SHOW_TRACEBACK = 'MMQADAPTER_TRACEBACK'
INTERRUPTED = 130
# The package, and the tools beside it in a checkout.
OURS = (Path(__file__).parents[1], Path(__file__).parents[2] / 'tools')


def user_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """Let ``main`` tell a ``ValueError`` or an ``OSError`` in one line and return 1.

    With the environment variable MMQADAPTER_TRACEBACK set the error passes through; a line that
    comes from another library says so. An interruption (Ctrl-C) is told as well and returns 130,
    as of any program.
    """

    @functools.wraps(main)
    def guarded(*args: Any, **kwargs: Any) -> int:
        try:
            return main(*args, **kwargs) or 0
        except KeyboardInterrupt:
            print('Interrupted.', file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # who read our lines, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (OSError, ValueError) as error:
            if os.environ.get(SHOW_TRACEBACK):
                raise
            print(_one_line(error), file=sys.stderr)
            return 1

    return guarded


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing have in common."""
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and task files')
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='override settings, such as model.backbone.quantizer.bits=2',
    )  # fmt: skip


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        '--trust-checkpoint', action='store_true',
        help='read a .pth even if that may run code of it; only for files whose author you know',
    )  # fmt: skip


def add_render(
    parser: argparse.ArgumentParser, rebuild: Callable[[Path], Sequence[Path]]
) -> None:
    """Add ``--render``, which rebuilds a report and exits, as ``--help`` does.

    Args:
        parser: Parser of the command.
        rebuild: Function that rebuilds the report of a folder and returns the written paths.
    """

    class Render(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
            print(f'Written: {", ".join(map(str, rebuild(values)))}')
            parser.exit()

    parser.add_argument(
        '--render', type=Path, action=Render, metavar='DIR',
        help='only rebuild report.html, report.md and plots from DIR/report.json',
    )  # fmt: skip


def _one_line(error: Exception) -> str:
    line = f'{type(error).__name__}: {" ".join(str(error).split())}'
    origin = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = any(origin.is_relative_to(folder) for folder in OURS)
    return line if ours else f'{line} (the place: {SHOW_TRACEBACK}=1)'
