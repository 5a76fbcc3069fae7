"""Study of whether the weights of trained adapters are Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from mmqadapter.studies.analysis.adapter_weights import float_matrices, require_adapters
from mmqadapter.studies.analysis.distribution import histogram, moments, quantiles, standardized
from mmqadapter.studies.analysis.plots import draw_distribution, draw_moments
from mmqadapter.studies.analysis.report import Row, Study, make_header, number
from mmqadapter.studies.analysis.sources import Source, build

ALL = 'all'
NUMBERS = ('count', 'mean', 'std', 'skewness', 'excess_kurtosis', 'straightness')
LEGEND = (
    'A Gaussian has skewness 0, excess kurtosis 0 and straightness of the Q-Q plot 1; a uniform '
    'distribution, with which all matrices but those of zeros are initialized, has 0, -1.2 and '
    '0.98. By chance, skewness and excess kurtosis deviate by about sqrt(6 / count) and '
    'sqrt(24 / count). The row "all" joins the standardized weights of all matrices.'
)


def study_distribution(source: Source) -> Study:
    """Compute moments, histogram and Q-Q plot of the float weights that a quantizer takes.

    Args:
        source: A task of 32 bits, or a training checkpoint, which has the float weights behind
            quantizers too.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The model has no adapters, only quantized weights, or weights without spread.
    """
    weights = float_matrices(require_adapters(build(source, 'cpu')))
    rows = [_row(name, weight) for name, weight in weights.items()]
    joined = torch.cat([standardized(weight) for weight in weights.values()])
    pooled = {**_row(ALL, joined), 'kind': ALL, 'histogram': histogram(standardized(joined))}
    header = make_header([source], 'cpu', matrices=len(rows))
    figures = {'all': draw_distribution(pooled, rows), 'layers': draw_moments(rows)}
    lines = [_table_line(row) for row in [pooled, *rows]]
    title = 'Adapter weights against a Gaussian'
    return Study('distribution', title, header, [pooled, *rows], lines, LEGEND, figures)


def _row(name: str, weight: Tensor) -> Row:
    matrix = name.removesuffix('.weight')
    return {
        'matrix': matrix,
        'kind': matrix.rpartition('.')[2],
        **moments(weight),
        'quantiles': quantiles(standardized(weight)),
    }


def _table_line(row: Row) -> dict[str, str]:
    return {
        'matrix': row['matrix'],
        **{name.replace('_', ' '): number(row[name]) for name in NUMBERS},
    }
