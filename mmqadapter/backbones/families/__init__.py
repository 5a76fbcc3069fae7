"""The families of backbones that are supported: one row each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from mmqadapter.backbones.families.convolutional import CONVOLUTIONAL
from mmqadapter.backbones.families.mmpretrain import MMPRETRAIN
from mmqadapter.backbones.families.openmmlab import OPENMMLAB
from mmqadapter.backbones.families.refused import REFUSED
from mmqadapter.backbones.families.timm import TIMM
from mmqadapter.backbones.families.timm_pyramids import TIMM_PYRAMIDS
from mmqadapter.backbones.family import BlockFamily, is_block

FAMILIES = (*OPENMMLAB, *CONVOLUTIONAL, *MMPRETRAIN, *TIMM, *TIMM_PYRAMIDS)
# Wrappers of other packages around nets that have rows, and what to use instead.
INSTEAD = {'TIMMBackbone': 'mmqadapter.TimmBackbone, which takes the same model_name'}


def find_family(trunk: nn.Module) -> BlockFamily:
    """Return the row of the table that covers a built backbone.

    Several rows may have a class: the block that the net is built of tells them apart.

    Raises:
        ValueError: No row covers it, or it is known not to fit.
    """
    candidates = (trunk, getattr(trunk, 'model', None))
    names = {f'{c.__module__}.{c.__qualname__}' for m in candidates for c in type(m).__mro__}
    name = type(trunk).__name__
    if reason := next((REFUSED[name] for name in names if name in REFUSED), None):
        raise ValueError(f'backbone={name} is not supported: {reason}.')
    families = [family for family in FAMILIES if names.intersection(family.classes)]
    if families:
        return _of_these_blocks(families, trunk) if len(families) > 1 else families[0]
    if name in INSTEAD:
        raise ValueError(f'backbone={name} is not supported: use {INSTEAD[name]}.')
    raise ValueError(
        f'backbone={name} is not supported: expected a net that the docs page '
        '"Adding a backbone" lists; it also shows how to add one.'
    )


def _of_these_blocks(families: Sequence[BlockFamily], trunk: nn.Module) -> BlockFamily:
    """Return the first row that has the trunk's kind of block; the first row if none has."""
    modules = list(trunk.named_modules())
    for family in families:
        blocks = (m for name, m in modules if re.fullmatch(family.blocks, name))
        if any(is_block(family, block) for block in blocks):
            return family
    return families[0]
