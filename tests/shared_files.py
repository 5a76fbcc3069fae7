"""Files that take seconds to make, made once for all workers of pytest-xdist."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return folder ``name`` of this test run, which ``make(folder)`` has filled.

    The first caller in any worker makes it while the others wait. Tests only read it: their own
    files belong in ``tmp_path``.
    """
    root = factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        root = root.parent  # each worker has a folder of its own in that of the run
    folder, done = root / 'shared' / name, root / 'shared' / f'{name}.done'
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_suffix('.lock')):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
