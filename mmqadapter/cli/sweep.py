"""Command ``sweep``: train methods x seeds x learning rates and report on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmqadapter.cli.common import add_render, command_parser, print_written, user_errors
from mmqadapter.engine.runner import require_data
from mmqadapter.studies.benchmark.report import WIDTH
from mmqadapter.studies.report.table import terminal_table
from mmqadapter.studies.sweep.local import LocalQueue, TrainOne
from mmqadapter.studies.sweep.plan import Sweep, read_sweep
from mmqadapter.studies.sweep.progress import SweepProgress
from mmqadapter.studies.sweep.ray_queue import RayQueue
from mmqadapter.studies.sweep.report import make_report, rebuild_report, write_report
from mmqadapter.studies.sweep.resources import machine_slots
from mmqadapter.studies.sweep.sample_pictures import make_samples
from mmqadapter.studies.sweep.schedule import run_sweep
from mmqadapter.studies.sweep.table import cells
from mmqadapter.studies.sweep.trainer import Trainer
from mmqadapter.studies.sweep.tune import TrainAll
from mmqadapter.utils.terminal import SafeConsole, print_line

# What Python runs to train; a module, which is found from any working directory.
TRAIN = ('-m', 'mmqadapter.cli.train')


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_parser(
        prog,
        'Tune the learning rates of each method, train all seeds with the best ones, and time a '
        'step; write report.json, report.md, report.html and plots. Started again with the same '
        '--out, it continues: finished trainings are not repeated.',
    )
    parser.add_argument('sweep', help='sweep file, or name of a shipped one, such as camvid')
    parser.add_argument('--out', type=Path, required=True, help='folder of trainings and report')
    parser.add_argument(
        '--jobs', type=int, default=1, help='trainings at the same time (default: %(default)s)'
    )
    _add_ray(parser)
    parser.add_argument(
        '--only', default='', metavar='METHOD,...', help='train only these methods of the file'
    )
    parser.add_argument(
        '--timing-steps', type=int, default=40, metavar='N',
        help='steps of the timed trainings, each alone on the machine; 0 for no timing '
        '(default: %(default)s)',
    )  # fmt: skip
    add_render(parser, rebuild_report)
    return parser.parse_args(argv)


def _add_ray(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--ray', nargs='?', const='auto', metavar='ADDRESS',
        help='train on a Ray cluster: its address, "auto" (default) or "local"',
    )  # fmt: skip
    parser.add_argument(
        '--cpus-per-training', type=int, default=1, help='with --ray (default: %(default)s)'
    )
    parser.add_argument(
        '--gpus-per-training', type=float, default=0, help='with --ray (default: %(default)s)'
    )


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run a sweep and write its report; return 1 if a training failed."""
    args = parse_args(argv, prog)
    jobs = _at_least('--jobs', args.jobs, 1)
    steps = _at_least('--timing-steps', args.timing_steps, 0)
    sweep = read_sweep(args.sweep)
    names = sweep.chosen([name.strip() for name in args.only.split(',') if name.strip()])
    require_data(sweep.config, 'train', 'val')
    console = _wide_console()
    train = Trainer(sweep, (args.out / 'runs').resolve(), TRAIN)
    with SweepProgress(console) as progress:
        queue = _queue(args, sweep, train, progress)
        alone = LocalQueue(train, machine_slots(1, sweep.processes), progress)
        results = run_sweep(sweep, names, queue, alone, steps)
    report = make_report(sweep, names, results, jobs, steps)
    files = write_report(report, args.out, make_samples(sweep, names, results))
    _print_results(console, report)
    print_written(files)
    return 1 if report['header']['failed'] else 0


def _queue(
    args: argparse.Namespace, sweep: Sweep, train: TrainOne, progress: SweepProgress
) -> TrainAll:
    if args.ray is None:
        return LocalQueue(train, machine_slots(args.jobs, sweep.processes), progress)
    cpus = _at_least('--cpus-per-training', args.cpus_per_training, 1)
    return RayQueue(train, args.ray, cpus, args.gpus_per_training, progress)


def _at_least(name: str, value: int, minimum: int) -> int:
    if value < minimum:
        raise ValueError(f'{name}={value} is invalid: expected {minimum} or more.')
    return value


def _wide_console() -> SafeConsole:
    """Return a console; for a file or a pipe it is wide enough for every number."""
    console = SafeConsole()
    return console if console.is_terminal else SafeConsole(width=max(console.width, WIDTH))


def _print_results(console: SafeConsole, report: dict[str, Any]) -> None:
    header = report['header']
    console.print(terminal_table(cells(report['rows'], header['metric']), header['sweep']))
    for failure in header['failed']:
        print_line(f'Failed: {failure["training"]}: {failure["reason"]}; {failure["log"]}')
