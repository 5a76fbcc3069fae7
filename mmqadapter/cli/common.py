"""Reporting of user errors, usage names and options that all commands have in common."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from mmqadapter.utils.terminal import print_line, print_traceback

SHOW_TRACEBACK = 'MMQADAPTER_TRACEBACK'
INTERRUPTED = 130
IN_WORKER = 'in DataLoader worker process'
# Folders whose errors are ours: the package, and the tools beside it in a checkout.
OURS = (Path(__file__).parents[1], Path(__file__).parents[2] / 'tools')


def user_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make ``main`` report a ``ValueError`` or an ``OSError`` in one line and return 1.

    If another library raised the error, the line says how to get its traceback: with the
    environment variable MMQADAPTER_TRACEBACK set, the error is raised. Ctrl-C is reported, too, and
    returns 130, as is usual. Control characters in what is printed are escaped.
    """

    @functools.wraps(main)
    def guarded(*args: Any, **kwargs: Any) -> int:
        try:
            return main(*args, **kwargs) or 0
        except KeyboardInterrupt:
            print('Interrupted.', file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if os.environ.get(SHOW_TRACEBACK) or not isinstance(error, (OSError, ValueError)):
                sys.excepthook = print_traceback
                raise
            print_line(_message(error), sys.stderr)
            return 1

    return guarded


def command_parser(prog: str | None, description: str) -> argparse.ArgumentParser:
    """Return a parser whose usage line shows the command that the user typed.

    Args:
        prog: Name in the usage line; None for that of the script or module that was started.
        description: Text of ``--help``.
    """
    return argparse.ArgumentParser(prog=prog or started_as(), description=description)


def started_as() -> str:
    """Return how this process was started: ``python FILE`` or ``python -m MODULE``."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    return f'python {sys.argv[0]}' if spec is None else f'python -m {spec.name}'


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing have in common."""
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and task files')
    parser.add_argument(
        '--amp', action='store_true', help='use mixed precision (on a CPU: bfloat16)'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
        help='what starts the processes of a distributed run (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0,
        help='set by launchers that do not set LOCAL_RANK',
    )  # fmt: skip
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='override settings of the config, such as model.backbone.quantizer.bits=2',
    )  # fmt: skip


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument(
        '--trust-checkpoint', action='store_true',
        help='load a .pth even if it may run code; use it only if you trust the author',
    )  # fmt: skip


def print_written(files: Iterable[Path]) -> None:
    """Print the paths of the files that a command wrote."""
    print_line(f'Written: {", ".join(map(str, files))}')


def add_render(parser: argparse.ArgumentParser, rebuild: Callable[[Path], Sequence[Path]]) -> None:
    """Add ``--render``, which rebuilds a report and exits, as ``--help`` does.

    Args:
        parser: Parser of the command.
        rebuild: Function that rebuilds the report of a folder and returns the written paths.
    """

    class Render(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
            print_written(rebuild(values))
            parser.exit()

    parser.add_argument(
        '--render', type=Path, action=Render, metavar='DIR',
        help='only rebuild report.html, report.md and plots from DIR/report.json',
    )  # fmt: skip


def _message(error: Exception) -> str:
    text = str(error)
    if IN_WORKER in text:  # torch's text is a traceback, whose last line is the error
        text = text.rstrip().rpartition('\n')[2].partition(': ')[2]
    message = f'{type(error).__name__}: {" ".join(text.split())}'
    origin = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = any(origin.is_relative_to(folder) for folder in OURS)
    ours = ours or type(error).__module__.startswith('mmqadapter.')
    return message if ours else f'{message} (for the traceback: {SHOW_TRACEBACK}=1)'


def height_and_width(pixels: Sequence[int] | None) -> tuple[int, int] | None:
    """Return height and width of ``--image-size``; None if it was not given.

    Raises:
        ValueError: There are more than two numbers.
    """
    if pixels is None:
        return None
    if len(pixels) > 2:
        raise ValueError(
            f'--image-size={pixels} is invalid: expected one side, or a height and a width.'
        )
    return pixels[0], pixels[-1]
