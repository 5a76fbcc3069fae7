"""The families of backbones that are supported: one row each."""

from __future__ import annotations

from torch import nn

from mmqadapter.backbones.families.convolutional import CONVOLUTIONAL, REFUSED
from mmqadapter.backbones.families.mmpretrain import MMPRETRAIN
from mmqadapter.backbones.families.openmmlab import OPENMMLAB
from mmqadapter.backbones.families.timm import TIMM
from mmqadapter.backbones.family import BlockFamily

FAMILIES = (*OPENMMLAB, *CONVOLUTIONAL, *MMPRETRAIN, *TIMM)
# Wrappers of other packages around nets that have rows, and what to use instead.
INSTEAD = {'TIMMBackbone': 'mmqadapter.TimmBackbone, which takes the same model_name'}


def find_family(trunk: nn.Module) -> BlockFamily:
    """Return the row of the table that covers a built backbone.

    Raises:
        ValueError: No row covers it, or it is known not to fit.
    """
    candidates = (trunk, getattr(trunk, 'model', None))
    names = {f'{c.__module__}.{c.__qualname__}' for m in candidates for c in type(m).__mro__}
    if reason := next((REFUSED[name] for name in names if name in REFUSED), None):
        raise ValueError(f'backbone={type(trunk).__name__} is not supported: {reason}.')
    for family in FAMILIES:
        if names.intersection(family.classes):
            return family
    name = type(trunk).__name__
    if name in INSTEAD:
        raise ValueError(f'backbone={name} is not supported: use {INSTEAD[name]}.')
    known = ', '.join(family.name for family in FAMILIES)
    raise ValueError(
        f'backbone={name} is not supported: expected one of {known}; '
        'the docs page "Adding a backbone" shows how to add a row for it.'
    )
