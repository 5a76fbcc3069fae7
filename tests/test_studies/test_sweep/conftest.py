from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sweeps import CONFIG, SWEEP

from mmqadapter.studies.sweep.plan import Sweep, read_sweep


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """``sweep_file(**changes)``: path of a sweep file; keys changed to None are left out."""

    def write(**changes: Any) -> Path:
        content = {k: v for k, v in {**SWEEP, **changes}.items() if v is not None}
        (tmp_path / 'plain.py').write_text(CONFIG)
        (tmp_path / 'sweep.yaml').write_text(yaml.safe_dump(content))
        return tmp_path / 'sweep.yaml'

    return write


@pytest.fixture
def make_sweep(sweep_file: Callable[..., Path]) -> Callable[..., Sweep]:
    """``make_sweep(**changes)``: plan of such a file."""
    return lambda **changes: read_sweep(sweep_file(**changes))
