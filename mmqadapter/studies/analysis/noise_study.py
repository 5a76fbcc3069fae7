"""The metric of a model against the size of noise on its tuned weights."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

from mmqadapter.studies.analysis.adapter_weights import DECODED, tuned_weights
from mmqadapter.studies.analysis.evaluation import Evaluation, evaluation, score_name, score_of
from mmqadapter.studies.analysis.noise import check_sigmas, scores_under_noise
from mmqadapter.studies.analysis.perturbation import Perturbation
from mmqadapter.studies.analysis.plots import draw_noise
from mmqadapter.studies.analysis.progress import shown
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source

LEGEND = (
    'Noise is Gaussian, in standard deviations of each matrix; a repeat keeps its direction from '
    'size to size. Scores are those of the test loop, as tools/test.py gives them; above plain is '
    'the difference to the score without noise. Deviations are over repeats.'
)


def study_noise(
    sources: Sequence[Source],
    sigmas: Sequence[float],
    repeats: int = 3,
    seed: int = 0,
    weights: str = DECODED,
    score: str | None = None,
) -> Study:
    """Score under Gaussian noise on the weights that tuning trained in the backbone.

    Args:
        sources: The models.
        sigmas: Sizes of the noise, in standard deviations of each matrix.
        repeats: How often noise is drawn for each size.
        seed: Of the noise.
        weights: See :func:`mmqadapter.studies.analysis.adapter_weights.tuned_weights`.
        score: Which of the evaluator's metrics; by default the usual one.

    Raises:
        FileNotFoundError: Data or a file that is not there.
        ValueError: Settings or weights that do not fit, or a metric that is not evaluated.
    """
    check_sigmas(sigmas)
    if repeats < 1 or seed < 0:
        raise ValueError(f'repeats={repeats}, seed={seed}: use 1 repeat or more, a seed from 0.')
    rows = [
        row for source in sources for row in _rows(source, sigmas, repeats, seed, weights, score)
    ]
    metric = rows[0]['metric']
    header = make_header(
        sources, weights=weights, metric=metric, sigmas=list(sigmas), repeats=repeats, seed=seed
    )
    lines = [_told(row) for row in rows]
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
        moved = Perturbation(tuned_weights(evaluate.model, weights))
        plain = evaluate()
        metric = score_name(plain, score)
        noisy = [sigma for sigma in sigmas if sigma]
        found = {sigma: [] if sigma else [plain[metric]] for sigma in sigmas}
        score_now = partial(_score_now, evaluate, metric)
        scores = scores_under_noise(score_now, moved, noisy, repeats, seed)
        for sigma, value in shown(scores, source.label, len(noisy) * repeats):
            found[sigma].append(value)
    return [_row(source.label, metric, sigma, found[sigma], plain[metric]) for sigma in sigmas]


def _score_now(evaluate: Evaluation, metric: str) -> float:
    return score_of(evaluate(), metric)


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


def _told(row: Row) -> dict[str, str]:
    return {
        'model': row['model'],
        'noise': number(float(row['sigma'])),
        row['metric']: number(row['mean']),
        'deviation': number(row['deviation']),
        'above plain': number(row['above_plain']),
    }
