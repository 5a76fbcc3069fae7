"""Ways: classes that compute what a stock module computes, and what puts them ahead of its own.

The module stays the same object, with its parameters, keys, children, hooks and methods; a way is
a base class ahead of its own class, so ``super()`` is the stock computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from mmqadapter.backbones.acceleration.window_layout import LayoutCache

# For the type checker a way is a module; it becomes one ahead of a stock class.
if TYPE_CHECKING:
    from torch.nn import Module as FastForward
else:
    FastForward = object


class FusedAttention(Protocol):
    """A way that attention is fused in."""

    def prepare(self, layouts: LayoutCache) -> None:
        """Take what the modules of a trunk share; called once, on the module."""
        ...


# Qualified class names of stock modules, and their ways.
FusedModules = Sequence[tuple[str, type[FusedAttention]]]


def specialize(module: nn.Module, way: type) -> None:
    """Compute ``module`` in another way from now on; for the modules of a frozen trunk alone."""
    stock: Any = type(module)
    module.__class__ = _ahead_of(way, stock)


def fuse_attention(trunk: nn.Module, fused: FusedModules) -> int:
    """Compute attention through PyTorch's ``scaled_dot_product_attention``; frozen weights first.

    Args:
        trunk: A built net; what of it trains has ``requires_grad`` set already.
        fused: Names of stock classes and their ways, from the net's row of the block table.

    Returns:
        Number of modules that are computed in another way now.
    """
    ways, layouts = dict(fused), LayoutCache()
    found: list[Any] = [module for module in trunk.modules() if _name(module) in ways]
    for module in found:
        specialize(module, ways[_name(module)])
        module.prepare(layouts)
    return len(found)


def _name(module: nn.Module) -> str:
    return f'{type(module).__module__}.{type(module).__qualname__}'


@cache
def _ahead_of(way: type, stock: type) -> type:
    return type(f'{way.__name__}({stock.__name__})', (way, stock), {'__module__': way.__module__})
