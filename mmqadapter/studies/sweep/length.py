"""Length of a training in the unit that its config counts: iterations or epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from mmengine.config import Config

from mmqadapter.studies.sweep.fields import integer

ITERATIONS, EPOCHS = 'iterations', 'epochs'
# Setting of a training loop that holds its length, by unit.
LIMITS = {ITERATIONS: 'max_iters', EPOCHS: 'max_epochs'}


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Attributes:
        count: Number of iterations or epochs.
        unit: ``ITERATIONS`` or ``EPOCHS``.
    """

    count: int
    unit: str = ITERATIONS

    @property
    def by_epoch(self) -> bool:
        """Return whether the length is in epochs."""
        return self.unit == EPOCHS

    def __str__(self) -> str:
        return f'{self.unit}{self.count}'


def read_length(content: Mapping[str, Any], cfg: Config) -> Length:
    """Return the length that a sweep file sets, which has to be in the unit of its config.

    Raises:
        ValueError: The file sets none or both of ``iterations`` and ``epochs`` or the one that the
            config does not count, or the schedule does not fit into the length.
    """
    units = [unit for unit in LIMITS if unit in content]
    if len(units) != 1:
        raise ValueError('set one of iterations and epochs: the unit that train_cfg counts.')
    length = Length(integer(units[0], content[units[0]], 1), units[0])
    loop = cfg.get('train_cfg') or {}
    if not loop.get(LIMITS[length.unit]):
        counted = [unit for unit, limit in LIMITS.items() if loop.get(limit)] or ['neither']
        raise ValueError(
            f'{length.unit}={length.count} is invalid: the train_cfg of the config counts '
            f'{counted[0]}; set {" or ".join(LIMITS)}, whichever it counts.'
        )
    _check_schedule(cfg, length)
    return length


def _interval(length: Length, validations: int) -> int:
    return ceil(length.count / validations)


def validation_count(length: Length, validations: int) -> int:
    """Return how often a training validates that may do so ``validations`` times, evenly spaced."""
    return ceil(length.count / _interval(length, validations)) if validations else 0


def set_length(cfg: Config, length: Length, schedule_length: Length, validations: int) -> None:
    """Make a config train for ``length``, in place.

    Args:
        cfg: Config of a training.
        length: Length of the training; it may be in iterations where the schedule is in epochs.
        schedule_length: Length of the schedule: its parts that end with the training in ``cfg``
            are changed to end there.
        validations: Maximum number of validations, evenly spaced; the last one is at the end.
    """
    old_count = cfg.train_cfg[LIMITS[schedule_length.unit]]
    interval = _interval(length, validations)
    if length.unit == schedule_length.unit:
        cfg.train_cfg.update({LIMITS[length.unit]: length.count, 'val_interval': interval})
        for name in ('val_begin', 'dynamic_intervals'):
            cfg.train_cfg.pop(name, None)
    else:
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=length.count)
    for scheduler in _schedulers(cfg, schedule_length):
        for key in ('end', 'T_max'):
            if scheduler.get(key) == old_count:
                scheduler[key] = schedule_length.count


def _check_schedule(cfg: Config, length: Length) -> None:
    for scheduler in _schedulers(cfg, length):
        start = max([scheduler.get('begin', 0), *scheduler.get('milestones', ())])
        if start >= length.count:
            raise ValueError(
                f'{length.unit}={length.count} is too short: a part of param_scheduler begins at '
                f'{start}; train longer or shorten the schedule with overrides.'
            )


def _schedulers(cfg: Config, length: Length) -> Iterator[dict]:
    """Yield the parts of the schedule that count in the unit of ``length``."""
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('by_epoch', True) == length.by_epoch:
            yield scheduler
