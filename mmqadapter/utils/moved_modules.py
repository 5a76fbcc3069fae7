"""Import names of version 0.1.0, as aliases of the modules that replace them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class MovedModules(MetaPathFinder, Loader):
    """Import hook for old names of modules; importing one imports the new module.

    Args:
        moved: New full name of each old full name.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec for an old name, None for all other names."""
        return ModuleSpec(name, self) if name in self._moved else None

    def exec_module(self, module: ModuleType) -> None:
        """Make ``module`` look up its attributes in the new module; warn about the old name."""
        old, new = module.__name__, self._moved[module.__name__]
        warnings.warn(f'{old} is now {new}; import that.', DeprecationWarning, stacklevel=2)
        target = import_module(new)
        module.__dir__ = partial(dir, target)  # type: ignore[method-assign]
        module.__getattr__ = partial(_lookup, target)  # type: ignore[method-assign]


def _lookup(target: ModuleType, name: str) -> Any:
    # Without `__path__`, so that a submodule is not imported a second time under the old name.
    if name.startswith('__'):
        raise AttributeError(name)
    return getattr(target, name)


def answer_for_moved_modules(moved: Mapping[str, str]) -> None:
    """Add an import hook for ``moved``, after those of Python."""
    sys.meta_path.append(MovedModules(moved))
