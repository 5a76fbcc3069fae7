"""A tiny UperNet, float and at few bits, for the tests of the tools."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import Run, forget, tool

UPERNET = """
_base_ = {base!r}
model = dict(
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
    decode_head=dict(
        _delete_=True, type='UPerHead', in_channels=[8, 8], in_index=[0, 1], pool_scales=(1, 2),
        channels=8, num_classes=3, dropout_ratio=0.1, align_corners=False,
        norm_cfg=dict(type='SyncBN'), loss_decode=dict(type='CrossEntropyLoss')))
optim_wrapper = dict(optimizer=dict(lr=0.01))
"""
FEW = """
_base_ = './upernet.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmqadapter.QuantizeTaskHook',
         bits={'decode_head.*': 4, 'neck.*': 2, 'decode_head.conv_seg': 8})]
"""


@pytest.fixture(scope='session')
def upernet(semantic: Run) -> Run:
    """A float UperNet with an FPN as neck, and its four iterations."""
    return _trained(semantic, 'upernet', UPERNET.format(base=semantic.config))


@pytest.fixture(scope='session')
def few(semantic: Run, upernet: Run) -> Run:
    """The same at 8, 4 and 2 bits."""
    return _trained(semantic, 'few', FEW)


def _trained(base: Run, name: str, text: str) -> Run:
    config = Path(base.config).with_name(f'{name}.py')
    config.write_text(text)
    run = Run(str(config), base.images, config.parent / name)
    forget()
    assert tool('train')([run.config, '--work-dir', str(run.work_dir)]) == 0
    forget()
    return run
