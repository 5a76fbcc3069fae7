"""Study of a model's metric under noise on its tuned weights."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

from mmqadapter.studies.analysis.adapter_weights import DECODED, tuned_weights
from mmqadapter.studies.analysis.evaluation import (
    Evaluation,
    choose_metric,
    evaluation,
    metric_value,
)
from mmqadapter.studies.analysis.noise import check_sigmas, scores_under_noise
from mmqadapter.studies.analysis.perturbation import Perturbation
from mmqadapter.studies.analysis.plots import draw_noise
from mmqadapter.studies.analysis.progress import with_progress
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source

LEGEND = (
    'Noise is Gaussian, in standard deviations of each matrix; a repeat uses the same sample for '
    'all sizes. Scores are those of the test loop, as in mmqadapter test; above plain is the '
    'difference to the score without noise. Deviations are standard deviations over repeats.'
)


def study_noise(
    sources: Sequence[Source],
    sigmas: Sequence[float],
    repeats: int = 3,
    seed: int = 0,
    weights: str = DECODED,
    score: str | None = None,
) -> Study:
    """Compute the score under Gaussian noise on the weights that tuning trained in the backbone.

    Args:
        sources: The models.
        sigmas: Sizes of the noise, in standard deviations of each matrix.
        repeats: Number of noise samples per size.
        seed: Seed of the noise.
        weights: See :func:`mmqadapter.studies.analysis.adapter_weights.tuned_weights`.
        score: One of the evaluator's metrics; by default the usual one.

    Raises:
        FileNotFoundError: Data or a file do not exist.
        ValueError: Settings are invalid, weights do not fit, or the evaluator does not compute
            the metric.
    """
    check_sigmas(sigmas)
    for name, value, low in (('repeats', repeats, 1), ('seed', seed, 0)):
        if value < low:
            raise ValueError(f'{name}={value} is invalid: expected {low} or more.')
    rows = [
        row for source in sources for row in _rows(source, sigmas, repeats, seed, weights, score)
    ]
    metric = rows[0]['metric']
    header = make_header(
        sources, weights=weights, metric=metric, sigmas=list(sigmas), repeats=repeats, seed=seed
    )
    lines = [_table_line(row) for row in rows]
    figures = {'scores': draw_noise(rows, metric)}
    return Study('noise', 'Noise on the tuned weights', header, rows, lines, LEGEND, figures)


def _rows(
    source: Source,
    sigmas: Sequence[float],
    repeats: int,
    seed: int,
    weights: str,
    score: str | None,
) -> list[Row]:
    with evaluation(source) as evaluate:
        perturbation = Perturbation(tuned_weights(evaluate.model, weights))
        plain = evaluate()
        metric = choose_metric(plain, score)
        noisy = [sigma for sigma in sigmas if sigma]
        scores = {sigma: [] if sigma else [plain[metric]] for sigma in sigmas}
        present_score = partial(_score, evaluate, metric)
        samples = scores_under_noise(present_score, perturbation, noisy, repeats, seed)
        for sigma, value in with_progress(samples, source.label, len(noisy) * repeats):
            scores[sigma].append(value)
    return [_row(source.label, metric, sigma, scores[sigma], plain[metric]) for sigma in sigmas]


def _score(evaluate: Evaluation, metric: str) -> float:
    return metric_value(evaluate(), metric)


def _row(label: str, metric: str, sigma: float, scores: list[float], plain: float) -> Row:
    mean = statistics.fmean(scores)
    return {
        'model': label,
        'metric': metric,
        'sigma': sigma,
        'scores': scores,
        'mean': mean,
        'deviation': statistics.stdev(scores) if len(scores) > 1 else 0.0,
        'above_plain': mean - plain,
    }


def _table_line(row: Row) -> dict[str, str]:
    return {
        'model': row['model'],
        'noise': number(float(row['sigma'])),
        row['metric']: number(row['mean']),
        'deviation': number(row['deviation']),
        'above plain': number(row['above_plain']),
    }
