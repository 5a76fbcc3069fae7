"""Random states in checkpoints, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner

from mmqadapter.engine import SeededDataset, StampedSampler
from mmqadapter.registry import HOOKS
from mmqadapter.utils.random_state import get_random_state, set_random_state

KEY = 'random_states'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Hook that saves the random states of all ranks in checkpoints and restores them on resume.

    It also restores them after validation, since a resumed run does not repeat the validation.
    It needs ``TaskCheckpointHook``, which collects the state of every rank before rank 0 writes
    the file, and data as :func:`mmqadapter.engine.exactly_resumable` configures it. If a run
    cannot resume exactly, a warning in the log says why.

    It runs before almost all other hooks, so that none of them draws random numbers before the
    states are restored.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._collected: list[dict] | None = None
        self._resumed: dict | None = None
        self._before_val: dict | None = None

    def before_train(self, runner: Runner) -> None:
        """Give the data loader, which draws a seed per iterator, a generator of its own."""
        runner.train_dataloader.generator = torch.Generator()

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore the resumed states in a loop over epochs, which resumes between two of them."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._restore()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restore the resumed states in a loop over iterations, once its data is found again."""
        self._restore()

    def before_val_epoch(self, runner: Runner) -> None:
        """Store the states before validation."""
        self._before_val = get_random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the states from before validation, before a best checkpoint is written."""
        if self._before_val is not None:
            set_random_state(self._before_val)
            self._before_val = None

    def collect_from_all_ranks(self, runner: Runner) -> None:
        """Gather the states; ``TaskCheckpointHook`` calls this on every rank before it saves."""
        # A state saved within validation is resumed before it.
        state = get_random_state() if self._before_val is None else self._before_val
        self._collected = all_gather_object(state)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the gathered states (rank 0); best checkpoints, not meant for resuming, have none."""
        if self._collected is not None:
            checkpoint[KEY] = self._collected
            self._collected = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the state of this rank when resuming, and log whether the run resumes exactly."""
        if not runner._resume:
            return
        rank, world_size = get_dist_info()
        states = checkpoint.get(KEY, [])
        if len(states) == world_size:
            self._resumed = states[rank]
        reasons = list(_obstacles(runner, checkpoint['meta'], len(states), world_size))
        reasons += _optimizer_obstacles(runner, checkpoint)
        if reasons:
            runner.logger.warning('This run resumes, but not exactly: ' + '; '.join(reasons) + '.')
        else:
            runner.logger.info(f'This run resumes exactly: random states of {world_size} rank(s).')

    def _restore(self) -> None:
        """Set the resumed states, once."""
        if self._resumed is not None:
            set_random_state(self._resumed)
            self._resumed = None


def _obstacles(runner: Runner, meta: dict, saved: int, world_size: int) -> Iterator[str]:
    """Yield each reason why the resumed run will differ from an uninterrupted one."""
    if saved == 0:
        yield 'the checkpoint has no random states (TaskCheckpointHook saves them)'
    elif saved != world_size:
        yield f'the checkpoint is from {saved} process(es), this run has {world_size}'
    seed = runner._randomness_cfg.get('seed')
    if meta.get('seed') != seed:
        yield f'the seed was {meta.get("seed")} and is now {seed}'
    loader, loop = runner.train_dataloader, runner.train_loop
    sampler = getattr(loader.batch_sampler, 'sampler', None)
    dataset = getattr(loader.dataset, '_dataset', loader.dataset)  # under num_batch_per_epoch
    if not (isinstance(sampler, StampedSampler) and isinstance(dataset, SeededDataset)):
        yield 'the training data is not wrapped (mmqadapter.engine.exactly_resumable wraps it)'
    if getattr(loop, 'fast_forward_on_resume', False):
        yield 'fast_forward_on_resume=True starts the data from the beginning'
    by_epoch = not isinstance(loop, IterBasedTrainLoop)
    if by_epoch and meta['iter'] != meta['epoch'] * len(loader):
        yield 'the checkpoint was written in the middle of an epoch, which starts again'


def _optimizer_obstacles(runner: Runner, checkpoint: dict) -> Iterator[str]:
    """Yield each way in which the optimizer's state differs from an uninterrupted run's."""
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper):
        return
    if checkpoint['meta']['iter'] % wrapper._accumulative_counts:
        yield 'the checkpoint was written while gradients were being accumulated'
    saved = (checkpoint.get('optimizer') or {}).get('param_groups', [])
    # Not the wrapper's groups, to which mmengine adds one that only serves the log.
    pairs = zip(
        map(_initial_rate, saved), map(_initial_rate, wrapper.optimizer.param_groups), strict=False
    )
    for before, now in [pair for pair in pairs if pair[0] != pair[1]][:1]:
        yield (
            f'the learning rates of the checkpoint stay in force, such as {before:g}, where the '
            f'config sets {now:g}'
        )


def _initial_rate(group: dict) -> float:
    """Return the learning rate that the schedule of a parameter group starts from."""
    return float(group.get('initial_lr', group['lr']))
