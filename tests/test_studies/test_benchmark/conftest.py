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
    """``tiny(package)``: config of a tiny task with data, without its file of weights."""

    write_data(tmp_path)

    def make(package: str, wrapped: bool = True) -> Config:
        trunk: dict[str, Any] = {'type': f'{package}.SwinTransformer', **SWIN, 'frozen_stages': 1}
        trunk['init_cfg'] = dict(type='Pretrained', checkpoint='nowhere.pth')
        adapter = dict(type='AdaptFormer', width=4)
        net = dict(type='mmqadapter.AdaptedBackbone', backbone=trunk, adapter=adapter)
        text = TEMPLATES[package] + SCHEDULE
        values = dict(backbone=net if wrapped else trunk, root=str(tmp_path), classes=CLASSES)
        for name, value in {**values, 'lr': 0.1, 'best': None}.items():
            text = text.replace(f'{{{name}!r}}', repr(value))
        (tmp_path / 'tiny.py').write_text(text)
        return Config.fromfile(tmp_path / 'tiny.py')

    return make
