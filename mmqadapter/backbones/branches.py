"""Hook the ends of a block's branches, where a row names a module that both branches call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mmqadapter.backbones.family import BlockFamily

Hook = Callable[[nn.Module, tuple, Any], Any]


class NthCall:
    """Hook on one of the two calls of a module in each forward of its block.

    Args:
        block: The block.
        module: A module that the block calls for the attention and for the MLP branch.
        hook: A forward hook.
        number: 0 for the first call, 1 for the second.
        prepend: Run before the other hooks of the module.
    """

    def __init__(
        self, block: nn.Module, module: nn.Module, hook: Hook, number: int, prepend: bool
    ) -> None:
        self.hook, self.number, self.calls = hook, number, 0
        block.register_forward_pre_hook(self._restart)
        module.register_forward_hook(self._count, prepend=prepend)

    def _restart(self, module: nn.Module, args: tuple) -> None:
        self.calls = 0  # a block that raised may not have come to the second call

    def _count(self, module: nn.Module, args: tuple, output: Any) -> Any:
        call, self.calls = self.calls, (self.calls + 1) % 2
        return self.hook(module, args, output) if call == self.number else None


def hook_branch(
    block: nn.Module, family: BlockFamily, field: str, hook: Hook, prepend: bool = False
) -> None:
    """Register a forward hook on the module that ends a branch.

    Args:
        block: The block.
        family: Its row.
        field: Field of the row that names the module, such as ``'mlp_branch'``.
        hook: A bound method.
        prepend: Run before the other hooks of the module.
    """
    name = getattr(family, field)
    module = block.get_submodule(name)
    if name == family.attn_branch == family.mlp_branch:
        NthCall(block, module, hook, int(field != 'attn_branch'), prepend)
    else:
        module.register_forward_hook(hook, prepend=prepend)
