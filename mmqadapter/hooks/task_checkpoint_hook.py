"""Training checkpoints without the frozen trunk, and the task files of a run."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import Runner
from torch import nn

from mmqadapter.checkpoints.content import (
    check_bits,
    check_fits,
    check_tuning,
    drop_frozen,
    mark_checkpoint,
)
from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.engine.atomic_backend import BACKEND
from mmqadapter.engine.missed_validation import validation_is_due
from mmqadapter.hooks.earlier_tasks import set_aside
from mmqadapter.registry import HOOKS
from mmqadapter.taskfile import save_task
from mmqadapter.taskfile.head_bits import HeadBits, check_head_bits, layer_bits
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.sharding import as_built, trained_whole
from mmqadapter.utils.tuned_backbone import tuned_backbone


@HOOKS.register_module()
class TaskCheckpointHook(CheckpointHook):
    """Hook that saves checkpoints and task files of tuned models, as mmengine's CheckpointHook.

    Use it as ``default_hooks.checkpoint``. Checkpoints hold what training changes; the frozen
    trunk comes from its own weights, which a fingerprint checks. Files are written atomically, and
    ``last_checkpoint`` always names a complete one.

    ``best.task.safetensors`` (of the first ``save_best`` metric) and ``last.task.safetensors`` in
    the work dir hold the task. With an EMA hook they have the averaged weights, as validation does.

    A training that does not resume that of its work dir first renames the task files there:
    ``best.task.safetensors`` becomes ``best_<time at which it was written>.task.safetensors``.

    A training that ends early (``EarlyStoppingHook``, a signal) leaves a checkpoint of its last
    step, whatever the interval.

    If a run resumes where a validation was due that a kill interrupted, that validation runs
    before training goes on.

    Args:
        keep_trunk: Save the frozen trunk in the checkpoints as well.
        head_bits: Bits of each weight of neck and head in the task files, as ``head_bits`` of
            :func:`mmqadapter.save_task`: 32 or 16; or 8, 4, 2 or 1; or numbers by regex over names
            of layers. Training itself stays in float; ``QuantizeTaskHook`` trains with few bits.
        **kwargs: Arguments of ``mmengine.hooks.CheckpointHook``.

    Raises:
        ValueError: ``head_bits`` is invalid.
    """

    def __init__(
        self, *, keep_trunk: bool = False, head_bits: HeadBits = 32, **kwargs: Any
    ) -> None:
        check_head_bits(head_bits)  # now, not hours later at the first task file
        local = '://' not in str(kwargs.get('out_dir'))
        if local and not (kwargs.get('backend_args') or kwargs.get('file_client_args')):
            kwargs['backend_args'] = dict(backend=BACKEND)
        super().__init__(**kwargs)
        self.keep_trunk = keep_trunk
        self.head_bits = head_bits
        self._position: dict[str, int] = {}
        self._validated: int | None = None
        self._saved: int | None = None
        self._earlier_tasks: list[Path] = []
        self._written_best_score: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Prepare saving, and run a validation that was missed.

        All other hooks are ready by then, except EfficiencyHook, which only measures.

        Raises:
            ValueError: A pattern in ``head_bits`` matches no layer, or the joined datasets of the
                training have different classes.
        """
        super().before_train(runner)
        _dataset_meta(runner)  # now, not hours later at the first task file
        self._forget_best_elsewhere()
        self._written_best_score = self._best_score(runner)
        self._check_model(runner)
        self._set_earlier_tasks_aside(runner)
        if runner._resume and runner.iter >= runner.max_iters:
            runner.logger.warning(
                f'Nothing is left to train: the resumed training has reached iteration '
                f'{runner.iter} of {runner.max_iters}; ask for more iterations or epochs to go on.'
            )
        if runner.iter not in (0, self._validated) and validation_is_due(runner):
            runner.logger.info(
                f'Running the validation after iteration {runner.iter}, which was missed.'
            )
            runner.val_loop.run()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the trunk's fingerprint and remove the trunk, also from averaged weights."""
        checkpoint['meta'].update(self._position, validated=self._validated)
        with as_built(runner.model) as model:
            mark_checkpoint(model, checkpoint)
            if not self.keep_trunk:
                drop_frozen(model, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that the checkpoint fits the model, which has its own trunk.

        Raises:
            ValueError: The checkpoint has another trunk or lacks something that trains, or a
                training resumes with other adapters or without its QuantizeTaskHook.
        """
        with as_built(runner.model) as model:
            check_fits(model, checkpoint)
            if runner._resume:
                check_tuning(model, checkpoint)
                check_bits(model, checkpoint)
                self._validated = checkpoint['meta'].get('validated')
                self._saved = checkpoint['meta']['iter']

    def after_train(self, runner: Runner) -> None:
        """Save the last checkpoint, and write the task file of the trained model."""
        if 0 < runner.iter < runner.max_iters and runner.iter != self._saved:
            self._save_early_end(runner)
        super().after_train(runner)
        self._write_task(runner, 'last')
        self._log_earlier_tasks(runner, 'Task files of an earlier training are kept')

    def _save_early_end(self, runner: Runner) -> None:
        """Save a checkpoint after a training that did not reach its end."""
        runner.logger.info(f'Saving checkpoint at iteration {runner.iter}, where training ends.')
        if not self.by_epoch:
            self._save_checkpoint_with_step(runner, runner.iter, meta={})
        elif runner.iter == runner.epoch * len(runner.train_dataloader):
            self._save_checkpoint_with_step(runner, runner.epoch, meta={})
        else:  # within an epoch: under a name of its own, beside those of whole epochs
            settings = dict(by_epoch=False, filename_tmpl='iter_{}.pth', max_keep_ckpts=-1)
            usual = {name: getattr(self, name) for name in settings}
            self.__dict__.update(settings)
            self._save_checkpoint_with_step(runner, runner.iter, meta={})
            self.__dict__.update(usual)

    def _check_model(self, runner: Runner) -> None:
        with as_built(runner.model) as model:
            tuned = tuned_backbone(model) is not None
            if tuned:
                layer_bits(model, self.head_bits)  # raises where a pattern matches no layer
        if not tuned:
            runner.logger.info(
                'The model has no frozen trunk: checkpoints are whole, no task file is written.'
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save; the old pointer and the file it names stay until the new ones are complete."""
        self._write_best(runner)  # first: once the checkpoint holds the score, it is not new
        runner.call_hook('collect_from_all_ranks')
        outdated = self._pop_outdated(step)
        # FlexibleRunner counts one iteration too many in a checkpoint that follows a validation.
        epoch, iteration = (step, runner.iter) if self.by_epoch else (runner.epoch, step)
        self._position = {'epoch': epoch, 'iter': iteration}
        with TemporaryDirectory() as scratch:
            super()._save_checkpoint_with_step(_WithWorkDir(runner, scratch), step, meta)
        self._position, self._saved = {}, iteration
        if is_main_process():
            atomic_write(Path(runner.work_dir, 'last_checkpoint'), str(self.last_ckpt).encode())
            if outdated is not None and self.file_backend.isfile(outdated):
                self.file_backend.remove(outdated)

    def _pop_outdated(self, step: int) -> str | None:
        """Return the checkpoint that the one of ``step`` replaces; the parent class forgets it.

        The parent would remove it before the new checkpoint is complete.
        """
        if self.max_keep_ckpts <= 0:
            return None
        steps = self.keep_ckpt_ids
        if len(steps) < self.max_keep_ckpts or steps[-1] == step:
            return None
        name = self.filename_tmpl.format(steps.popleft())
        return self.file_backend.join_path(self.out_dir, name)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Save the best checkpoint and, if the first metric improved, the task file.

        The previous best one, which mmengine removes first, stays until the new one is complete.
        """
        self._written_best_score, self._validated = self._best_score(runner), runner.iter
        deferred = _DeferredRemoval(self.file_backend)
        self._position = {'epoch': runner.epoch, 'iter': runner.iter}
        self.file_backend: Any = deferred
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend, self._position = deferred.backend, {}
        deferred.remove_now(keep=self._best_files())
        self._write_best(runner)

    def _forget_best_elsewhere(self) -> None:
        """Forget best checkpoints of the run that this one resumes, if they are in another folder.

        mmengine removes the previous best checkpoint when a better one comes, in any folder.
        """
        if not self._is_in_out_dir(getattr(self, 'best_ckpt_path', None)):
            self.best_ckpt_path = None
        by_metric = getattr(self, 'best_ckpt_path_dict', {})
        elsewhere = [name for name, path in by_metric.items() if not self._is_in_out_dir(path)]
        by_metric.update(dict.fromkeys(elsewhere))

    def _is_in_out_dir(self, path: str | None) -> bool:
        out_dir = os.path.abspath(self.out_dir)
        return path is None or os.path.dirname(os.path.abspath(path)) == out_dir

    def _set_earlier_tasks_aside(self, runner: Runner) -> None:
        """Rename the task files in the work dir, unless this run goes on with their training."""
        loaded = runner._load_from  # None if mmengine finds the last checkpoint of the work dir
        goes_on = runner._resume and (loaded is None or self._is_in_out_dir(str(loaded)))
        if is_main_process() and not goes_on:
            self._earlier_tasks = set_aside(runner.work_dir)
            self._log_earlier_tasks(runner, 'Task files of an earlier training were renamed')

    def _log_earlier_tasks(self, runner: Runner, text: str) -> None:
        """Name the renamed files; the text differs, since mmengine drops a repeated warning."""
        if self._earlier_tasks:
            names = ', '.join(path.name for path in self._earlier_tasks)
            runner.logger.warning(f'{text} in {runner.work_dir}: {names}.')

    def _best_files(self) -> set[str | None]:
        """Return the paths of the best checkpoints; mmengine keeps one, or one for each metric."""
        by_metric = getattr(self, 'best_ckpt_path_dict', {})
        return {getattr(self, 'best_ckpt_path', None), *by_metric.values()}

    def _best_score(self, runner: Runner) -> float | None:
        """Return the best score of the first metric so far; None before there is one."""
        metric = '' if not self.save_best or len(self.save_best) == 1 else f'_{self.save_best[0]}'
        return runner.message_hub.runtime_info.get(f'best_score{metric}')

    def _write_best(self, runner: Runner) -> None:
        """Write the task file of the best score, unless it has been written."""
        if self._best_score(runner) != self._written_best_score:
            self._write_task(runner, 'best')
            self._written_best_score = self._best_score(runner)

    def _write_task(self, runner: Runner, name: str) -> None:
        """Write ``<name>.task.safetensors`` into the work dir; every process must call this."""
        with trained_whole(_evaluated_model(runner)) as model:
            if not is_main_process() or tuned_backbone(model) is None:
                return
            path = Path(runner.work_dir, f'{name}.task.safetensors')
            save_task(model, path, dataset_meta=_dataset_meta(runner), head_bits=self.head_bits)
            runner.logger.info(f'Task file written: {path} ({path.stat().st_size:,} bytes).')


class _WithWorkDir:
    """A runner with another work dir, for mmengine to write a ``last_checkpoint`` into.

    mmengine does not write that file atomically.
    """

    def __init__(self, runner: Runner, work_dir: str) -> None:
        self._runner = runner
        self.work_dir = work_dir

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)


class _DeferredRemoval:
    """A file backend that removes files only at ``remove_now``, once all others are written."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._outdated: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self._outdated.append(path)

    def remove_now(self, keep: Container[str | None]) -> None:
        for path in self._outdated:
            if path not in keep and self.backend.isfile(path):
                self.backend.remove(path)


def _evaluated_model(runner: Runner) -> nn.Module:
    """Return the model that validation evaluates: with an EMA hook, the averaged one."""
    ema = next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)
    return runner.model if ema is None else ema.ema_model.module


def _dataset_meta(runner: Runner) -> dict[str, list]:
    """Return classes and palette of the training data, as plain lists."""
    return dataset_meta(getattr(runner.train_dataloader.dataset, 'metainfo', None))
