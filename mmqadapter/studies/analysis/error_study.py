"""What quantisation costs: error of the weights, and the metric after and with training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from mmqadapter.studies.analysis.adapter_weights import (
    float_matrices,
    require_adapters,
    tuned_weights,
)
from mmqadapter.studies.analysis.error import (
    Setting,
    fits,
    gaussian_error,
    quantized,
    relative_error,
    stored_bytes,
)
from mmqadapter.studies.analysis.evaluation import (
    Evaluation,
    Metrics,
    evaluation,
    score_name,
    score_of,
)
from mmqadapter.studies.analysis.perturbation import Perturbation, Values
from mmqadapter.studies.analysis.plots import draw_bit_scores, draw_errors
from mmqadapter.studies.analysis.progress import shown
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source, build, is_task_file
from mmqadapter.taskfile import inspect_task

FLOAT, AFTER, TRAINED = 'float', 'post-training', 'trained'
FLOAT_BITS = 32
LEGEND = (
    'Relative error is the sum of squared errors over the sum of squared weights, over all '
    'matrices; of a Gaussian is what N(0, 1) would lose. Bytes are those of the matrices in a '
    'task file (of a trained one, of all adapters). Where an output has one weight alone there is '
    'no deviation per channel.'
)
SCORES = (
    ' Scores are those of the test loop: float, quantised after training (nothing trains again), '
    'and trained with the quantiser in place.'
)


def study_error(source: Source, settings: Sequence[Setting]) -> Study:
    """Relative error of float adapter weights under each setting.

    Args:
        source: A task of 32 bits, or a training checkpoint, which has the float weights behind
            quantisers too.
        settings: How to quantise.

    Raises:
        FileNotFoundError: A file that is not there.
        ValueError: No adapters, or quantised weights alone.
    """
    weights = float_matrices(require_adapters(build(source, 'cpu')))
    rows = [_float_row(weights), *(_error_row(weights, setting) for setting in settings)]
    header = make_header([source], 'cpu', matrices=len(weights))
    figures = {'weights': draw_errors(rows[1:])}
    lines = [_told(row) for row in rows]
    return Study('error', 'Quantisation error', header, rows, lines, LEGEND, figures)


def study_scores(
    source: Source,
    settings: Sequence[Setting],
    trained: Sequence[Source] = (),
    score: str | None = None,
) -> Study:
    """:func:`study_error`, and the metric of each setting beside that of quantised training.

    Args:
        source: See :func:`study_error`.
        settings: How to quantise.
        trained: Models that were trained quantised.
        score: Which of the evaluator's metrics; by default the usual one.

    Raises:
        FileNotFoundError: Data or a file that is not there.
        ValueError: See :func:`study_error`; or a metric that is not evaluated.
    """
    study = study_error(source, settings)
    with evaluation(source) as evaluate:
        evaluated = _scores(evaluate, settings)
        metrics = list(shown(evaluated, source.label, len(settings) + 1))
    metric = score_name(metrics[0] or {}, score)
    scores = [None if found is None else score_of(found, metric) for found in metrics]
    rows = [{**row, 'score': s} for row, s in zip(study.rows, scores, strict=True)]
    rows += [_trained_row(one, metric) for one in shown(trained, TRAINED, len(trained))]
    header = {**study.header, **make_header([source, *trained], metric=metric)}
    figures = {**study.figures, 'scores': draw_bit_scores(rows, metric)}
    lines = [{**_told(row), metric: number(row['score'])} for row in rows]
    return Study('error', study.title, header, rows, lines, LEGEND + SCORES, figures)


def _scores(evaluate: Evaluation, settings: Sequence[Setting]) -> Iterator[Metrics | None]:
    """Metrics of the float weights, then of each setting; None where weights are too few."""
    floats = float_matrices(require_adapters(evaluate.model))
    weights = tuned_weights(evaluate.model)
    moved = Perturbation({name: weights[name] for name in floats})
    with moved.at(floats):
        yield evaluate()
    for setting in settings:
        if not fits(floats, setting):
            yield None
            continue
        with moved.at(quantized(floats, setting)):
            yield evaluate()


def _trained_row(source: Source, metric: str) -> Row:
    with evaluation(source) as evaluate:
        score = score_of(evaluate(), metric)
    quantizer = source.cfg.model.backbone.get('quantizer') or {'bits': FLOAT_BITS}
    setting = Setting(**{name: value for name, value in quantizer.items() if name != 'type'})
    stored = inspect_task(source.file)['bytes'] if is_task_file(source.file) else {}
    return _row(TRAINED, setting, bytes=stored.get('adapters'), file=source.file, score=score)


def _float_row(weights: Values) -> Row:
    size = FLOAT_BITS // 8 * sum(weight.numel() for weight in weights.values())
    row = _row(FLOAT, Setting(FLOAT_BITS), relative_error=0.0, gaussian_error=0.0, bytes=size)
    return {**row, 'criterion': None, 'granularity': None}


def _error_row(weights: Values, setting: Setting) -> Row:
    expected = gaussian_error(setting.bits, setting.criterion)
    row = _row(AFTER, setting, gaussian_error=expected, bytes=stored_bytes(weights, setting))
    if fits(weights, setting):
        values = quantized(weights, setting)
        row['relative_error'] = relative_error(weights, values)
        row['by_matrix'] = {name: relative_error({name: w}, values) for name, w in weights.items()}
    return row


def _row(kind: str, setting: Setting, **found: Any) -> Row:
    return {
        'kind': kind,
        **asdict(setting),
        'relative_error': None,
        'gaussian_error': None,
        **found,
    }


def _told(row: Row) -> dict[str, str]:
    return {
        'weights': row['kind'],
        'bits': str(row['bits']),
        'criterion': row['criterion'] or '-',
        'granularity': row['granularity'] or '-',
        'relative error': number(row['relative_error']),
        'of a Gaussian': number(row['gaussian_error']),
        'bytes': number(row['bytes']),
    }
