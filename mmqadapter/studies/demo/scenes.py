"""Generated scenes of several objects, in the style of a domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmqadapter.studies.demo import shapes

SIZE = 96  # pixels


@dataclass(frozen=True)
class Scene:
    """Image with its ground truth.

    Attributes:
        image: RGB, uint8 (H, W, 3).
        labels: Class of each pixel, uint8 (H, W); 0 is the background.
        instances: (class, mask of the visible part) of each object, back to front.
    """

    image: np.ndarray
    labels: np.ndarray
    instances: list[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class Domain:
    """Style of the generated images.

    Attributes:
        classes: Names of the classes; the first is the background.
        ground: Draws a background: (size, rng) -> image.
        surface: Draws the surface of a class: (class, size, rng) -> image.
        finish: Transforms the whole image: (image, rng) -> image.
    """

    classes: tuple[str, ...]
    ground: Callable[[int, np.random.Generator], np.ndarray]
    surface: Callable[[int, int, np.random.Generator], np.ndarray]
    finish: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def draw(domain: Domain, seed: tuple[int, ...], size: int = SIZE) -> Scene:
    """Draw the scene of a seed: three to five objects, later ones in front of earlier ones."""
    rng = np.random.default_rng(seed)
    image = np.array(domain.ground(size, rng))
    labels = np.zeros((size, size), dtype=np.uint8)
    owner = np.full((size, size), -1)
    classes = []
    for number in range(int(rng.integers(3, 6))):
        outline = shapes.OUTLINES[str(rng.choice(list(shapes.OUTLINES)))]
        mask = shapes.random_mask(outline, size, rng)
        label = int(rng.integers(1, len(domain.classes)))
        image[mask] = domain.surface(label, size, rng)[mask]
        labels[mask], owner[mask] = label, number
        classes.append(label)
    image = (domain.finish(image, rng).clip(0, 1) * 255).astype(np.uint8)
    return Scene(image, labels, [(label, owner == n) for n, label in enumerate(classes)])
