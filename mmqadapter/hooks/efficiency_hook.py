"""What tuning costs, logged while it trains, so that TensorBoard and wandb show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmqadapter.hooks.metered_hook import MeteredHook
from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import inspect_task
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.sharding import as_built, whole_counts
from mmqadapter.utils.tuned_backbone import tuned_backbone

PREFIX = 'efficiency/'


@HOOKS.register_module()
class EfficiencyHook(MeteredHook):
    """Logs the figures of ``tools/benchmark.py`` during training; writes ``efficiency.json``.

    Median seconds of a step and its parts over the last ``interval`` steps, bytes kept for
    backward (one step, on a CPU) or the peak of a GPU, and trainable parameters go to all
    visualiser backends as ``efficiency/...``; bytes of the task file follow at the end. Parts of a
    step: backward ends where the optimiser begins, so unscaling and clipping belong to it.

    Args:
        interval: Steps between two logs.

    Raises:
        ValueError: ``interval`` is less than 1.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval} is too small; log every step with 1.')
        self.interval = interval
        self._counts: dict[str, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Count what trains; start to measure."""
        super().before_train(runner)
        self._counts = _counts(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """The step has ended; log now and then."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.every_n_train_iters(runner, self.interval):
            costs = {**self.meter.medians(self.interval), **self.meter.memory(), **self._counts}
            _log(runner, costs, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Log the sizes of the task file, and write all figures into the work dir."""
        super().after_train(runner)
        if not is_main_process():
            return
        sizes = _sizes(runner)
        _log(runner, sizes, runner.iter)
        figures = {
            **self._counts,
            **sizes,
            **self.meter.memory(),
            **self.meter.medians(),
            'steps': len(self.meter.steps),
        }
        content = json.dumps(figures, indent=2).encode()
        atomic_write(Path(runner.work_dir, 'efficiency.json'), content)


def _log(runner: Runner, figures: dict[str, Any], step: int) -> None:
    known = {PREFIX + name: value for name, value in figures.items() if value is not None}
    if known:
        runner.visualizer.add_scalars(known, step=step)


def _counts(runner: Runner) -> dict[str, int]:
    counts = whole_counts(runner.model)
    trained = {part: tally['trainable'] for part, tally in counts.items()}
    inside = sum(count for part, count in trained.items() if part.startswith('backbone'))
    return {'trainable_backbone_params': inside, 'trainable_params': sum(trained.values())}


def _sizes(runner: Runner) -> dict[str, int | None]:
    """Bytes of the task file; where nothing is frozen the whole model has to be kept."""
    if stored := written_bytes(runner):
        return {'adapter_bytes': stored['adapters'], 'task_bytes': stored['file']}
    with as_built(runner.model) as model:
        plain = tuned_backbone(model) is None
        whole = sum(tensor.nbytes for tensor in model.state_dict().values()) if plain else None
    return {'adapter_bytes': None, 'task_bytes': whole}


def written_bytes(runner: Runner) -> dict[str, int]:
    """Bytes of the task file of a training; none where another left its own in the work dir."""
    task = Path(runner.work_dir, 'last.task.safetensors')
    with as_built(runner.model) as model:
        tuned = tuned_backbone(model) is not None
    return inspect_task(task)['bytes'] if tuned and task.is_file() else {}
