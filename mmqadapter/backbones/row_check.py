"""Check, when a wrapper is built, that the names in a row are those of modules of its net."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from mmqadapter.backbones.family import PAGE, BlockFamily
from mmqadapter.backbones.select import find_child

# Fields that name children of a block; each block has to have them.
IN_BLOCK = (
    'attn_branch', 'attn_in', 'mlp_in', 'mlp_branch', 'mlp_end', 'mlp', 'channels', 'block_grid',
)  # fmt: skip


def check_row(trunk: nn.Module, family: BlockFamily, blocks: Mapping[str, nn.Module]) -> None:
    """Check the names of children of blocks and of the module that tells the grid.

    Norms and necks are not among them: an option of a net may leave them out.

    Args:
        trunk: The net.
        family: Its row.
        blocks: Its blocks, by full name.

    Raises:
        ValueError: A block has no such child, or the net no such module.
    """
    for name, block in blocks.items():
        for field in IN_BLOCK:
            _require(block, name, family, field, getattr(family, field))
        match = re.fullmatch(family.blocks, name)
        assert match is not None
        _require(trunk, type(trunk).__name__, family, 'grid', family.grid.format(match[1]))


def _require(owner: nn.Module, name: str, family: BlockFamily, field: str, value: str) -> None:
    if value and find_child(owner, value) is None:
        raise ValueError(
            f'{field}={value!r} in the row {family.name!r} of the block table is invalid: {name} '
            f'has no such module; expected one of {_names(owner, value)}; {PAGE}.'
        )


def _names(owner: nn.Module, value: str) -> list[str]:
    """Return the names of the children of the last module that a wrong name has right."""
    parent = value.split('|')[0].rpartition('.')[0]
    while parent and find_child(owner, parent) is None:
        parent = parent.rpartition('.')[0]
    found = owner.get_submodule(parent)
    return [f'{parent}.{name}'.lstrip('.') for name, _ in found.named_children()]
