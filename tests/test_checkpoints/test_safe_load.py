"""A checkpoint from an untrusted source runs no code when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_checkpoint import hostile, proof

from mmqadapter.backbones.timm_net import build_timm, load_weight_file
from mmqadapter.checkpoints.safe_load import read_pickle

__all__ = ['hostile', 'proof']


def test_our_reader_runs_nothing_and_the_error_says_how_to_decide(
    hostile: str, proof: Path
) -> None:
    with pytest.raises(ValueError, match=r"hostile.pth' .*may run code.*know who wrote it: --"):
        read_pickle(hostile)
    assert not proof.exists()


def test_timm_runs_nothing_either(hostile: str, proof: Path) -> None:
    net = build_timm('vit_tiny_patch16_224', img_size=32, embed_dim=16, depth=1, num_heads=2)
    with pytest.raises(ValueError, match='hold objects other than tensors'):
        load_weight_file(net, hostile)
    assert not proof.exists()
