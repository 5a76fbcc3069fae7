"""Rows of a sweep's report: scores of the seeds, differences, learning rates, sizes and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.schedule import Results

Row = dict[str, Any]
UNKNOWN_MACHINE = 'not recorded'
Scores = Mapping[int, float]


def make_rows(sweep: Sweep, names: Sequence[str], results: Results) -> list[Row]:
    """Return a row for each method; unknown values are None.

    Differences are in points and pair equal seeds, which have the same data order and the same
    initial head. Sizes are those of the first seed.
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
            'machines': _machines(name, results),
            'curves': _by_seed(name, 'losses', results),
            'validations': _by_seed(name, 'validations', results),
        }
        for name in names
    ]


def _by_seed(name: str, curve: str, results: Results) -> dict[str, list]:
    return {
        str(outcome.training.seed): outcome.result.get(curve, [])
        for outcome in results.trained
        if outcome.training.method == name and outcome.result is not None
    }


def _machines(name: str, results: Results) -> list[str]:
    """Return the machines of the trainings that are reported, as far as results name them."""
    trained = (o.result for o in results.trained if o.training.method == name and o.result)
    return sorted({result.get('machine') or UNKNOWN_MACHINE for result in trained})


def _scores(name: str, results: Results) -> dict[int, float]:
    """Return the scores by seed, without those that are not finite."""
    return {
        outcome.training.seed: outcome.score
        for outcome in results.trained
        if outcome.training.method == name and math.isfinite(outcome.score)
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
    base, at, _ = name.partition('@')
    references = {'frozen': 'frozen', 'full': 'full', '32_bits': base if at else ''}
    return {
        f'minus_{key}': _paired(scores[name], scores[method]) if method in scores else None
        for key, method in references.items()
    }


def _paired(scores: Scores, reference: Scores) -> dict[str, float]:
    return {str(seed): scores[seed] - reference[seed] for seed in scores if seed in reference}


def _rates(sweep: Sweep, name: str, results: Results) -> Row:
    best = results.tuned.best.get(name)
    return {
        'group': sweep.methods[name].group,
        'head_rate': best.head_rate if best else None,
        'rate': best.rate if best else None,
        'tuning': [
            {
                'head_rate': outcome.training.head_rate,
                'rate': outcome.training.rate,
                'score': outcome.score if math.isfinite(outcome.score) else None,
            }
            for outcome in results.tuned.outcomes
            if outcome.training.method == name
        ],
    }


def _costs(name: str, results: Results) -> Row:
    outcomes = (outcome for outcome in results.trained if outcome.training.method == name)
    result: Row = next((outcome.result for outcome in outcomes if outcome.result is not None), {})
    timed = results.timed.get(name)
    # A timed training was alone on the machine and ran with this version of the package.
    measured: Row = timed.result if timed and timed.result else result
    return {
        'trainable_backbone_params': result.get('trainable_backbone_params'),
        'trainable_params': result.get('trainable_params'),
        'adapter_bytes': result.get('adapter_bytes'),
        'task_bytes': result.get('task_bytes'),
        'saved_for_backward_bytes': measured.get('saved_for_backward_bytes'),
        'peak_allocated_bytes': measured.get('peak_allocated_bytes'),
        'step_seconds': None if measured is result else measured['step_seconds'],
    }
