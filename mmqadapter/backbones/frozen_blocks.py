"""Which modules FSDP wraps one by one: the frozen blocks of a trunk."""

from __future__ import annotations

from torch import nn

from mmqadapter.backbones.families import FAMILIES
from mmqadapter.registry import FUNCTIONS

BLOCKS = {family.block for family in FAMILIES}


@FUNCTIONS.register_module()
def frozen_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Policy (``auto_wrap_policy``) that gives each frozen block of a trunk a unit of its own.

    All that trains stays in the outermost unit: adapters, which blocks call while they run, neck
    and head. So do patch embedding, mergings and norms, which a highway reads outside the trunk.

    Args:
        module: Asked about.
        recurse: Whether the question is to look at its children.
        nonwrapped_numel: Parameters in it that no unit holds yet; of no concern here.
    """
    if recurse:
        return True
    frozen = not any(parameter.requires_grad for parameter in module.parameters())
    return frozen and not BLOCKS.isdisjoint(kind.__name__ for kind in type(module).__mro__)
