"""The entry point ``mmqadapter COMMAND ...``; it imports only the command that it runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from mmqadapter.utils.terminal import print_line
from mmqadapter.version import __version__

COMMANDS = {
    'train': 'train a config of mmdetection or mmsegmentation',
    'test': 'evaluate a task file or a checkpoint',
    'predict': 'write overlays, and label maps or instances, for images',
    'serve': 'open a page to try task files in',
    'task': 'inspect, verify, export, convert and plan task files',
    'benchmark': 'measure memory, time and size of tuning methods',
    'fits': 'foretell which tuning methods fit into the memory of a GPU',
    'sweep': 'train methods x seeds x learning rates and compare them',
    'analyze': 'study the adapters of a trained model',
    'check-data': 'find errors in the data of a config before training',
    'doctor': 'print versions, find what does not go together, and say the remedy',
    'new': 'write a config for a folder of annotated images',
    'demo': 'adapt a small model to generated images with 1-bit adapters',
}
USAGE = 'usage: mmqadapter COMMAND [arguments]'
BAD_USAGE = 2  # exit status, as of argparse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        print(_help_text(), file=sys.stderr)
        return BAD_USAGE
    command, *arguments = words
    if command in ('-h', '--help'):
        print(_help_text())
        return 0
    if command == '--version':
        print(f'mmqadapter {__version__}')
        return 0
    if command not in COMMANDS:
        known = ', '.join(COMMANDS)
        print_line(
            f'mmqadapter: {command!r} is not a command: expected one of {known}.', sys.stderr
        )
        return BAD_USAGE
    return _run(command, arguments)


def _help_text() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {text}' for name, text in COMMANDS.items()]
    options = '`mmqadapter COMMAND --help` shows the arguments of a command; --version the version.'
    return '\n'.join([USAGE, '', 'commands:', *lines, '', options])


def _run(command: str, arguments: Sequence[str]) -> int:
    module = import_module(f'mmqadapter.cli.{command.replace("-", "_")}')
    return module.main(arguments, prog=f'mmqadapter {command}')


if __name__ == '__main__':
    sys.exit(main())
