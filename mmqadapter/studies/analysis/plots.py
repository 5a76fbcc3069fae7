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
LEVELS = 24  # contours of a plane


def draw_lines(rows: Sequence[Row]) -> Figure:
    """Plot the loss along random lines, and its rise above the trained weights: mean, range."""
    figure = Figure(figsize=(10, 4), layout='constrained')
    axes = figure.subplots(1, 2)
    for number, row in enumerate(rows):
        losses, positions = np.asarray(row['lines']), row['places']
        middle = len(positions) // 2
        rises = losses - losses[:, middle : middle + 1]
        for axis, values in zip(axes, (losses, rises), strict=True):
            axis.plot(positions, values.mean(0), color=f'C{number}', label=row['model'])
            low, high = values.min(0), values.max(0)
            axis.fill_between(positions, low, high, color=f'C{number}', alpha=0.2)
    for axis, label in zip(axes, ('loss', 'rise of the loss'), strict=True):
        _label(axis, 'distance along a filter-normalized direction', label)
        axis.legend()
    return figure


def draw_planes(rows: Sequence[Row]) -> Figure:
    """Plot contours of the rise of the loss, on one scale for all models."""
    figure = Figure(figsize=(5.2 * len(rows), 4.4), layout='constrained')
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    rises = [np.ma.masked_invalid(np.asarray(row['plane']) - row['loss']) for row in rows]
    low, high = (float(f([f(rise) for rise in rises])) for f in (np.min, np.max))
    levels = MaxNLocator(LEVELS).tick_values(low, max(high, low + 1e-9))
    for axis, row, rise in zip(axes, rows, rises, strict=True):
        positions = row['plane_places']
        contours = axis.contourf(positions, positions, rise, levels)
        axis.contour(positions, positions, rise, levels[::2], colors='white', linewidths=0.5)
        axis.plot(0, 0, 'r+')
        axis.set_title(row['model'])
        axis.locator_params(nbins=5)
        _label(axis, 'second direction', 'first direction', grid=False)
    figure.colorbar(contours, ax=list(axes), label='rise of the loss')
    return figure


def draw_noise(rows: Sequence[Row], metric: str) -> Figure:
    """Plot the metric against the size of the noise: mean, deviation, and a dot per repeat."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    for number, label in enumerate(dict.fromkeys(row['model'] for row in rows)):
        model_rows = [row for row in rows if row['model'] == label]
        sigmas, color = [row['sigma'] for row in model_rows], f'C{number}'
        means, deviations = ([row[key] for row in model_rows] for key in ('mean', 'deviation'))
        axis.errorbar(sigmas, means, yerr=deviations, color=color, capsize=3, label=label)
        for row in model_rows:
            axis.plot([row['sigma']] * len(row['scores']), row['scores'], '.', color=color)
    _label(axis, 'noise, in standard deviations of each matrix', metric)
    axis.legend()
    return figure


def draw_distribution(pooled: Row, rows: Sequence[Row]) -> Figure:
    """Plot histogram and Q-Q plot of all standardized weights; thin lines: single matrices."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    density, quantile = figure.subplots(1, 2)
    centers = (EDGES[1:] + EDGES[:-1]) / 2
    density.stairs(pooled['histogram'], EDGES, fill=True, alpha=0.4, label='weights')
    density.plot(centers, np.exp(-(centers**2) / 2) / np.sqrt(2 * np.pi), 'k', label='Gaussian')
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
    """Plot excess kurtosis and skewness of each matrix, in the order of the model."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    axes = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(row['kind'] for row in rows))
    for axis, key in zip(axes, ('excess_kurtosis', 'skewness'), strict=True):
        for number, kind in enumerate(kinds):
            points = [(index, row[key]) for index, row in enumerate(rows) if row['kind'] == kind]
            axis.plot(*zip(*points, strict=True), 'o', color=f'C{number}', label=kind, ms=4)
        axis.axhline(0, color='k', linewidth=0.8)
        _label(axis, 'matrix, in order', key.replace('_', ' '))
    axes[0].axhline(-1.2, color='k', linewidth=0.8, linestyle=':')
    axes[0].legend(title='dotted: uniform', fontsize=8)
    return figure


def draw_errors(rows: Sequence[Row]) -> Figure:
    """Plot the relative error against bits, a line per criterion and granularity."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    measured = [row for row in rows if row['relative_error'] is not None]
    for number, (name, group) in enumerate(_by_setting(measured).items()):
        bits, color = [row['bits'] for row in group], f'C{number}'
        errors, expected = (
            [row[key] for row in group] for key in ('relative_error', 'gaussian_error')
        )
        axis.plot(bits, errors, 'o-', color=color, label=name)
        axis.plot(bits, expected, 'x:', color=color, alpha=0.6)
    axis.set_yscale('log')
    _label(axis, 'bits per weight', 'relative mean square error')
    axis.legend(title='dotted: Gaussian weights', fontsize=8)
    return figure


def draw_bit_scores(rows: Sequence[Row], metric: str) -> Figure:
    """Plot the metric against bits: quantized after training, trained quantized, and float."""
    figure = Figure(figsize=(6.5, 4.2), layout='constrained')
    axis = figure.subplots()
    after = [row for row in rows if row['kind'] == 'post-training' and row['score'] is not None]
    for name, group in _by_setting(after).items():
        points = [(row['bits'], row['score']) for row in group]
        axis.plot(*zip(*points, strict=True), 'o-', label=f'after training, {name}')
    trained = [(row['bits'], row['score']) for row in rows if row['kind'] == 'trained']
    if trained:
        axis.plot(*zip(*trained, strict=True), 'k*', markersize=10, label='trained quantized')
    (float_score,) = (row['score'] for row in rows if row['kind'] == 'float')
    axis.axhline(float_score, color='k', linestyle='--', linewidth=0.8, label='float')
    _label(axis, 'bits per weight', metric)
    axis.legend(fontsize=8)
    return figure


def _by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f'{row["criterion"]}, {row["granularity"]}', []).append(row)
    return groups


def _label(axis: Axes, x: str, y: str, grid: bool = True) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    if grid:
        axis.grid(alpha=0.3)
