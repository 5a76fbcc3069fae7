"""Surfaces of the two domains: flat colours, and two-toned textures under uneven light."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]
PERIOD = (7.0, 10.0)  # pixels


def stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bars; (u, v) count periods."""
    return np.sin(2 * np.pi * u)


def checks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Chess board."""
    return 1.6 * np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)


def dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Spots on a square grid."""
    return 1.3 * (np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v)) - 1


def waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bars that wind."""
    return np.sin(2 * np.pi * (u + 0.35 * np.sin(2 * np.pi * v / 1.5)))


def bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brickwork: thin joints, every other row shifted by half a brick."""
    row = np.floor(v)
    across, along = np.abs(v - row - 0.5), np.abs((u / 2 + row / 2) % 1 - 0.5)
    return np.where((across > 0.36) | (along > 0.43), 0.5, -0.5)


def rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rings on a square grid."""
    return 1.5 * np.sin(2 * np.pi * 2 * np.hypot(u / 1.5 % 1 - 0.5, v / 1.5 % 1 - 0.5))


PRINTS: dict[str, Texture] = {f.__name__: f for f in (stripes, checks, dots, bricks)}
WEAVES: dict[str, Texture] = {f.__name__: f for f in (stripes, checks, waves, rings)}


def printed(texture: Texture, size: int, rng: np.random.Generator) -> np.ndarray:
    """A pattern in dark ink on white, turned and stretched at random: RGB (size, size, 3)."""
    ink = _pattern(texture, size, rng)[..., None]
    return np.repeat(0.95 - rng.uniform(0.6, 0.9) * ink, 3, axis=2)


def textured(texture: Texture, size: int, rng: np.random.Generator) -> np.ndarray:
    """Two random colours mixed by a pattern, turned and stretched at random: (size, size, 3)."""
    return _two_toned(_pattern(texture, size, rng), rng)


def _pattern(texture: Texture, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pattern (size, size) in 0 to 1, of random direction, phase and period."""
    angle, period = rng.uniform(0, 2 * np.pi), rng.uniform(*PERIOD)
    rows, columns = np.mgrid[:size, :size] / period
    u = np.cos(angle) * columns + np.sin(angle) * rows + rng.random()
    v = np.cos(angle) * rows - np.sin(angle) * columns + rng.random()
    return np.clip(0.5 + texture(u, v), 0, 1)


def blotches(size: int, rng: np.random.Generator) -> np.ndarray:
    """Two random colours in irregular patches, of the scale of the textures."""
    smooth = cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), 2.5)
    return _two_toned(np.clip(0.5 + smooth / smooth.std(), 0, 1), rng)


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``image`` under light that falls off to one side, with sensor noise, some in negative."""
    size = len(image)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    light = 0.8 + 0.5 * (np.cos(angle) * columns + np.sin(angle) * rows)
    image = image * light[..., None] + rng.normal(0, 0.04, image.shape)
    return 1 - image if rng.random() < 0.5 else image


def _two_toned(mix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix (H, W) in 0 to 1 of two colours that differ clearly in brightness."""
    dark, bright = rng.uniform(0, 0.55, 3), rng.uniform(0.45, 1, 3)
    return dark + (bright - dark) * mix[..., None]
