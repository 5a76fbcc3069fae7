"""Plots of the studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmqadapter.studies.analysis.distribution import EDGES, normal_quantiles

Row = Mapping[str, Any]
LEVELS = 24  # of the contours of a plane


def draw_lines(rows: Sequence[Row]) -> Figure:
    """Loss, and its rise above the trained weights, along random lines: mean and range."""
    figure = Figure(figsize=(10, 4), layout='constrained')
    axes = figure.subplots(1, 2)
    for number, row in enumerate(rows):
        losses, places = np.asarray(row['lines']), row['places']
        rises = losses - losses[:, len(places) // 2 :][:, :1]
        for axis, values in zip(axes, (losses, rises), strict=True):
            axis.plot(places, values.mean(0), color=f'C{number}', label=row['model'])
            low, high = values.min(0), values.max(0)
            axis.fill_between(places, low, high, color=f'C{number}', alpha=0.2)
    for axis, words in zip(axes, ('loss', 'rise of the loss'), strict=True):
        _label(axis, 'distance along a filter-normalised direction', words)
        axis.legend()
    return figure


def draw_planes(rows: Sequence[Row]) -> Figure:
    """Contours of the rise of the loss, on one scale for all models."""
    figure = Figure(figsize=(5.2 * len(rows), 4.4), layout='constrained')
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    rises = [np.ma.masked_invalid(np.asarray(row['plane']) - row['loss']) for row in rows]
    low, high = (float(f([f(rise) for rise in rises])) for f in (np.min, np.max))
    levels = MaxNLocator(LEVELS).tick_values(low, max(high, low + 1e-9))
    for axis, row, rise in zip(axes, rows, rises, strict=True):
        places = row['plane_places']
        drawn = axis.contourf(places, places, rise, levels)
        axis.contour(places, places, rise, levels[::2], colors='white', linewidths=0.5)
        axis.plot(0, 0, 'r+')
        axis.set_title(row['model'])
        axis.locator_params(nbins=5)
        _label(axis, 'second direction', 'first direction', grid=False)
    figure.colorbar(drawn, ax=list(axes), label='rise of the loss')
    return figure


def draw_noise(rows: Sequence[Row], metric: str) -> Figure:
    """Metric against the size of the noise: mean and deviation, a dot a repeat."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    for number, label in enumerate(dict.fromkeys(row['model'] for row in rows)):
        own = [row for row in rows if row['model'] == label]
        sigmas, color = [row['sigma'] for row in own], f'C{number}'
        means, spreads = ([row[key] for row in own] for key in ('mean', 'deviation'))
        axis.errorbar(sigmas, means, yerr=spreads, color=color, capsize=3, label=label)
        for row in own:
            axis.plot([row['sigma']] * len(row['scores']), row['scores'], '.', color=color)
    _label(axis, 'noise, in standard deviations of each matrix', metric)
    axis.legend()
    return figure


def draw_distribution(pooled: Row, rows: Sequence[Row]) -> Figure:
    """Histogram and Q-Q plot of all standardised weights; thin lines are single matrices."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    density, quantile = figure.subplots(1, 2)
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    density.stairs(pooled['histogram'], EDGES, fill=True, alpha=0.4, label='weights')
    density.plot(centres, np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi), 'k', label='Gaussian')
    _label(density, 'weight, in standard deviations of its matrix', 'density')
    density.legend()
    normal = normal_quantiles()
    for row in rows:
        quantile.plot(normal, row['quantiles'], color='C0', alpha=0.15, linewidth=0.7)
    quantile.plot(normal, pooled['quantiles'], color='C1', label='all weights')
    quantile.plot(normal, normal, 'k--', linewidth=0.8, label='Gaussian')
    _label(quantile, 'quantile of N(0, 1)', 'quantile of the weights')
    quantile.legend()
    return figure


def draw_moments(rows: Sequence[Row]) -> Figure:
    """Excess kurtosis and skewness of each matrix, in the order of the model."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    axes = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(row['kind'] for row in rows))
    for axis, key in zip(axes, ('excess_kurtosis', 'skewness'), strict=True):
        for number, kind in enumerate(kinds):
            points = [(place, row[key]) for place, row in enumerate(rows) if row['kind'] == kind]
            axis.plot(*zip(*points, strict=True), 'o', color=f'C{number}', label=kind, ms=4)
        axis.axhline(0, color='k', linewidth=0.8)
        _label(axis, 'matrix, in order', key.replace('_', ' '))
    axes[0].axhline(-1.2, color='k', linewidth=0.8, linestyle=':')
    axes[0].legend(title='dotted: uniform', fontsize=8)
    return figure


def draw_errors(rows: Sequence[Row]) -> Figure:
    """Relative error against bits, a line a criterion and granularity, beside a Gaussian's."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    for number, (name, own) in enumerate(_by_setting(rows).items()):
        own = [row for row in own if row['relative_error'] is not None]
        bits = [row['bits'] for row in own]
        axis.plot(
            bits, [row['relative_error'] for row in own], 'o-', color=f'C{number}', label=name
        )
        expected = [row['gaussian_error'] for row in own]
        axis.plot(bits, expected, 'x:', color=f'C{number}', alpha=0.6)
    axis.set_yscale('log')
    _label(axis, 'bits of a weight', 'relative mean square error')
    axis.legend(title='dotted: of a Gaussian', fontsize=8)
    return figure


def draw_bit_scores(rows: Sequence[Row], metric: str) -> Figure:
    """Metric against bits: quantised after training, trained quantised, and float."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    after = [row for row in rows if row['kind'] == 'post-training' and row['score'] is not None]
    for name, own in _by_setting(after).items():
        points = [(row['bits'], row['score']) for row in own]
        axis.plot(*zip(*points, strict=True), 'o-', label=f'after training, {name}')
    trained = [(row['bits'], row['score']) for row in rows if row['kind'] == 'trained']
    if trained:
        axis.plot(*zip(*trained, strict=True), 'k*', markersize=10, label='trained quantised')
    (unchanged,) = (row['score'] for row in rows if row['kind'] == 'float')
    axis.axhline(unchanged, color='k', linestyle='--', linewidth=0.8, label='float')
    _label(axis, 'bits of a weight', metric)
    axis.legend(fontsize=8)
    return figure


def _by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f'{row["criterion"]}, {row["granularity"]}', []).append(row)
    return found


def _label(axis: Axes, across: str, up: str, grid: bool = True) -> None:
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    if grid:
        axis.grid(alpha=0.3)
