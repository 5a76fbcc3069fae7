"""Domains whose classes differ in hue, in lightness, or in the size of checks.

A net that was trained on hues averages colors, and ignores what distinguishes the other classes.
"""

from __future__ import annotations

import colorsys

import numpy as np

from mmqadapter.studies.demo.scenes import Domain

HUES = {'red': 0.0, 'green': 0.25, 'cyan': 0.5, 'violet': 0.75}
LIGHTNESS = {'dark': 0.12, 'dim': 0.3, 'bright': 0.5, 'pale': 0.75}
LUMA = np.array([0.3, 0.59, 0.11])
CHECKS = {'fine': 2, 'small': 4, 'large': 8, 'coarse': 16}  # pixels
CONTRAST = 0.35  # minimum difference of two colors in red, green or blue, from 0 to 1


def _gray(size: int, rng: np.random.Generator) -> np.ndarray:
    return _flat(np.full(3, rng.uniform(0.2, 0.95)), size)


def _hue(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    hue = list(HUES.values())[label - 1] + rng.normal(0, 0.03)
    return _flat(_color(hue, rng.uniform(0.5, 1), rng.uniform(0.4, 1)), size)


def _lightness(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    color = _color(rng.random(), rng.uniform(0.4, 0.9), 1.0)
    target = list(LIGHTNESS.values())[label - 1] * np.exp(rng.normal(0, 0.08))
    return _flat(color * target / (color @ LUMA), size)


def _tinted(size: int, rng: np.random.Generator) -> np.ndarray:
    return _flat(_color(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.95)), size)


def _checks(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw squares of two random colors, with a random offset."""
    width = list(CHECKS.values())[label - 1]
    row, column = (np.arange(size) + rng.integers(0, 2 * width) for _ in range(2))
    second = (row[:, None] // width + column // width) % 2 == 1
    color, contrast = _random_color(rng), _random_color(rng)
    while abs(color - contrast).max() < CONTRAST:
        contrast = _random_color(rng)
    return np.where(second[..., None], color, contrast)


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 0.03, image.shape)


def _random_color(rng: np.random.Generator) -> np.ndarray:
    return _color(rng.random(), rng.uniform(0.2, 1), rng.uniform(0.2, 1))


def _color(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _flat(color: np.ndarray, size: int) -> np.ndarray:
    return np.broadcast_to(color, (size, size, 3))


HUE = Domain(('ground', *HUES), _gray, _hue, _noisy)
SHADE = Domain(('ground', *LIGHTNESS), _gray, _lightness, _noisy)
CHECKED = Domain(('ground', *CHECKS), _tinted, _checks, _noisy)
