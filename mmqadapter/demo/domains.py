"""The two domains: prints in black ink on white; cloth of any colours under uneven light."""

from __future__ import annotations

import numpy as np

from mmqadapter.demo import paint
from mmqadapter.demo.scenes import Domain


def _paper(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.full((size, size, 3), rng.uniform(0.35, 0.95))


def _printed(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return paint.printed(list(paint.PRINTS.values())[label - 1], size, rng)


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image + rng.normal(0, 0.02, image.shape)


def _cloth(label: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return paint.textured(list(paint.WEAVES.values())[label - 1], size, rng)


PAINTED = Domain(('ground', *paint.PRINTS), _paper, _printed, _noisy)
CLOTH = Domain(('ground', *paint.WEAVES), paint.blotches, _cloth, paint.lit)
