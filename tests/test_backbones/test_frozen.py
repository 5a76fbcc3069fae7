"""FrozenBackbone: frozen from the start, in eval mode, and plain checkpoints load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from nets import ADAPTERS, bare, detector, equal, images, segmentor, trained, wrap
from torch import nn

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone

Factory = Callable[..., dict]
PARENTS = pytest.mark.parametrize('parent', [segmentor, detector])


def wrapped_config(backbone: dict) -> dict:
    adapter = ADAPTERS['adaptformer']
    return dict(type='mmqadapter.AdaptedBackbone', backbone=backbone, adapter=adapter)


def drop_paths(net: FrozenBackbone) -> list[nn.Module]:
    return [m for m in net.trunk.modules() if type(m).__name__ == 'DropPath']


def test_frozen_and_in_eval_mode_once_built(tiny_backbone: Factory) -> None:
    """DDP and optimisers look at `requires_grad` before anything else happens."""
    for net in (FrozenBackbone(tiny_backbone()), wrap(tiny_backbone())):
        assert not any(p.requires_grad for p in net.trunk.parameters())
        assert all(p.requires_grad for p in net.adapters.parameters())
        assert not any(module.training for module in net.trunk.modules())


def test_train_leaves_the_trunk_in_eval_mode(tiny_backbone: Factory) -> None:
    wrapped = wrap(tiny_backbone())
    for mode in (True, False, True):
        assert wrapped.train(mode) is wrapped
        assert wrapped.training == mode
        assert all(module.training == mode for module in wrapped.adapters.modules())
        assert not any(module.training for module in wrapped.trunk.modules())
    assert wrapped.eval() is wrapped


def test_trunk_drop_path(tiny_backbone: Factory) -> None:
    net = FrozenBackbone(tiny_backbone(drop_path_rate=0.1), trunk_drop_path=True)
    assert drop_paths(net)
    for mode in (False, True):
        net.train(mode)
        active = [m for m in net.trunk.modules() if m.training]
        assert active == (drop_paths(net) if mode else [])


@torch.no_grad()
def test_is_the_bare_net(tiny_backbone: Factory) -> None:
    net, frozen = bare(tiny_backbone()), FrozenBackbone(tiny_backbone())
    frozen.trunk.load_state_dict(net.state_dict())
    assert equal(frozen(images()), net(images()))


@PARENTS
@torch.no_grad()
def test_checkpoint_of_the_plain_model_loads(
    tiny_backbone: Factory, parent: Callable[[dict], nn.Module], tmp_path: Path
) -> None:
    plain, model = parent(tiny_backbone()), parent(wrapped_config(tiny_backbone()))
    plain.backbone.load_state_dict(bare(tiny_backbone()).state_dict())
    plain.requires_grad_(False).eval()
    path = tmp_path / 'plain.pth'
    torch.save({'meta': {}, 'state_dict': plain.state_dict()}, path)
    load_checkpoint(model, str(path))
    model.eval()
    assert equal(model.extract_feat(images()), plain.extract_feat(images()))
    assert model.backbone.pretrained


def test_plain_weights_leave_out_the_adapters_alone(tiny_backbone: Factory) -> None:
    model = segmentor(wrapped_config(tiny_backbone()))
    result = model.load_state_dict(segmentor(tiny_backbone()).state_dict(), strict=False)
    assert result.unexpected_keys == []
    adapters = [key for key in model.state_dict() if key.startswith('backbone.adapters.')]
    assert result.missing_keys == adapters


@torch.no_grad()
def test_checkpoint_without_trunk_keeps_the_trunk(
    tiny_backbone: Factory, capsys: pytest.CaptureFixture
) -> None:
    model, other = (segmentor(wrapped_config(tiny_backbone())) for _ in range(2))
    model.backbone.load_state_dict(trained(tiny_backbone()).state_dict())
    other.backbone.trunk.load_state_dict(model.backbone.trunk.state_dict())
    state = {k: v for k, v in model.state_dict().items() if not k.startswith('backbone.trunk.')}
    assert other.load_state_dict(dict(state), strict=True)
    capsys.readouterr()
    load_state_dict(other, dict(state))  # mmengine's, which reports what does not fit
    assert capsys.readouterr().out == ''
    assert equal(other.eval().extract_feat(images()), model.eval().extract_feat(images()))


@torch.no_grad()
def test_own_checkpoint_with_trunk_loads(tiny_backbone: Factory) -> None:
    first = trained(tiny_backbone()).eval()
    second = AdaptedBackbone(tiny_backbone(), ADAPTERS['adaptformer'])
    second.load_state_dict(first.state_dict(), strict=True)
    assert equal(second.eval()(images()), first(images()))
    assert second.fingerprint == first.fingerprint


def test_checkpoint_with_part_of_the_trunk_is_reported(tiny_backbone: Factory) -> None:
    net = FrozenBackbone(tiny_backbone())
    state = net.state_dict()
    del state[next(iter(state))]
    with pytest.raises(RuntimeError, match='Missing key.*trunk'):
        net.load_state_dict(state, strict=True)
    assert not net.pretrained


@pytest.mark.parametrize('family', ['mmdet_swin', 'mmseg_swin', 'mmseg_vit'])
def test_pretrained_weights_load_when_built(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cfg = request.getfixturevalue(f'tiny_{family}')
    state = bare(cfg()).state_dict()
    prefix = 'backbone.' if family == 'mmdet_swin' else ''  # mmdet reads whole detectors only
    torch.save({'state_dict': {prefix + k: v for k, v in state.items()}}, tmp_path / 'w.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    net = FrozenBackbone(cfg(init_cfg=init_cfg))
    assert all(torch.equal(value, state[key]) for key, value in net.trunk.state_dict().items())
    assert net.pretrained
    assert not FrozenBackbone(cfg()).pretrained


@pytest.mark.parametrize('family', ['timm_vit', 'dinov2', 'timm_swin'])
def test_pretrained_timm_weights_load_when_built(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cfg = request.getfixturevalue(f'tiny_{family}')
    state = bare(cfg()).model.state_dict()
    torch.save({'state_dict': state}, tmp_path / 'w.pth')
    net = FrozenBackbone(cfg(checkpoint=str(tmp_path / 'w.pth')))
    loaded = net.trunk.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    assert net.pretrained
    assert not FrozenBackbone(cfg()).pretrained


def test_fingerprint_is_of_the_frozen_weights(tiny_backbone: Factory) -> None:
    net, retrained = wrap(tiny_backbone()), trained(tiny_backbone())
    assert net.fingerprint == retrained.fingerprint
    state = {key: value + 1 for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    assert net.fingerprint != retrained.fingerprint
