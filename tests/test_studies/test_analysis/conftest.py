from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from tiny_data import CLASSES, write_data
from tiny_runs import INSTANCES, SCHEDULE, SEMANTIC, SWIN, fresh_globals

__all__ = ['fresh_globals', 'tiny']

TEMPLATES = {'mmseg': SEMANTIC, 'mmdet': INSTANCES}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Config]:
    """``tiny(package, **wrapper)``: config of a tiny task with data and a random trunk."""
    write_data(tmp_path)

    def make(package: str, **wrapper: Any) -> Config:
        net: dict[str, Any] = {'type': f'{package}.SwinTransformer', **SWIN, 'init_cfg': None}
        if wrapper:
            net = {'type': 'mmqadapter.AdaptedBackbone', **wrapper, 'backbone': net}
        text = TEMPLATES[package] + SCHEDULE
        values = dict(backbone=net, root=str(tmp_path), classes=CLASSES, lr=0.1, best=None)
        for name, value in values.items():
            text = text.replace(f'{{{name}!r}}', repr(value))
        (tmp_path / 'tiny.py').write_text(text)
        return Config.fromfile(tmp_path / 'tiny.py')

    return make
