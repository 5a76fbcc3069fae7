"""A model as the config of its optimizer knows it: the plain model, with adapters as a new part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmqadapter.engine.adapter_settings import ADAPTERS, TRUNK
from mmqadapter.utils.sharding import as_built
from mmqadapter.utils.tuned_backbone import TunedBackbone


@dataclass(frozen=True)
class PlainView:
    """A view of a model in which trunks stand in place of their wrappers.

    Attributes:
        model: The model; the adapters of a wrapper follow its trunk, as a part of their own.
        trunks: Paths of the trunks in the view, with their paths in the model.
        adapters: Paths of the adapters in the view, with their paths in the model.
    """

    model: nn.Module
    trunks: dict[str, str]
    adapters: dict[str, str]

    def plain_names(self) -> list[str]:
        """Return the names of all parameters of the model without adapters."""
        return [n for n, _ in self.model.named_parameters() if not _below(n, self.adapters)]

    def is_adapter(self, name: str) -> bool:
        """Return whether a parameter of the view is one of an adapter."""
        return _below(name, self.adapters) is not None

    def is_tuned(self, name: str) -> bool:
        """Return whether a parameter of the view is one of a wrapped backbone."""
        return _below(name, {**self.adapters, **self.trunks}) is not None

    def path(self, name: str) -> str:
        """Return the name that a parameter of the view has in the model."""
        places = {**self.adapters, **self.trunks}
        place = _below(name, places)
        return name if place is None else places[place] + name[len(place) :]


@contextmanager
def plain_view(model: nn.Module) -> Iterator[PlainView]:
    """Yield the view of a model, into which the model changes while the context lasts."""
    with ExitStack() as after:
        view = PlainView(after.enter_context(as_built(model)), {}, {})
        modules = dict(view.model.named_modules())
        for path in [path for path, m in modules.items() if path and isinstance(m, TunedBackbone)]:
            above, _, name = path.rpartition('.')
            parent = modules[above]
            after.callback(_set_children, parent, dict(parent._modules))
            new = _unfold(parent, name)
            view.trunks[path] = f'{path}.{TRUNK}'
            view.adapters[f'{above}.{new}' if above else new] = f'{path}.{ADAPTERS}'
        yield view


def _unfold(parent: nn.Module, name: str) -> str:
    """Replace a wrapper by its trunk and its adapters; return the name of the latter."""
    wrapper: Any = parent._modules[name]
    new = ADAPTERS
    while hasattr(parent, new):
        new = f'_{new}'
    children: dict[str, nn.Module | None] = {}
    for child_name, child in parent._modules.items():
        parts = {name: wrapper.trunk, new: wrapper.adapters}
        children.update(parts if child_name == name else {child_name: child})
    _set_children(parent, children)
    return new


def _set_children(parent: nn.Module, children: Mapping[str, nn.Module | None]) -> None:
    parent._modules.clear()
    parent._modules.update(children)


def _below(name: str, paths: Mapping[str, str]) -> str | None:
    return next((path for path in paths if name.startswith(f'{path}.')), None)
