"""A tiny UperNet, float and at few bits, for the tests of the tools."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_files import made_once
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
_base_ = {base!r}
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmqadapter.QuantizeTaskHook',
         bits={{'decode_head.*': 4, 'neck.*': 2, 'decode_head.conv_seg': 8}})]
"""


@pytest.fixture(scope='session')
def upernet(semantic: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A float UperNet with an FPN as neck, and its four iterations."""
    return _trained(tmp_path_factory, semantic, 'upernet', UPERNET)


@pytest.fixture(scope='session')
def few(upernet: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same at 8, 4 and 2 bits."""
    return _trained(tmp_path_factory, upernet, 'few', FEW)


def _trained(factory: pytest.TempPathFactory, base: Run, name: str, template: str) -> Run:
    """Return the run ``name``, trained once for all workers."""
    root = made_once(factory, name, lambda root: _train(_run(root, base), base, template))
    return _run(root, base)


def _run(root: Path, base: Run) -> Run:
    return Run(str(root / 'config.py'), base.images, root / root.name)


def _train(run: Run, base: Run, template: str) -> None:
    Path(run.config).write_text(template.format(base=base.config))
    forget()
    assert tool('train')([run.config, '--work-dir', str(run.work_dir)]) == 0
    forget()
