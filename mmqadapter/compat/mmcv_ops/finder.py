"""The import hook that answers for ``mmcv._ext`` where mmcv has no compiled operators.

``mmcv.ops`` looks for its compiled operators in the module ``mmcv._ext``. The hook is the last
finder that Python asks, so a compiled module always wins, and one that does not load (built for
another PyTorch) still fails with its own error. Nothing is imported until mmcv asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

COMPILED = 'mmcv._ext'
REPLACEMENT = Path(__file__).with_name('ext.py')


class ReplacementFinder(MetaPathFinder):
    """Finder of the replacement of ``mmcv._ext``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of our module if mmcv's compiled one was not found."""
        if fullname != COMPILED:
            return None
        return spec_from_file_location(fullname, REPLACEMENT)


def install() -> None:
    """Let ours step in where mmcv has no compiled operators; a second call changes nothing."""
    if not any(isinstance(finder, ReplacementFinder) for finder in sys.meta_path):
        sys.meta_path.append(ReplacementFinder())
