"""Costs of a training: logged while it runs, and written to ``summary.json`` at its end."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.table import Table
from torch import nn

from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import inspect_task
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.machine import machine_name
from mmqadapter.utils.optimizers import optimizers
from mmqadapter.utils.sharding import as_built, is_sharded, whole_counts
from mmqadapter.utils.step_meter import StepMeter
from mmqadapter.utils.tables import table_text
from mmqadapter.utils.tuned_backbone import tuned_backbone

SUMMARY_FILE = 'summary.json'
SCALAR_PREFIX = 'efficiency/'
Figures = dict[str, Any]


@HOOKS.register_module()
class EfficiencyHook(Hook):
    """Hook that measures what training costs, under the key names of ``mmqadapter benchmark``.

    Before training it logs how many parameters of each part of the model train and how many are
    frozen. During training it passes these scalars to all visualizer backends as
    ``efficiency/<key>``: ``trainable_params`` and ``trainable_backbone_params``; the median
    ``step_seconds``, ``forward_seconds``, ``backward_seconds`` and ``optimizer_seconds`` of the
    last ``interval`` steps, without data loading; and either ``saved_for_backward_bytes`` (a CPU:
    activation memory of one step) or ``peak_allocated_bytes`` and ``peak_reserved_bytes`` (a GPU).
    After training it adds ``adapter_bytes`` and ``task_bytes`` (sizes of the task file), logs a
    table, and writes all figures to ``summary.json`` in the work dir: those above with medians
    over all steps but the first five, ``trainable_params_by_part``, the number of ``steps`` and the
    ``machine`` (processor, PyTorch, threads). If the run was resumed, that is the part after it:
    ``from_iteration`` and ``to_iteration`` say which steps (from 1) the figures cover.

    It runs last, so that a step's time does not contain the work of other hooks and the task file
    exists when its size is read. If a config lists the hook twice, the second does nothing.

    Args:
        interval: Number of steps between two logs.

    Attributes:
        meter: Meter of this training's steps; None before training and in a second hook.

    Raises:
        ValueError: ``interval`` is less than 1.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int = 50) -> None:
        if type(interval) is not int or interval < 1:
            raise ValueError(
                f'interval={interval!r} is invalid: expected a number of steps; use 1 to log each.'
            )
        self.interval = interval
        self.meter: StepMeter | None = None
        self._params: Figures = {}
        self._params_by_part: dict[str, int] = {}
        self._resumed_at = 0

    def before_train(self, runner: Runner) -> None:
        """Log and count what trains, and start measuring."""
        if _measuring_hook(runner) is not self:
            runner.logger.warning(
                'custom_hooks lists EfficiencyHook more than once (TuningSummaryHook is its former '
                'name); only one of them measures. Keep EfficiencyHook and remove the others.'
            )
            return
        self._resumed_at = runner.iter
        self.meter = StepMeter(runner.model, optimizers(runner.optim_wrapper))
        counts = whole_counts(runner.model)
        self._params_by_part = {part: count['trainable'] for part, count in counts.items()}
        self._params = _trainable_params(self._params_by_part)
        runner.logger.info(_parameter_table(counts))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin to measure a step."""
        if self.meter is not None:
            self.meter.begin()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """End the step's measurement, and log every ``interval`` steps."""
        if self.meter is None:
            return
        self.meter.end()
        if self.every_n_train_iters(runner, self.interval):
            figures = {**self.meter.medians(self.interval), **self.meter.memory(), **self._params}
            _log_scalars(runner, figures, runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        """Leave the memory of validation out of the peak."""
        if self.meter is not None:
            self.meter.pause()

    def after_train(self, runner: Runner) -> None:
        """Log the sizes of the task file, and write all figures to ``summary.json``."""
        if self.meter is None:
            return
        self.meter.close()
        if not is_main_process() or runner.iter == self._resumed_at:  # no step: nothing measured
            return
        sizes = _task_sizes(runner)
        _log_scalars(runner, sizes, runner.iter)
        figures = {
            **self._params,
            'trainable_params_by_part': self._params_by_part,
            **sizes,
            **self.meter.memory(),
            **self.meter.medians(),
            'steps': len(self.meter.steps),
            'from_iteration': self._resumed_at + 1,
            'to_iteration': runner.iter,
        }
        machine = machine_name(next(runner.model.parameters()).device)
        content = json.dumps({**figures, 'machine': machine}, indent=2).encode()
        atomic_write(Path(runner.work_dir, SUMMARY_FILE), content)
        runner.logger.info(_summary_table(figures))


@HOOKS.register_module()
class TuningSummaryHook(EfficiencyHook):
    """Former name of :class:`EfficiencyHook`, for configs that use it."""

    def __init__(self, interval: int = 50) -> None:
        warnings.warn(
            'TuningSummaryHook is now EfficiencyHook; use that name in custom_hooks.',
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(interval)


def _measuring_hook(runner: Runner) -> EfficiencyHook:
    """Return the hook of a runner that measures: the first, but preferably of the present name.

    Configs of version 0.1.0 list both names, and only EfficiencyHook with an interval.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, EfficiencyHook)]
    return min(hooks, key=lambda hook: isinstance(hook, TuningSummaryHook))


def _trainable_params(by_part: dict[str, int]) -> Figures:
    in_backbone = sum(count for part, count in by_part.items() if part.startswith('backbone'))
    return {'trainable_backbone_params': in_backbone, 'trainable_params': sum(by_part.values())}


def _task_sizes(runner: Runner) -> Figures:
    """Return the bytes of the adapters in the task file, and of all that a task needs.

    That is the task file, or the whole model where no trunk is frozen. A task file in the work dir
    of such a model belongs to another training and does not count.
    """
    with as_built(runner.model) as model:
        has_task_file = tuned_backbone(model) is not None
    if not has_task_file:
        return {'adapter_bytes': None, 'task_bytes': _model_bytes(runner.model)}
    path = Path(runner.work_dir, 'last.task.safetensors')
    stored = inspect_task(path)['bytes'] if path.is_file() else {}
    return {'adapter_bytes': stored.get('adapters'), 'task_bytes': stored.get('file')}


def _model_bytes(model: nn.Module) -> int | None:
    if is_sharded(model):  # this process holds only a part of each weight
        return None
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def _log_scalars(runner: Runner, figures: Figures, step: int) -> None:
    measured = {SCALAR_PREFIX + key: value for key, value in figures.items() if value is not None}
    if measured:
        runner.visualizer.add_scalars(measured, step=step)


def _parameter_table(counts: dict[str, dict[str, int]]) -> str:
    table = Table('part', 'trainable', 'frozen', title='Parameters')
    for part, count in counts.items():
        table.add_row(part, f'{count["trainable"]:,}', f'{count["frozen"]:,}')
    return table_text(table)


def _summary_table(figures: Figures) -> str:
    table = Table('what', 'value', title='Summary')
    for key, value in _flattened(figures):
        table.add_row(key.replace('_', ' '), _as_cell(value))
    return table_text(table)


def _flattened(figures: Figures) -> Iterator[tuple[str, float | None]]:
    for key, value in figures.items():
        if isinstance(value, dict):
            name = key.removesuffix('_by_part')
            yield from ((f'{name} of {part}', count) for part, count in value.items())
        else:
            yield key, value


def _as_cell(value: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:,.4f}' if isinstance(value, float) else f'{value:,}'
