"""Splitting of data that have no validation split."""

from __future__ import annotations

import random
from typing import TypeVar

from mmqadapter.own_data.samples import LabeledImage, MaskPair, Sample

VAL_SHARE = 0.2
Item = TypeVar('Item', Sample, MaskPair, LabeledImage)


def train_and_val(
    splits: dict[str, list[Item]], seed: int = 0
) -> tuple[list[Item], list[Item], str]:
    """Return the items to train on, those to validate on, and a sentence that says which.

    A split of the data is used where there is one; ``test`` is used for validation if there is no
    ``val``. Otherwise every fifth image, drawn with ``seed``, is for validation.

    Raises:
        ValueError: There are fewer than two images to train and validate on.
    """
    named = {name: list(items) for name, items in splits.items() if items}
    train = named.pop('train', None) or _merged(named, 'val', 'test')
    for name in ('val', 'test'):
        if name in named:
            return train, named[name], f'train and {name} as the folders say'
    if len(train) < 2:
        raise ValueError(
            f'only {len(train)} annotated image is found: expected at least 2, one to train and '
            'one to validate on.'
        )
    drawn = _drawn(len(train), seed)
    val = [item for number, item in enumerate(train) if number in drawn]
    rest = [item for number, item in enumerate(train) if number not in drawn]
    return rest, val, f'no validation split: {len(val)} of {len(train)} images drawn (seed {seed})'


def _merged(named: dict[str, list[Item]], *without: str) -> list[Item]:
    """Remove all splits but ``without`` from ``named``, and return their items together."""
    names = [name for name in named if name not in without] or list(named)
    return [item for name in names for item in named.pop(name)]


def _drawn(count: int, seed: int) -> set[int]:
    size = max(1, round(VAL_SHARE * count))
    return set(random.Random(seed).sample(range(count), size))
