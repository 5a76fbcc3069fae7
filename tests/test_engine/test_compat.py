"""Each patch of mmengine, mmdet and mmseg does what it is for, once, and no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from hostile_checkpoint import hostile, proof
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, load_checkpoint
from tiny_runs import SWIN
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.checkpoints.safe_load import FORCE
from mmqadapter.engine.compat import TRUST, non_reentrant_checkpoints, patch_mmengine

__all__ = ['hostile', 'proof']


def pretrained(path: str) -> None:
    model: Any = MODELS.build(
        dict(
            type='mmseg.SwinTransformer',
            init_cfg=dict(type='Pretrained', checkpoint=path),
            **SWIN,
        )
    )
    model.init_weights()


READERS: dict[str, Callable[[str], Any]] = {
    'load_from, resume': lambda path: load_checkpoint(nn.Linear(2, 2), path),
    'mmengine': lambda path: CheckpointLoader.load_checkpoint(path, map_location='cpu'),
    'init_cfg': pretrained,
}


@pytest.mark.parametrize('reader', READERS)
def test_nothing_is_run_and_the_error_says_how_to_decide(
    hostile: str, proof: Path, reader: str
) -> None:
    with pytest.raises(ValueError, match=rf"hostile.pth' .*may run .*know who wrote it: {TRUST}"):
        READERS[reader](hostile)
    assert not proof.exists()


def test_who_decides_to_trust_can_read_it(
    hostile: str, proof: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUST, '1')
    load_checkpoint(nn.Linear(2, 2), hostile, strict=False)
    assert proof.exists()


@pytest.mark.parametrize('value', ['0', '', 'no'])
def test_any_other_value_trusts_nothing(
    hostile: str, proof: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(TRUST, value)
    with pytest.raises(ValueError, match='may run code'):
        load_checkpoint(nn.Linear(2, 2), hostile, strict=False)
    assert not proof.exists()


def test_sound_checkpoints_are_read_as_before(tmp_path: Path) -> None:
    torch.save({'state_dict': {'weight': torch.ones(2, 2)}}, tmp_path / 'a.pth')
    model = nn.Linear(2, 2)
    load_checkpoint(model, str(tmp_path / 'a.pth'))
    assert bool((model.weight == 1).all())
    with pytest.raises(FileNotFoundError):
        load_checkpoint(model, str(tmp_path / 'none.pth'))


def test_patches_are_applied_once_and_leave_no_trace(hostile: str) -> None:
    loader = CheckpointLoader.load_checkpoint.__func__
    patch_mmengine()
    assert CheckpointLoader.load_checkpoint.__func__ is loader
    with pytest.raises(ValueError, match='may run code'):
        load_checkpoint(nn.Linear(2, 2), hostile)
    assert FORCE not in os.environ


def test_configs_are_found_whatever_distribution_provides_mmseg(tmp_path: Path) -> None:
    pytest.importorskip('mmseg')
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mmseg::_base_/models/upernet_swin.py'\n")
    assert Config.fromfile(path).model.decode_head.type == 'UPerHead'


def test_a_sharded_optimizer_gets_each_argument_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, optimizer, saved, shards = object(), object(), {'saved': 1}, {'shards': 1}
    expected = dict(model=model, optim=optimizer, optim_state_dict=saved)

    def to_load(**arguments: Any) -> dict:
        assert arguments == expected
        return shards

    loaded: list[dict] = []
    monkeypatch.setattr(FullyShardedDataParallel, 'optim_state_dict_to_load', to_load)
    wrapper = SimpleNamespace(optimizer=optimizer, load_state_dict=loaded.append)
    strategy = SimpleNamespace(model=model, optim_wrapper=wrapper)
    FSDPStrategy.load_optim_state_dict(strategy, saved)
    assert loaded == [shards]


def test_checkpointing_trains_a_block_whose_input_needs_no_gradient() -> None:
    """As adapters in the first blocks of a frozen trunk; the reentrant kind leaves them alone."""
    stock = torch.utils.checkpoint.checkpoint
    layer = nn.Linear(2, 2)
    with non_reentrant_checkpoints():
        torch.utils.checkpoint.checkpoint(layer, torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    assert torch.utils.checkpoint.checkpoint is stock


def test_stock_checkpointing_is_back_after_an_error() -> None:
    stock = torch.utils.checkpoint.checkpoint
    with pytest.raises(KeyError), non_reentrant_checkpoints():
        raise KeyError
    assert torch.utils.checkpoint.checkpoint is stock
