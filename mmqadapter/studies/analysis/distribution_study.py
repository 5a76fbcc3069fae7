"""Are the weights of trained adapters Gaussian?"""

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
    'Of a Gaussian skewness and excess kurtosis are 0 and the straightness of the Q-Q plot is 1; '
    'of a uniform distribution, from which all but the zero matrices start, -1.2 and 0.98. By '
    'chance they deviate by about sqrt(6 / count) and sqrt(24 / count). The row "all" joins the '
    'standardised weights of all matrices.'
)


def study_distribution(source: Source) -> Study:
    """Moments, histogram and Q-Q plot of the float weights that a quantiser takes.

    Args:
        source: A task of 32 bits, or a training checkpoint, which has the float weights behind
            quantisers too.

    Raises:
        FileNotFoundError: A file that is not there.
        ValueError: No adapters, quantised weights alone, or weights that do not spread.
    """
    weights = float_matrices(require_adapters(build(source, 'cpu')))
    rows = [_row(name, weight) for name, weight in weights.items()]
    joined = torch.cat([standardized(weight) for weight in weights.values()])
    pooled = {**_row(ALL, joined), 'kind': ALL, 'histogram': histogram(standardized(joined))}
    header = make_header([source], 'cpu', matrices=len(rows))
    figures = {'all': draw_distribution(pooled, rows), 'layers': draw_moments(rows)}
    lines = [_told(row) for row in [pooled, *rows]]
    title = 'Adapter weights against a Gaussian'
    return Study('distribution', title, header, [pooled, *rows], lines, LEGEND, figures)


def _row(name: str, weight: Tensor) -> Row:
    own = name.removesuffix('.weight')
    return {
        'matrix': own,
        'kind': own.rpartition('.')[2],
        **moments(weight),
        'quantiles': quantiles(standardized(weight)),
    }


def _told(row: Row) -> dict[str, str]:
    return {
        'matrix': row['matrix'],
        **{name.replace('_', ' '): number(row[name]) for name in NUMBERS},
    }
