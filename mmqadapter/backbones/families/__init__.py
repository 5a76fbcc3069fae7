"""The families of backbones that are supported: one row each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from mmqadapter.backbones.families.openmmlab import OPENMMLAB
from mmqadapter.backbones.families.timm import TIMM
from mmqadapter.backbones.families.timm_pyramids import TIMM_PYRAMIDS
from mmqadapter.backbones.family import BlockFamily, is_block

FAMILIES = (*OPENMMLAB, *TIMM, *TIMM_PYRAMIDS)


def find_family(trunk: nn.Module) -> BlockFamily:
    """Return the row of the table that covers a built backbone.

    Several rows may have a class: the block that the net is built of tells them apart.

    Raises:
        ValueError: No row covers it.
    """
    candidates = (trunk, getattr(trunk, 'model', None))
    names = {f'{c.__module__}.{c.__qualname__}' for m in candidates for c in type(m).__mro__}
    families = [family for family in FAMILIES if names.intersection(family.classes)]
    if not families:
        raise ValueError(
            f'backbone={type(trunk).__name__} is not supported: expected a net that the docs page '
            '"Adding a backbone" lists; it also shows how to add one.'
        )
    return _of_these_blocks(families, trunk) if len(families) > 1 else families[0]


def _of_these_blocks(families: Sequence[BlockFamily], trunk: nn.Module) -> BlockFamily:
    """Return the first row that has the trunk's kind of block; the first row if none has."""
    modules = list(trunk.named_modules())
    for family in families:
        blocks = (m for name, m in modules if re.fullmatch(family.blocks, name))
        if any(is_block(family, block) for block in blocks):
            return family
    return families[0]
