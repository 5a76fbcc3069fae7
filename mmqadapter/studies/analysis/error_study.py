"""Study of what quantization costs: error of the weights, metric after and with training."""

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
    can_quantize,
    gaussian_error,
    quantized,
    relative_error,
    stored_bytes,
)
from mmqadapter.studies.analysis.evaluation import (
    Evaluation,
    Metrics,
    choose_metric,
    evaluation,
    metric_value,
)
from mmqadapter.studies.analysis.perturbation import Perturbation, Values
from mmqadapter.studies.analysis.plots import draw_bit_scores, draw_errors
from mmqadapter.studies.analysis.progress import with_progress
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source, build, is_task_file
from mmqadapter.taskfile import inspect_task

FLOAT, AFTER, TRAINED = 'float', 'post-training', 'trained'
FLOAT_BITS = 32
LEGEND = (
    'Relative error: sum of squared errors divided by the sum of squared weights, over all '
    'matrices; of a Gaussian: the same for weights from N(0, 1). Bytes are those of the matrices '
    'in a task file (for a trained one, of all adapters). An output with a single weight has no '
    'standard deviation per channel, and so no error.'
)
SCORES = (
    ' Scores are those of the test loop: with float weights, quantized after training (nothing is '
    'trained again), and trained with the quantizer in place.'
)


def study_error(source: Source, settings: Sequence[Setting]) -> Study:
    """Compute the relative error of float adapter weights under each setting.

    Args:
        source: A task of 32 bits, or a training checkpoint, which has the float weights behind
            quantizers too.
        settings: Settings of the quantizer.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The model has no adapters, or only quantized weights.
    """
    weights = float_matrices(require_adapters(build(source, 'cpu')))
    rows = [_float_row(weights), *(_error_row(weights, setting) for setting in settings)]
    header = make_header([source], 'cpu', matrices=len(weights))
    figures = {'weights': draw_errors(rows[1:])}
    lines = [_table_line(row) for row in rows]
    return Study('error', 'Quantization error', header, rows, lines, LEGEND, figures)


def study_scores(
    source: Source,
    settings: Sequence[Setting],
    trained: Sequence[Source] = (),
    score: str | None = None,
) -> Study:
    """Add to :func:`study_error` the metric of each setting and of quantized training.

    Args:
        source: See :func:`study_error`.
        settings: Settings of the quantizer.
        trained: Models that were trained with a quantizer.
        score: One of the evaluator's metrics; by default the usual one.

    Raises:
        FileNotFoundError: Data or a file do not exist.
        ValueError: See :func:`study_error`; or the evaluator does not compute the metric.
    """
    study = study_error(source, settings)
    with evaluation(source) as evaluate:
        evaluated = _metrics(evaluate, settings)
        metrics = list(with_progress(evaluated, source.label, len(settings) + 1))
    metric = choose_metric(metrics[0] or {}, score)
    scores = [None if values is None else metric_value(values, metric) for values in metrics]
    rows = [{**row, 'score': s} for row, s in zip(study.rows, scores, strict=True)]
    sources = with_progress(trained, TRAINED, len(trained))
    rows += [_trained_row(trained_source, metric) for trained_source in sources]
    header = {**study.header, **make_header([source, *trained], metric=metric)}
    figures = {**study.figures, 'scores': draw_bit_scores(rows, metric)}
    lines = [{**_table_line(row), metric: number(row['score'])} for row in rows]
    return Study('error', study.title, header, rows, lines, LEGEND + SCORES, figures)


def _metrics(evaluate: Evaluation, settings: Sequence[Setting]) -> Iterator[Metrics | None]:
    """Yield the metrics of the float weights, then of each setting; None if it cannot be used."""
    floats = float_matrices(require_adapters(evaluate.model))
    weights = tuned_weights(evaluate.model)
    perturbation = Perturbation({name: weights[name] for name in floats})
    with perturbation.at(floats):
        yield evaluate()
    for setting in settings:
        if not can_quantize(floats, setting):
            yield None
            continue
        with perturbation.at(quantized(floats, setting)):
            yield evaluate()


def _trained_row(source: Source, metric: str) -> Row:
    with evaluation(source) as evaluate:
        score = metric_value(evaluate(), metric)
    quantizer = source.cfg.model.backbone.get('quantizer') or {'bits': FLOAT_BITS}
    setting = Setting(**{name: value for name, value in quantizer.items() if name != 'type'})
    sizes = inspect_task(source.file)['bytes'] if is_task_file(source.file) else {}
    return _row(TRAINED, setting, bytes=sizes.get('adapters'), file=source.file, score=score)


def _float_row(weights: Values) -> Row:
    size = FLOAT_BITS // 8 * sum(weight.numel() for weight in weights.values())
    row = _row(FLOAT, Setting(FLOAT_BITS), relative_error=0.0, gaussian_error=0.0, bytes=size)
    return {**row, 'criterion': None, 'granularity': None}


def _error_row(weights: Values, setting: Setting) -> Row:
    expected = gaussian_error(setting.bits, setting.criterion)
    row = _row(AFTER, setting, gaussian_error=expected, bytes=stored_bytes(weights, setting))
    if can_quantize(weights, setting):
        values = quantized(weights, setting)
        row['relative_error'] = relative_error(weights, values)
        row['by_matrix'] = {name: relative_error({name: w}, values) for name, w in weights.items()}
    return row


def _row(kind: str, setting: Setting, **results: Any) -> Row:
    return {
        'kind': kind,
        **asdict(setting),
        'relative_error': None,
        'gaussian_error': None,
        **results,
    }


def _table_line(row: Row) -> dict[str, str]:
    return {
        'weights': row['kind'],
        'bits': str(row['bits']),
        'criterion': row['criterion'] or '-',
        'granularity': row['granularity'] or '-',
        'relative error': number(row['relative_error']),
        'of a Gaussian': number(row['gaussian_error']),
        'bytes': number(row['bytes']),
    }
