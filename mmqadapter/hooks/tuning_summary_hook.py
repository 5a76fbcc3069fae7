"""What is frozen and what trains, before training; what it cost, after."""

from __future__ import annotations

import io
import json
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table
from torch import nn

from mmqadapter.accounting import SavedBytes, part_counts, saved_for_backward
from mmqadapter.atomic import atomic_write
from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import inspect_task

WARM_UP = 5
MEASURED_STEP = 1


@HOOKS.register_module()
class TuningSummaryHook(Hook):
    """Logs a table of parameters at the start and of costs at the end; writes ``summary.json``.

    Memory is the peak that a GPU allocated, or on a CPU the bytes that autograd kept for backward
    in the second step. Seconds per step leave data loading and the first five steps out.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._saved: SavedBytes | None = None
        self._measuring = ExitStack()
        self._started = 0.0

    def before_train(self, runner: Runner) -> None:
        """Log what is frozen and what trains."""
        table = Table('part', 'trainable', 'frozen', title='Parameters')
        for part, counts in part_counts(_bare(runner)).items():
            table.add_row(part, f'{counts["trainable"]:,}', f'{counts["frozen"]:,}')
        runner.logger.info(_text(table))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock; in one step, start counting bytes."""
        if len(self._seconds) == MEASURED_STEP and not torch.cuda.is_available():
            self._saved = self._measuring.enter_context(saved_for_backward(_bare(runner)))
        self._started = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._seconds.append(time.perf_counter() - self._started)
        self._measuring.close()

    def after_train(self, runner: Runner) -> None:
        """Log the costs and write ``summary.json`` into the work dir."""
        if not is_main_process():
            return
        summary = self._summary(runner)
        atomic_write(Path(runner.work_dir, 'summary.json'), json.dumps(summary, indent=2).encode())
        table = Table('what', 'value', title='Summary')
        for name, value in summary.items():
            table.add_row(name.replace('_', ' '), f'{value:,}' if value is not None else '-')
        runner.logger.info(_text(table))

    def _summary(self, runner: Runner) -> dict[str, float | int | None]:
        counts = part_counts(_bare(runner))
        trained = {part: tally['trainable'] for part, tally in counts.items()}
        task = Path(runner.work_dir, 'last.task.safetensors')
        sizes = inspect_task(task)['bytes'] if task.is_file() else {}
        steps = self._seconds[WARM_UP:] or self._seconds
        cuda = torch.cuda.is_available()
        return {
            'trainable_parameters': sum(trained.values()),
            **{f'trainable_{part}': count for part, count in trained.items()},
            'task_bytes_adapters': sizes.get('adapters'),
            'task_bytes_file': sizes.get('file'),
            'peak_allocated_bytes': torch.cuda.max_memory_allocated() if cuda else None,
            'saved_for_backward_bytes': self._saved.total if self._saved else None,
            'step_seconds': round(statistics.median(steps), 4) if steps else None,
        }


def _bare(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _text(table: Table) -> str:
    page = io.StringIO()
    Console(width=100, file=page).print(table)
    return '\n' + page.getvalue()
