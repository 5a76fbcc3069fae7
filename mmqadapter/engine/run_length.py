"""Length of a training: shortening a config with its schedule, and finding cut schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

ITERATIONS, EPOCHS = 'iterations', 'epochs'
# Setting of a training loop that holds its length, and option of the command, by unit.
LIMITS = {ITERATIONS: 'max_iters', EPOCHS: 'max_epochs'}
OPTIONS = {ITERATIONS: '--max-iters', EPOCHS: '--max-epochs'}
# Settings of schedulers and hooks that count iterations or epochs.
SCHEDULER_COUNTS = ('begin', 'end', 'T_max', 'total_iters', 'step_size', 'milestones')
HOOK_COUNTS = ('switch_epoch', 'num_last_epochs')


def set_run_length(cfg: Config, count: int, unit: str) -> None:
    """Make a config train for ``count`` iterations or epochs, in place.

    Schedule, validation, checkpoints and logging keep their shares of the training. Parts of the
    schedule that would be shorter than half a step are removed.

    Args:
        cfg: Config of a training.
        count: Number of iterations or epochs.
        unit: ``'iterations'`` or ``'epochs'``, whichever ``train_cfg`` of the config counts.

    Raises:
        ValueError: ``count`` is less than 1, or the config counts the other unit.
    """
    loop, key = cfg.get('train_cfg') or {}, LIMITS[unit]
    if count < 1:
        raise ValueError(f'{OPTIONS[unit]}={count} is invalid: expected a number of {unit} from 1.')
    if not loop.get(key):
        other = EPOCHS if unit == ITERATIONS else ITERATIONS
        remedy = f'use {OPTIONS[other]}' if loop.get(LIMITS[other]) else 'set its length there'
        raise ValueError(
            f'{OPTIONS[unit]}={count} does not fit the config, whose train_cfg does not count '
            f'{unit}; {remedy}.'
        )
    factor = count / loop[key]
    loop[key] = count
    _scale_validation(loop, factor)
    if cfg.get('param_scheduler'):
        cfg.param_scheduler = _scaled_schedule(cfg.param_scheduler, factor)
    _scale_hooks(cfg, factor, unit)


def cut_schedule(cfg: Config) -> str | None:
    """Return a warning if a training ends before its schedule does; None if it does not."""
    loop = cfg.get('train_cfg') or {}
    for unit, key in LIMITS.items():
        limit = loop.get(key)
        ends = [part.get('end') for part in _parts(cfg, by_epoch=unit == EPOCHS)]
        last = max((end for end in ends if isinstance(end, int)), default=0)
        if limit and last > limit:
            return (
                f'train_cfg.{key}={limit} ends the training before param_scheduler, which ends at '
                f'{last}: the rate does not come down. Set the ends in param_scheduler; to shorten '
                f'a training, {OPTIONS[unit]} takes schedule and intervals along, --cfg-options '
                'does not.'
            )
    return None


def _scaled(value: Any, factor: float, least: int = 1) -> Any:
    """Return a count, or counts in lists, times ``factor``; infinity and the like stay."""
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(item, factor, least) for item in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**9:
        return value
    return max(least, round(value * factor))


def _scale(settings: dict, names: tuple[str, ...], factor: float, least: int = 1) -> None:
    for name in names:
        if name in settings:
            settings[name] = _scaled(settings[name], factor, least)


def _scale_validation(loop: dict, factor: float) -> None:
    default = 1000 if 'max_iters' in loop else 1
    loop.setdefault('val_interval', default)
    _scale(loop, ('val_interval', 'val_begin', 'dynamic_intervals'), factor)


def _parts(cfg: Config, by_epoch: bool) -> Iterator[dict]:
    """Yield the parts of the schedule that count epochs, or those that count iterations."""
    parts = cfg.get('param_scheduler') or []
    for part in parts if isinstance(parts, (list, tuple)) else [parts]:
        if 'type' in part and part.get('by_epoch', True) == by_epoch:
            yield part


def _scaled_schedule(schedule: Any, factor: float) -> Any:
    """Return a schedule (one part, a list, or one of them per optimizer) times ``factor``."""
    if isinstance(schedule, (list, tuple)):
        scaled = [_scaled_schedule(part, factor) for part in schedule]
        return [part for part in scaled if part.get('begin', 0) < part.get('end', float('inf'))]
    if 'type' not in schedule:
        return {name: _scaled_schedule(part, factor) for name, part in schedule.items()}
    part = dict(schedule)
    _scale(part, ('begin', 'end'), factor, least=0)
    _scale(part, SCHEDULER_COUNTS[2:], factor)
    if 'milestones' in part:
        part['milestones'] = sorted(set(part['milestones']))
    return part


def _scale_hooks(cfg: Config, factor: float, unit: str) -> None:
    hooks = cfg.get('default_hooks') or {}
    if hooks.get('checkpoint'):
        _scale(hooks['checkpoint'], ('interval', 'save_begin'), factor)
    if hooks.get('logger') and unit == ITERATIONS:
        hooks['logger'].setdefault('interval', 10)
        _scale(hooks['logger'], ('interval',), factor)
    for hook in cfg.get('custom_hooks') or ():
        _scale(hook, HOOK_COUNTS, factor)
