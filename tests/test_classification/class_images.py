"""Generated images in class folders: each class has its own color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {'blue': (40, 60, 220), 'green': (50, 200, 60), 'red': (220, 50, 40)}
SIDE = 32


def write_image(path: Path, color: tuple[int, int, int], seed: int) -> None:
    """Write a noisy image of one color."""
    noise = np.random.default_rng(seed).integers(-40, 41, (SIDE, SIDE, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(path)


def write_classes(root: Path, count: int, seed: int = 0, **colors: tuple[int, int, int]) -> Path:
    """Write ``count`` images of each class below ``root``, which is returned."""
    for number, (name, color) in enumerate((colors or COLORS).items()):
        for index in range(count):
            write_image(root / name / f'{index}.png', color, seed + 100 * number + index)
    return root
