"""Command ``task``: inspect, verify and export task files, and plan their size."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmqadapter import inspect_task, load_task
from mmqadapter.cli.common import add_config_options, add_trust, command_parser, user_errors
from mmqadapter.cli.head_bits import parse_head_bits
from mmqadapter.cli.tables import change_table, task_table
from mmqadapter.cli.task_interop import add_merge, add_onnx, add_peft, add_petl
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.interop.export import export_task, metric_change, require_own_config
from mmqadapter.studies.planner.byte_size import parse_size
from mmqadapter.studies.planner.plan import LIMITED, make_plan
from mmqadapter.studies.planner.table import nearest_line, plan_table
from mmqadapter.utils.terminal import SafeConsole, print_line


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line; ``run`` of the result is the function of the subcommand."""
    parser = command_parser(prog, 'Inspect, verify, export, convert and plan task files.')
    commands = parser.add_subparsers(dest='command', required=True)
    _add_inspect(commands)
    _add_verify(commands)
    _add_export(commands)
    add_merge(commands)
    add_onnx(commands)
    add_petl(commands)
    add_peft(commands)
    _add_plan(commands)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run one subcommand."""
    args = parse_args(argv, prog)
    args.run(args)


def _add_inspect(commands: Any) -> None:
    parser = commands.add_parser('inspect', help='show the content of a task file')
    parser.set_defaults(run=inspect)
    parser.add_argument('task', help='a *.task.safetensors')
    parser.add_argument('--json', action='store_true', help='print everything, as JSON')


def inspect(args: argparse.Namespace) -> None:
    """Print a table of the content, or JSON."""
    content = inspect_task(args.task)
    if args.json:
        print(json.dumps(content, indent=2))
    else:
        SafeConsole().print(task_table(args.task, content))


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        'verify', help='check that a task file is intact and, with CONFIG, that its model loads it'
    )
    parser.set_defaults(run=verify)
    parser.add_argument('task', help='a *.task.safetensors')
    parser.add_argument('config', nargs='?', help='config of the model to load the task into')
    add_config_options(parser)


def verify(args: argparse.Namespace) -> None:
    """Check the file and, with a config, that its model loads it."""
    inspect_task(args.task)
    print_line(f'{args.task}: intact, every bit is as it was written.')
    if args.config:
        load_task(build_model(load_config(args.config, args.cfg_options)), args.task)
        print_line(f'{args.config}: same trunk, same tuning config, same head; the task loads.')


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        'export', help='write the task file of a training checkpoint or of another task file'
    )
    parser.set_defaults(run=export)
    parser.add_argument('source', help='a *.pth of a model with a wrapped backbone, or a task file')
    parser.add_argument('--out', required=True, help='the *.task.safetensors to write')
    parser.add_argument('--config', help='config of the training (default: the one stored in it)')
    parser.add_argument(
        '--head-bits', nargs='+', default=['32'], metavar='BITS',
        help='bits per weight of neck and head: 32, 16, 8, 4, 2 or 1, or PATTERN=BITS with a regex '
        'for layer names; the last pattern that matches applies',
    )  # fmt: skip
    parser.add_argument(
        '--check', action='store_true',
        help='evaluate before and after, on the test data of the config; for a checkpoint, only '
        'with --config',
    )  # fmt: skip
    parser.add_argument(
        '--no-ema', action='store_true', help='export the weights without EMA averaging'
    )
    add_config_options(parser)
    add_trust(parser)


def export(args: argparse.Namespace) -> None:
    """Write a task file, print which weights it holds and, with ``--check``, the metrics."""
    options = dict(
        config=args.config, ema=not args.no_ema, trust=args.trust_checkpoint,
        cfg_options=args.cfg_options,
    )  # fmt: skip
    bits = parse_head_bits(args.head_bits)
    if Path(args.out).resolve() == Path(args.source).resolve():
        raise ValueError(f'--out={args.out!r} is the source itself: name another file.')
    if args.check:
        require_own_config(args.config, args.trust_checkpoint)
    weights = export_task(args.source, args.out, head_bits=bits, **options)
    print_line(f'{args.out}: {Path(args.out).stat().st_size:,} bytes, {weights}.')
    if args.check:
        SafeConsole().print(change_table(metric_change(args.source, args.out, **options)))


def _add_plan(commands: Any) -> None:
    parser = commands.add_parser('plan', help='list the bits and widths that fit a size in bytes')
    parser.set_defaults(run=plan)
    parser.add_argument('config', help='a config with adapters; its weights are not needed')
    parser.add_argument('--max-bytes', required=True, metavar='SIZE', help='such as 64K or 1.5M')
    parser.add_argument(
        '--of', choices=LIMITED, default=LIMITED[0],
        help='what has to fit: the whole task file, or the adapters in it (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--widths', nargs='+', type=int, default=(), metavar='WIDTH',
        help="widths or ranks to consider (default: powers of two and the config's own)",
    )  # fmt: skip
    parser.add_argument(
        '--head-bits', nargs='+', type=int, default=(), metavar='BITS',
        help='bits of neck and head to consider (default: 1, 2, 4, 8, 16 and 32)',
    )  # fmt: skip
    parser.add_argument(
        '--all', action='store_true', help='list all that fit, not only the widest for each bits'
    )
    parser.add_argument('--json', action='store_true', help='print everything, as JSON')
    add_config_options(parser)


def plan(args: argparse.Namespace) -> None:
    """Print what fits and the nearest that does not, or JSON."""
    size = parse_size(args.max_bytes)
    with redirect_stdout(sys.stderr):  # stdout is for the result alone
        cfg = load_config(args.config, args.cfg_options)
        result = make_plan(cfg, size, args.of, args.widths, args.head_bits)
    if args.json:
        print(result.as_json())
        return
    console = SafeConsole()
    if result.fits:
        title = f'{Path(args.config).name}: {args.of} of at most {result.max_bytes:,} bytes'
        console.print(plan_table(result, title, args.all))
    console.print(nearest_line(result), markup=False, highlight=False)
