"""What is frozen and what trains, before training; what it cost, after."""

from __future__ import annotations

import io
import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from mmqadapter.hooks.efficiency_hook import written_bytes
from mmqadapter.hooks.metered_hook import MeteredHook
from mmqadapter.hooks.step_meter import StepMeter
from mmqadapter.registry import HOOKS
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.sharding import whole_counts


@HOOKS.register_module()
class TuningSummaryHook(MeteredHook):
    """Logs a table of parameters at the start and of costs at the end; writes ``summary.json``.

    Memory is the peak that a GPU allocated, or on a CPU the bytes that autograd kept for backward
    in the second step. Seconds per step leave data loading and the first five steps out.
    """

    def before_train(self, runner: Runner) -> None:
        """Log what is frozen and what trains; start to measure."""
        super().before_train(runner)
        table = Table('part', 'trainable', 'frozen', title='Parameters')
        for part, counts in whole_counts(runner.model).items():
            table.add_row(part, f'{counts["trainable"]:,}', f'{counts["frozen"]:,}')
        runner.logger.info(_text(table))

    def after_train(self, runner: Runner) -> None:
        """Log the costs and write ``summary.json`` into the work dir."""
        super().after_train(runner)
        counts = whole_counts(runner.model)
        if not is_main_process():
            return
        summary = _summary(runner, self.meter, counts)
        atomic_write(Path(runner.work_dir, 'summary.json'), json.dumps(summary, indent=2).encode())
        table = Table('what', 'value', title='Summary')
        for name, value in summary.items():
            table.add_row(name.replace('_', ' '), f'{value:,}' if value is not None else '-')
        runner.logger.info(_text(table))


def _summary(
    runner: Runner, meter: StepMeter, counts: dict[str, dict[str, int]]
) -> dict[str, float | int | None]:
    trained = {part: tally['trainable'] for part, tally in counts.items()}
    sizes = written_bytes(runner)
    memory, seconds = meter.memory(), meter.medians()['step_seconds']
    return {
        'trainable_parameters': sum(trained.values()),
        **{f'trainable_{part}': count for part, count in trained.items()},
        'task_bytes_adapters': sizes.get('adapters'),
        'task_bytes_file': sizes.get('file'),
        'peak_allocated_bytes': memory['peak_allocated_bytes'],
        'saved_for_backward_bytes': memory['saved_for_backward_bytes'],
        'step_seconds': None if seconds is None else round(seconds, 4),
    }


def _text(table: Table) -> str:
    page = io.StringIO()
    Console(width=100, file=page).print(table)
    return '\n' + page.getvalue()
