"""Outlines of objects on a pixel grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Mask = np.ndarray
Outline = Callable[[np.ndarray, np.ndarray], Mask]


def disc(u: np.ndarray, v: np.ndarray) -> Mask:
    """Return whether points lie in the disc of radius 1."""
    return u**2 + v**2 < 1


def box(u: np.ndarray, v: np.ndarray) -> Mask:
    """Return whether points lie in a rectangle of 1.7 by 1.4."""
    return (np.abs(u) < 0.85) & (np.abs(v) < 0.7)


def triangle(u: np.ndarray, v: np.ndarray) -> Mask:
    """Return whether points lie in the equilateral triangle in a disc of radius 1.1."""
    return (v < 0.55) & (np.abs(u) * np.sqrt(3) - v < 1.1)


def star(u: np.ndarray, v: np.ndarray) -> Mask:
    """Return whether points lie in a star with five rounded points."""
    return np.hypot(u, v) < 0.8 + 0.3 * np.cos(5 * np.arctan2(v, u))


def cross(u: np.ndarray, v: np.ndarray) -> Mask:
    """Return whether points lie in a cross of two bars."""
    inner = np.minimum(np.abs(u), np.abs(v))
    return (inner < 0.4) & (np.maximum(np.abs(u), np.abs(v)) < 1)


OUTLINES: dict[str, Outline] = {f.__name__: f for f in (disc, box, triangle, star, cross)}


def random_mask(outline: Outline, size: int, rng: np.random.Generator) -> Mask:
    """Return the mask (size, size) of an outline with random position, rotation and scale.

    The radius is a sixth to a fourth of the image; the center lies inside the image.
    """
    radius = rng.uniform(size / 6, size / 4)
    center = rng.uniform(0.12 * size, 0.88 * size, 2)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] + 0.5
    y, x = (rows - center[0]) / radius, (columns - center[1]) / radius
    cos, sin = np.cos(angle), np.sin(angle)
    return outline(cos * x + sin * y, cos * y - sin * x)
