"""Domains: in the first the hue tells the class, in the others lightness or the size of checks.

A net that learnt on the first takes means of colours and ignores what counts in the others.
"""

from __future__ import annotations

import colorsys

import numpy as np

from mmqadapter.studies.demo.scenes import Domain

HUES = {'red': 0.0, 'green': 0.25, 'cyan': 0.5, 'violet': 0.75}
LIGHTNESS = {'dark': 0.12, 'dim': 0.3, 'bright': 0.5, 'pale': 0.75}
LUMA = np.array([0.3, 0.59, 0.11])
CHECKS = {'fine': 2, 'small': 4, 'large': 8, 'coarse': 16}  # pixels
CONTRAST = 0.35  # least difference of the two colours in one of red, green and blue, 0 to 1


def _grey(size: int, rng: np.random.Generator) -> np.ndarray:
    return _flat(np.full(3, rng.uniform(0.2, 0.95)), size)


def _hue(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    hue = list(HUES.values())[label - 1] + rng.normal(0, 0.03)
    return _flat(_colour(hue, rng.uniform(0.5, 1), rng.uniform(0.4, 1)), size)


def _lightness(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng.random(), rng.uniform(0.4, 0.9), 1.0)
    target = list(LIGHTNESS.values())[label - 1] * np.exp(rng.normal(0, 0.08))
    return _flat(colour * target / (colour @ LUMA), size)


def _tinted(size: int, rng: np.random.Generator) -> np.ndarray:
    return _flat(_colour(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.2, 0.95)), size)


def _checks(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Squares of two colours, whatever they are, from a random place on."""
    width = list(CHECKS.values())[label - 1]
    row, column = (np.arange(size) + rng.integers(0, 2 * width) for _ in range(2))
    second = (row[:, None] // width + column // width) % 2 == 1
    one, other = _any_colour(rng), _any_colour(rng)
    while abs(one - other).max() < CONTRAST:
        other = _any_colour(rng)
    return np.where(second[..., None], one, other)


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 0.03, image.shape)


def _any_colour(rng: np.random.Generator) -> np.ndarray:
    return _colour(rng.random(), rng.uniform(0.2, 1), rng.uniform(0.2, 1))


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _flat(colour: np.ndarray, size: int) -> np.ndarray:
    return np.broadcast_to(colour, (size, size, 3))


HUE = Domain(('ground', *HUES), _grey, _hue, _noisy)
SHADE = Domain(('ground', *LIGHTNESS), _grey, _lightness, _noisy)
CHECKED = Domain(('ground', *CHECKS), _tinted, _checks, _noisy)
