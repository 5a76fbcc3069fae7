"""How long a training lasts, in the unit that its config counts: iterations or epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from mmengine.config import Config

from mmqadapter.studies.sweep.fields import whole

ITERATIONS, EPOCHS = 'iterations', 'epochs'
# Where a training loop says when it ends, by unit.
LIMITS = {ITERATIONS: 'max_iters', EPOCHS: 'max_epochs'}


@dataclass(frozen=True)
class Length:
    """How long a training lasts.

    Attributes:
        count: Of the unit.
        unit: ``ITERATIONS`` or ``EPOCHS``.
    """

    count: int
    unit: str = ITERATIONS

    @property
    def by_epoch(self) -> bool:
        """Whether mmengine counts epochs."""
        return self.unit == EPOCHS

    def __str__(self) -> str:
        return f'{self.unit}{self.count}'


def read_length(content: Mapping[str, Any], cfg: Config) -> Length:
    """The length that a sweep file gives, in the unit of its config.

    Raises:
        ValueError: It gives none or two, one in the other unit, or one that the schedule does not
            fit in.
    """
    given = [unit for unit in LIMITS if unit in content]
    if len(given) != 1:
        raise ValueError(f'give one of {" and ".join(LIMITS)}, in the unit that the config counts.')
    length = Length(whole(given[0], content[given[0]], 1), given[0])
    loop = cfg.get('train_cfg') or {}
    if not loop.get(LIMITS[length.unit]):
        counted = [unit for unit, limit in LIMITS.items() if loop.get(limit)] or ['neither']
        raise ValueError(
            f'{length.unit}={length.count}, but the config counts {counted[0]} (train_cfg); give '
            f'its length as {" or ".join(LIMITS)}, whichever its loop has.'
        )
    _check_schedule(cfg, length)
    return length


def set_length(cfg: Config, length: Length, whole: Length, validations: int) -> None:
    """Let a config train for ``length``, in place.

    Args:
        cfg: Of a training.
        length: How long it trains; in iterations it may be a piece of a training of epochs.
        whole: How long the schedule is: parts of it that end with the config's end now end there.
        validations: How many at most, evenly spaced; the last one at the end.
    """
    before = cfg.train_cfg[LIMITS[whole.unit]]
    interval = ceil(length.count / validations)
    if length.unit == whole.unit:
        cfg.train_cfg.update({LIMITS[length.unit]: length.count, 'val_interval': interval})
        for name in ('val_begin', 'dynamic_intervals'):
            cfg.train_cfg.pop(name, None)
    else:
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=length.count)
    for scheduler in _schedulers(cfg, whole):
        for key in ('end', 'T_max'):
            if scheduler.get(key) == before:
                scheduler[key] = whole.count


def _check_schedule(cfg: Config, length: Length) -> None:
    for scheduler in _schedulers(cfg, length):
        last = max([scheduler.get('begin', 0), *scheduler.get('milestones', ())])
        if last >= length.count:
            raise ValueError(
                f'{length.unit}={length.count}, but a part of param_scheduler begins at '
                f'{last}; train longer or shorten the schedule (overrides).'
            )


def _schedulers(cfg: Config, length: Length) -> Iterator[dict]:
    """Parts of the schedule that count in the unit of ``length``."""
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('by_epoch', True) == length.by_epoch:
            yield scheduler
