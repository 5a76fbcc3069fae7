"""What all tests share: fixed seeds, the real data where it is, and small backbones."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import settings
from old_torch import pytest_runtest_call
from tiny_backbones import (
    LAYOUTS,
    NO_CP,
    NO_DROP_PATH,
    NO_LORA,
    NO_OUT_INDICES,
    ROWS,
    TINY,
    tiny_config,
)

__all__ = ['pytest_runtest_call']

# A slow machine is no bug, and a test gives the same answer every time.
settings.register_profile('mmqadapter', deadline=None, derandomize=True)
settings.load_profile('mmqadapter')
# Nets of this size gain nothing from threads, which only wait where the machine is busy.
torch.set_num_threads(1)

BackboneFactory = Callable[..., dict[str, Any]]


@pytest.fixture(scope='session', autouse=True)
def light_children() -> Iterator[None]:
    """Let child processes compute in one thread, and start 2.6 seconds sooner without transformers.

    mmengine and mmdet import it, and with it torchao and PEFT, wherever it is installed; here PEFT
    brings it. Tests of PEFT and torchao themselves run in this process.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.setenv('PYTHONPATH', str(Path(__file__).parent / 'absent'), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """The same random numbers in every test, in any order of tests."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of the real data, which ``MMQADAPTER_DATA`` names; skips where it is missing."""
    folder = os.environ.get('MMQADAPTER_DATA')
    if not folder:
        pytest.skip('real data: set MMQADAPTER_DATA to its folder')
    if not Path(folder).is_dir():
        pytest.skip(f'real data: MMQADAPTER_DATA={folder} is no folder')
    return Path(folder).resolve()


@pytest.fixture(params=list(TINY))
def tiny_backbone(request: pytest.FixtureRequest) -> BackboneFactory:
    """``tiny_backbone(**changes)``: config of a small backbone; a test runs once per family."""
    return partial(_changed, request.param)


@pytest.fixture(params=list(ROWS))
def row_backbone(request: pytest.FixtureRequest) -> BackboneFactory:
    """As ``tiny_backbone``, of every row of the table: for what the names in a row say."""
    return partial(_changed, request.param)


@pytest.fixture(params=LAYOUTS)
def layout_backbone(request: pytest.FixtureRequest) -> BackboneFactory:
    """As ``tiny_backbone``, of one family for each way to lay out the stream.

    For what depends on the layout of a net, but not on the names in the row of its family.
    """
    return partial(_changed, request.param)


def _changed(name: str, **changes: Any) -> dict[str, Any]:
    if 'out_indices' in changes and name in NO_OUT_INDICES:
        pytest.skip('it returns all of its stages')
    if 'drop_path_rate' in changes and name in NO_DROP_PATH:
        pytest.skip('it has no stochastic depth')
    if 'with_cp' in changes and name in NO_CP:
        pytest.skip('it has no activation checkpointing')
    return tiny_config(name, **changes)


@pytest.fixture(params=[name for name in TINY if name not in NO_LORA])
def lora_backbone(request: pytest.FixtureRequest) -> BackboneFactory:
    """As ``tiny_backbone``, of the families whose blocks all take LoRA."""
    return lambda **changes: tiny_config(request.param, **changes)


@pytest.fixture
def rotating_backbone(request: pytest.FixtureRequest) -> BackboneFactory:
    """``rotating_backbone(**changes)``: as ``tiny_backbone``, of one family for each case.

    For tests with parameters of their own. The test's name chooses the family of the first case;
    each next value of a parameter takes the next family. With ``with_cp`` or ``out_indices`` among
    the changes it is a family that has this argument.
    """
    case = crc32(request.function.__qualname__.encode()) + sum(
        request.node.callspec.indices.values()
    )

    def config(**changes: Any) -> dict[str, Any]:
        without = NO_CP if 'with_cp' in changes else ()
        without += NO_OUT_INDICES if 'out_indices' in changes else ()
        families = [name for name in TINY if name not in without]
        return tiny_config(families[case % len(families)], **changes)

    return config


@pytest.fixture
def tiny_mmdet_swin() -> BackboneFactory:
    """``tiny_mmdet_swin(**changes)``: maps (B, 8, 16, 16) and (B, 16, 8, 8) of 64 x 64 images."""
    return lambda **changes: tiny_config('mmdet_swin', **changes)


@pytest.fixture
def tiny_mmseg_swin() -> BackboneFactory:
    """As ``tiny_mmdet_swin``."""
    return lambda **changes: tiny_config('mmseg_swin', **changes)


@pytest.fixture
def tiny_mmseg_vit() -> BackboneFactory:
    """Two maps (B, 16, 4, 4) of 64 x 64 images, from blocks 0 and 2 of 3."""
    return lambda **changes: tiny_config('mmseg_vit', **changes)


@pytest.fixture
def tiny_timm_vit() -> BackboneFactory:
    """As ``tiny_mmseg_vit``."""
    return lambda **changes: tiny_config('timm_vit', **changes)


@pytest.fixture
def tiny_dinov2() -> BackboneFactory:
    """Registers and LayerScale, patch 14: two maps (B, 16, 5, 5) of 64 x 64 images."""
    return lambda **changes: tiny_config('dinov2', **changes)


@pytest.fixture
def tiny_timm_swin() -> BackboneFactory:
    """As ``tiny_mmdet_swin``."""
    return lambda **changes: tiny_config('timm_swin', **changes)
