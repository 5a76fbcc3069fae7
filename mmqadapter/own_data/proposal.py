"""Proposed image size, batch and length of a training, from the data and the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

GIB = 2**30
PASSES = 40  # over the training images
FEWEST, MOST = 400, 20_000  # iterations
LONGEST_SIDE = {'cpu': 320, 'small': 512, 'large': 800}  # pixels, of a semantic crop at most 512
BATCH = {'cpu': 4, 'small': 4, 'large': 8}
CLASSIFIED_SIDE = {'cpu': 128, 'small': 224, 'large': 224}  # pixels
CLASSIFIED_BATCH = {'cpu': 32, 'small': 64, 'large': 64}


@dataclass(frozen=True)
class Proposal:
    """Proposed settings.

    Attributes:
        size: Height and width in pixels: of the crop (label maps) or the largest image (objects).
        batch: Images per step and GPU.
        iterations: Steps of the training.
        machine: The machine that they are meant for.
        chosen: Names of those that the user chose.
    """

    size: tuple[int, int]
    batch: int
    iterations: int
    machine: str
    chosen: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where the settings come from, as printed."""
        chosen = f'; {" and ".join(self.chosen)} as you chose' if self.chosen else ''
        return f'proposed for {self.machine}{chosen}'


def propose_classifier(count: int, patch: int) -> Proposal:
    """Propose settings for a classifier, which sees every image in one square size.

    Args:
        count: Number of training images.
        patch: Side of a patch of the backbone; the size is a multiple of it.
    """
    kind, machine = _machine()
    side = _multiple(CLASSIFIED_SIDE[kind], patch)
    batch = min(CLASSIFIED_BATCH[kind], count)
    steps = math.ceil(PASSES * count / batch)
    return Proposal((side, side), batch, _round(min(max(steps, FEWEST), MOST)), machine)


def propose(sizes: Sequence[tuple[int, int]], patch: int, crop: bool) -> Proposal:
    """Propose settings for images of these widths and heights in pixels.

    Args:
        sizes: Width and height of each training image.
        patch: Side of a patch of the backbone; the size is a multiple of it.
        crop: Whether images are cropped (label maps) or only resized (objects).
    """
    kind, machine = _machine()
    longest = min(LONGEST_SIDE[kind], 512) if crop else LONGEST_SIDE[kind]
    # Crops are of the usual size; objects are not shrunk unless images are larger than most.
    typical = median if crop else max
    width, height = (typical(size[axis] for size in sizes) for axis in (0, 1))
    shrink = min(1.0, longest / max(width, height))
    batch = min(BATCH[kind], max(2, len(sizes)))
    steps = math.ceil(PASSES * len(sizes) / batch)
    return Proposal(
        (_multiple(height * shrink, patch), _multiple(width * shrink, patch)),
        batch,
        _round(min(max(steps, FEWEST), MOST)),
        machine,
    )


def _machine() -> tuple[str, str]:
    if not torch.cuda.is_available():
        return 'cpu', 'a machine without a GPU'
    memory = torch.cuda.get_device_properties(0).total_memory / GIB
    return ('small' if memory < 16 else 'large'), f'a GPU of {memory:.0f} GiB'


def _multiple(side: float, patch: int) -> int:
    unit = math.lcm(patch, 2) if patch % 2 else patch
    return max(unit, round(side / unit) * unit)


def _round(iterations: int) -> int:
    return math.ceil(iterations / 100) * 100
