"""Results of a training: its score, loss curve, sizes and costs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmqadapter.checkpoints.safe_load import read_pickle
from mmqadapter.hooks.efficiency_hook import SUMMARY_FILE
from mmqadapter.studies.sweep.training import TIME, Training

# Keys of version 0.1.0 in summary.json and result.json.
TRAINABLE = 'trainable_parameters'
RENAMED = {
    TRAINABLE: 'trainable_params',
    'task_bytes_adapters': 'adapter_bytes',
    'task_bytes_file': 'task_bytes',
}
PART_PREFIX = 'trainable_'
# Detectors are scored by shares, segmentors by points out of 100.
SHARES = ('coco/', 'pascal_voc/')
NO_METRICS = {'step', 'iter', 'loss', 'time', 'data_time'}


@dataclass(frozen=True)
class Outcome:
    """A training that has ended.

    Attributes:
        training: The training.
        result: Content of its result.json; None if it failed.
        failure: Reason for the failure; None if it succeeded.
        log: File with its output.
    """

    training: Training
    result: dict[str, Any] | None
    failure: str | None = None
    log: Path | None = None

    @property
    def score(self) -> float:
        """Points out of 100; minus infinity where there is no score, or where it is NaN."""
        score = None if self.result is None else self.result['score']
        return -math.inf if score is None or math.isnan(score) else score


def is_finished(work: Path) -> bool:
    """Return whether a work dir is that of a training that ended without an error."""
    return (work / SUMMARY_FILE).is_file()


def collect(work: Path, metric: str, training: Training) -> dict[str, Any]:
    """Return the result of a finished training, for result.json.

    Raises:
        ValueError: Its validation gave no ``metric``, but others.
    """
    lines = [_with_none_found(line, metric) for line in _scalars(work)]
    summary = _with_current_keys(json.loads((work / SUMMARY_FILE).read_text()))
    if summary['task_bytes'] is None:  # sharded, or written by version 0.1.0
        summary['task_bytes'] = _weight_bytes(work)
    return {
        **summary,
        'score': None if training.purpose == TIME else _score(lines, metric),
        'losses': _curve(lines, 'loss'),
        'validations': _curve(lines, metric, unit_of(metric)),
        'seed': training.seed,
        training.length.unit: training.length.count,
        'head_rate': training.head_rate,
        'rate': training.rate,
    }


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of a result.json, under the present keys."""
    return _with_current_keys(json.loads(path.read_text()))


def _with_current_keys(figures: dict[str, Any]) -> dict[str, Any]:
    if TRAINABLE not in figures:
        return figures
    parts = {key for key in figures if key.startswith(PART_PREFIX) and key != TRAINABLE}
    by_part = {key.removeprefix(PART_PREFIX): figures[key] for key in sorted(parts)}
    in_backbone = sum(count for part, count in by_part.items() if part.startswith('backbone'))
    others = {RENAMED.get(key, key): figures[key] for key in figures if key not in parts}
    return {
        **others,
        'trainable_backbone_params': in_backbone,
        'trainable_params_by_part': by_part,
    }


def _scalars(work: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of all logs, the oldest first: a resumed training has several."""
    for path in sorted(work.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            with suppress(json.JSONDecodeError):  # a kill may have cut the last line short
                yield json.loads(line)


def _curve(lines: list[dict[str, Any]], name: str, unit: float = 1) -> list[list[float]]:
    """Return pairs of step and value; a step repeated after a kill counts once."""
    by_step = {line['step']: line[name] * unit for line in lines if name in line}
    return [[step, by_step[step]] for step in sorted(by_step)]


def unit_of(metric: str) -> int:
    """Return the factor that turns a metric into points out of 100."""
    return 100 if metric.startswith(SHARES) else 1


def _with_none_found(line: dict[str, Any], metric: str) -> dict[str, Any]:
    """Return 0 where a detector found nothing at all, since its metrics are undefined then."""
    mute = _is_validation(line) and not any(name.startswith(SHARES) for name in line)
    return {**line, metric: 0.0} if mute and metric.startswith(SHARES) else line


def validated(work: Path) -> int:
    """Return the number of validations that the logs of a work dir hold."""
    return len({line['step'] for line in _scalars(work) if _is_validation(line)})


def _is_validation(line: dict[str, Any]) -> bool:
    return 'data_time' in line and 'loss' not in line


def _score(lines: list[dict[str, Any]], metric: str) -> float:
    scores = [line[metric] for line in lines if metric in line]
    names = sorted({name for line in lines for name in line} - NO_METRICS)
    if not scores:
        raise ValueError(f'the validation gave no {metric!r}; logged are {", ".join(names)}.')
    return scores[-1] * unit_of(metric)


def _weight_bytes(work: Path) -> int | None:
    """Return the bytes of the whole model: the size of a task where nothing is frozen."""
    checkpoints = [*work.glob('iter_*.pth'), *work.glob('epoch_*.pth')]
    if not checkpoints:
        return None
    latest = max(checkpoints, key=lambda path: path.stat().st_mtime)
    state = read_pickle(latest)['state_dict']
    return sum(tensor.nbytes for tensor in state.values())
