"""Wrap policy for FSDP: each frozen block of a trunk is a unit of its own."""

from __future__ import annotations

import re

from torch import nn

from mmqadapter.backbones.families import FAMILIES
from mmqadapter.registry import FUNCTIONS

BLOCKS = re.compile('|'.join(family.block for family in FAMILIES))


@FUNCTIONS.register_module()
def frozen_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Return whether FSDP wraps ``module``; an ``auto_wrap_policy`` for frozen blocks.

    Everything that trains stays in the outermost unit: adapters, which blocks call while they run,
    neck and head. So do patch embedding, mergings and norms, which a highway reads outside the
    trunk.

    Args:
        module: The module.
        recurse: Whether FSDP asks about visiting the children of ``module`` instead.
        nonwrapped_numel: Number of parameters that are in no unit yet; ignored.
    """
    if recurse:
        return True
    frozen = not any(parameter.requires_grad for parameter in module.parameters())
    return frozen and any(BLOCKS.fullmatch(base.__name__) for base in type(module).__mro__)
