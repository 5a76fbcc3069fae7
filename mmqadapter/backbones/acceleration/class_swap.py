"""Replace the ``forward`` of a built module by a faster one, in place.

The module stays the same object, with its parameters, keys, children and hooks. A class with the
faster ``forward`` becomes a base class ahead of the module's own class, so that ``super()`` is the
stock computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from mmqadapter.backbones.acceleration.window_layout import LayoutCache

if TYPE_CHECKING:  # a subclass becomes a module when it is put ahead of a stock class
    from torch.nn import Module as _Base
else:
    _Base = object


class FastForward(_Base):
    """Base class of faster forwards, to be put ahead of a stock module's class."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle and copy by the classes that were combined, since pickle can import these."""
        stock, fast = _components(type(self))
        return _rebuild, (stock, fast), self.__dict__


class FusedAttention(Protocol):
    """A :class:`FastForward` of attention."""

    def prepare(self, layouts: LayoutCache) -> None:
        """Take what the modules of a trunk share; called once per module."""
        ...


# Qualified names of stock classes, and the class to put ahead of each.
FusedModules = Sequence[tuple[str, type[FusedAttention]]]


def specialize(module: nn.Module, fast: type) -> None:
    """Let ``module`` compute with ``fast`` from now on; only for modules of a frozen trunk."""
    stock: Any = type(module)
    module.__class__ = _combined(fast, stock)


def fuse_attention(trunk: nn.Module, fused: FusedModules) -> int:
    """Compute attention through PyTorch's ``scaled_dot_product_attention``.

    Args:
        trunk: A built net, already frozen: position biases that train are handled differently.
        fused: Stock classes and their replacements, from the net's row of the table.

    Returns:
        Number of modules that were replaced.
    """
    replacements, layouts = dict(fused), LayoutCache()
    modules: list[Any] = [module for module in trunk.modules() if _name(module) in replacements]
    for module in modules:
        specialize(module, replacements[_name(module)])
        module.prepare(layouts)
    return len(modules)


def stock_forwards(net: nn.Module) -> dict[nn.Module, Callable[..., Any]]:
    """Return the stock forward of each module of a net that has a faster one."""
    fast: list[Any] = [module for module in net.modules() if isinstance(module, FastForward)]
    stock: list[Any] = [_components(type(module))[0] for module in fast]
    return {m: partial(cls.forward, m) for m, cls in zip(fast, stock, strict=True)}


def _name(module: nn.Module) -> str:
    return f'{type(module).__module__}.{type(module).__qualname__}'


@cache
def _combined(fast: type, stock: type) -> type:
    name = f'{fast.__name__}({stock.__name__})'
    return type(name, (fast, stock), {'__module__': fast.__module__, '_components': (fast, stock)})


def _components(kind: type) -> tuple[type, tuple[type, ...]]:
    """Return the stock class of a combined class, and the classes ahead of it, innermost first."""
    fast: list[type] = []
    while '_components' in vars(kind):
        outer, kind = vars(kind)['_components']
        fast.insert(0, outer)
    return kind, tuple(fast)


def _rebuild(stock: type, fast: Sequence[type]) -> Any:
    """Return an empty instance of ``stock`` with the classes of ``fast`` ahead of it."""
    kind: Any = stock
    for inner in fast:
        kind = _combined(inner, kind)
    return kind.__new__(kind)
