"""Splitting of data that have no validation split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from mmqadapter.own_data.samples import LabeledImage, MaskPair, Sample

VAL_SHARE = 0.2
Item = TypeVar('Item', Sample, MaskPair, LabeledImage)


def train_and_val(
    splits: dict[str, list[Item]], seed: int = 0, split_by: str = 'folders'
) -> tuple[list[Item], list[Item], str]:
    """Return the items to train on, those to validate on, and a sentence that says which.

    A split of the data is used where there is one; ``test`` is used for validation if there is no
    ``val``. Otherwise every fifth image, drawn with ``seed``, is for validation; of classified
    images every fifth of each class.

    Args:
        splits: Items by name of the split.
        seed: Seed of the draw.
        split_by: What states the split, as printed.

    Raises:
        ValueError: There are too few images to train and validate on.
    """
    named = {name: list(items) for name, items in splits.items() if items}
    train = named.pop('train', None) or _merged(named, 'val', 'test')
    for name in ('val', 'test'):
        if name in named:
            val = named.pop(name)
            return train, val, f'train and {name} as the {split_by} say{_left_out(named)}'
    if len(train) < 2:
        raise ValueError(
            f'only {len(train)} annotated image is found: expected at least 2, one to train and '
            'one to validate on.'
        )
    drawn = _drawn(train, seed)
    if not drawn:
        raise ValueError('every class has one image: expected two of some, to validate on one.')
    val = [item for number, item in enumerate(train) if number in drawn]
    rest = [item for number, item in enumerate(train) if number not in drawn]
    return rest, val, f'no validation split: {len(val)} of {len(train)} images drawn (seed {seed})'


def _merged(named: dict[str, list[Item]], *without: str) -> list[Item]:
    """Remove all splits but ``without`` from ``named``, and return their items together."""
    names = [name for name in named if name not in without] or list(named)
    return [item for name in names for item in named.pop(name)]


def _left_out(named: dict[str, list[Item]]) -> str:
    """Return what to say of items of no split; those of ``test`` are left out on purpose."""
    count = sum(len(items) for name, items in named.items() if name != 'test')
    return f'; {count} images of no split are left out' if count else ''


def _drawn(items: Sequence[Item], seed: int) -> set[int]:
    """Return the numbers of the items to validate on: of classified images a share of each class.

    One image of each class is left for training.
    """
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        groups.setdefault(item.label if isinstance(item, LabeledImage) else '', []).append(number)
    draw, drawn = random.Random(seed), set[int]()
    for numbers in groups.values():
        size = min(max(1, round(VAL_SHARE * len(numbers))), len(numbers) - 1)
        drawn |= set(draw.sample(numbers, size))
    return drawn
