"""Rows of a sweep's report: scores over seeds, differences, rates, sizes and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.schedule import Results

Row = dict[str, Any]
Scores = Mapping[int, float]


def make_rows(sweep: Sweep, names: Sequence[str], results: Results) -> list[Row]:
    """One row a method; what is not known is None.

    Differences are in points, seed by seed: equal seeds mean equal data order and an equal start
    of the head. Sizes are those of the first seed.
    """
    scores = {name: _scores(name, results) for name in names}
    return [
        {
            'method': name,
            'bits': sweep.methods[name].bits,
            'note': _note(name, len(sweep.seeds), scores[name], results),
            **_statistics(scores[name]),
            **_differences(name, scores),
            **_rates(sweep, name, results),
            **_costs(name, results),
            'curves': _by_seed(name, 'losses', results),
            'validations': _by_seed(name, 'validations', results),
        }
        for name in names
    ]


def _by_seed(name: str, curve: str, results: Results) -> dict[str, list]:
    return {
        str(one.training.seed): one.result.get(curve, [])
        for one in results.trained
        if one.training.method == name and one.result is not None
    }


def _scores(name: str, results: Results) -> dict[int, float]:
    """By seed; one that is no number is no score."""
    return {
        one.training.seed: one.score
        for one in results.trained
        if one.training.method == name and math.isfinite(one.score)
    }


def _note(name: str, seeds: int, scores: Scores, results: Results) -> str | None:
    if name not in results.tuned.best:
        return 'every training failed'
    failed = seeds - len(scores)
    return f'{failed} of {seeds} seeds failed or have no score' if failed else None


def _statistics(scores: Scores) -> Row:
    values = list(scores.values())
    return {
        'score_mean': statistics.mean(values) if values else None,
        'score_deviation': statistics.stdev(values) if len(values) > 1 else None,
        'scores': {str(seed): score for seed, score in scores.items()},
    }


def _differences(name: str, scores: Mapping[str, Scores]) -> Row:
    others = {'frozen': 'frozen', 'full': 'full'}
    kind, at, _ = name.partition('@')
    if at:
        others['32_bits'] = kind
    known = {word: scores[other] for word, other in others.items() if other in scores}
    return {
        f'minus_{word}': _paired(scores[name], known[word]) if word in known else None
        for word in ('frozen', 'full', '32_bits')
    }


def _paired(scores: Scores, others: Scores) -> dict[str, float]:
    return {str(seed): scores[seed] - others[seed] for seed in scores if seed in others}


def _rates(sweep: Sweep, name: str, results: Results) -> Row:
    best = results.tuned.best.get(name)
    return {
        'group': sweep.methods[name].group,
        'head_rate': best.head_rate if best else None,
        'rate': best.rate if best else None,
        'tuning': [
            {
                'head_rate': one.training.head_rate,
                'rate': one.training.rate,
                'score': one.score if math.isfinite(one.score) else None,
            }
            for one in results.tuned.outcomes
            if one.training.method == name
        ],
    }


def _costs(name: str, results: Results) -> Row:
    mine = (one for one in results.trained if one.training.method == name)
    found: Row = next((one.result for one in mine if one.result is not None), {})
    timed = results.timed.get(name)
    # Made on purpose, alone on the machine, and by this version of the package.
    measured: Row = timed.result if timed and timed.result else found
    return {
        'trainable_backbone_params': found.get('trainable_backbone_params'),
        'trainable_params': found.get('trainable_params'),
        'adapter_bytes': found.get('adapter_bytes'),
        'task_bytes': found.get('task_bytes'),
        'saved_for_backward_bytes': measured.get('saved_for_backward_bytes'),
        'peak_allocated_bytes': measured.get('peak_allocated_bytes'),
        'step_seconds': None if measured is found else measured['step_seconds'],
    }
