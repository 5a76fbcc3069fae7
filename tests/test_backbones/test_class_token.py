"""``TimmBackbone(out_type='cls_token')`` gives what timm's classifiers read."""

from __future__ import annotations

import pytest
import torch
from nets import bare, equal, images, trained, wrap
from tiny_backbones import tiny_config

from mmqadapter.backbones import FrozenBackbone, TimmBackbone


@pytest.mark.parametrize('name', ['timm_vit', 'dinov2', 'dinov3', 'timm_beit'])
@torch.no_grad()
def test_is_the_class_token_of_timm(name: str) -> None:
    cfg = tiny_config(name, out_type='cls_token', out_indices=(1,))
    net = bare(cfg)
    (token,) = net(images(56, 56) if name == 'dinov2' else images())
    expected = net.model.forward_features(images(56, 56) if name == 'dinov2' else images())
    if cfg.get('depth') == 2:  # otherwise the last block is cut off
        assert torch.equal(token, expected[:, 0])
    assert token.shape == (2, 16)


def test_adapters_in_path_start_equal_and_change_it() -> None:
    cfg = tiny_config('timm_vit', out_type='cls_token')
    assert equal(wrap(cfg, 'sequential')(images()), bare(cfg)(images()))
    assert not equal(trained(cfg, 'sequential')(images()), bare(cfg)(images()))


@pytest.mark.parametrize(
    ('name', 'changes', 'match'),
    [
        ('timm_swin', dict(out_type='cls_token'), 'has no class token: use .featmap.'),
        ('timm_pit', dict(out_type='cls_token'), 'class token timm does not return with its maps'),
        ('timm_vit', dict(out_type='cls_token', class_token=False, global_pool='avg'), 'no class'),
        ('timm_vit', dict(out_type='token'), "out_type='token' is invalid: expected one of"),
    ],
)
def test_no_class_token(name: str, changes: dict, match: str) -> None:
    cfg = {key: value for key, value in tiny_config(name, **changes).items() if key != 'type'}
    with pytest.raises(ValueError, match=match):
        TimmBackbone(**cfg)


def test_a_net_of_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmqadapter.backbones.frozen.find_spec', lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'mmqadapter\[cls\]'"):
        FrozenBackbone(dict(type='mmpretrain.NoSuchNet'))
