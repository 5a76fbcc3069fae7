"""Each patch of mmengine, mmdet and mmseg does what it is for, once, and no more."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from hostile_checkpoint import hostile, proof
from mmdet.models.layers import coordinate_to_encoding
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.registry import MODELS, Registry
from mmengine.runner import CheckpointLoader, load_checkpoint
from tiny_runs import SWIN
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.checkpoints.safe_load import FORCE
from mmqadapter.engine.compat import (
    GROUNDING_DINO,
    TRUST,
    non_reentrant_checkpoints,
    patch_mmengine,
)

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


def test_the_decoder_of_grounding_dino_runs() -> None:
    """As released: its layer reads 4 values of each of 256 / 2 frequencies."""
    assert MODELS.get('mmdet.GroundingDINO') is not None  # imports mmdet
    layers: Any = sys.modules[GROUNDING_DINO]
    attention, ffn = dict(embed_dims=256, num_heads=4), dict(embed_dims=256, feedforward_channels=8)
    decoder = layers.GroundingDinoTransformerDecoder(
        num_layers=1,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_text_cfg=attention,
            cross_attn_cfg=dict(**attention, num_levels=1),
            ffn_cfg=ffn,
        ),
        post_norm_cfg=None,
        return_intermediate=False,
    )
    head = decoder.ref_point_head
    assert head.layers[0].in_features == 2 * 256
    boxes = torch.rand(2, 3, 4)
    released = coordinate_to_encoding(boxes, num_feats=128)
    assert torch.equal(head(coordinate_to_encoding(boxes, num_feats=256)), head(released))
    query, _ = decoder(
        query=torch.rand(2, 3, 256),
        value=torch.rand(2, 16, 256),
        key_padding_mask=None,
        self_attn_mask=None,
        reference_points=boxes,
        spatial_shapes=torch.tensor([[4, 4]]),
        level_start_index=torch.tensor([0]),
        valid_ratios=torch.ones(2, 1, 2),
        reg_branches=None,
        memory_text=torch.rand(2, 5, 256),
        text_attention_mask=None,
    )
    assert query.shape == (2, 3, 256)


def test_dino_stays_as_its_release_has_it() -> None:
    assert MODELS.get('mmdet.DINO') is not None
    layers: Any = sys.modules[GROUNDING_DINO]
    assert not hasattr(layers.DinoTransformerDecoder._init_layers, '__wrapped__')


def test_lamb_trains_scalars_as_tensors_of_one_value() -> None:
    lamb = pytest.importorskip('mmpretrain.engine.optimizers.lamb').Lamb
    MODELS.get('mmdet.SwinTransformer')  # a registry imports, and patches
    scalar, vector = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor([0.5]))
    for parameter in (scalar, vector):
        optimizer = lamb([parameter], lr=0.1, weight_decay=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (parameter.sum() - 2).square().backward()
            optimizer.step()
    assert scalar.shape == scalar.grad.shape == ()
    assert scalar.item() == vector.item() != 0.5


def test_mmdet_is_patched_once() -> None:
    assert MODELS.get('mmdet.GroundingDINO') is not None
    decoder = sys.modules[GROUNDING_DINO].GroundingDinoTransformerDecoder
    before = Registry.import_from_location, decoder._init_layers
    patch_mmengine()
    MODELS.get('mmdet.GroundingDINO')
    assert (Registry.import_from_location, decoder._init_layers) == before
