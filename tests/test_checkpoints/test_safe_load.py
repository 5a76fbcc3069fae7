"""A checkpoint of a stranger runs nothing, whichever way it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, load_checkpoint
from tiny_runs import SWIN
from torch import nn

from mmqadapter.backbones.pretrained import build_timm, load_weight_file
from mmqadapter.checkpoints.safe_load import FORCE, read_pickle
from mmqadapter.engine.compat import TRUST, guard_mmengine


class Runs:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return Path.touch, (self.proof,)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """A file that is there once the code of the checkpoint has run."""
    return tmp_path / 'proof'


@pytest.fixture
def hostile(tmp_path: Path, proof: Path) -> str:
    path = tmp_path / 'hostile.pth'
    torch.save({'state_dict': {'weight': torch.ones(2, 2)}, 'meta': Runs(proof)}, path)
    return str(path)


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
    'our own reader': read_pickle,
    'load_from, resume': lambda path: load_checkpoint(nn.Linear(2, 2), path),
    'mmengine': lambda path: CheckpointLoader.load_checkpoint(path, map_location='cpu'),
    'init_cfg': pretrained,
}


@pytest.mark.parametrize('way', READERS)
def test_nothing_is_run_and_the_error_says_how_to_decide(
    hostile: str, proof: Path, way: str
) -> None:
    with pytest.raises(ValueError, match=r"hostile.pth' .*may run code.*know who wrote it: (--|M)"):
        READERS[way](hostile)
    assert not proof.exists()


def test_timm_runs_nothing_either(hostile: str, proof: Path) -> None:
    net = build_timm('vit_tiny_patch16_224', img_size=32, embed_dim=16, depth=1, num_heads=2)
    with pytest.raises(ValueError, match='hold objects other than tensors'):
        load_weight_file(net, hostile)
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


def test_the_guard_is_put_up_once_and_leaves_no_trace(hostile: str) -> None:
    import os

    loader = CheckpointLoader.load_checkpoint.__func__
    guard_mmengine()
    assert CheckpointLoader.load_checkpoint.__func__ is loader
    with pytest.raises(ValueError):
        load_checkpoint(nn.Linear(2, 2), hostile)
    assert FORCE not in os.environ
