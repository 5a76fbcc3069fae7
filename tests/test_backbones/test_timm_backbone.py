"""TimmBackbone: maps at any size, weights from files, nothing left without a gradient."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from mmengine.model import BaseModule
from PIL import Image
from safetensors.torch import save_file
from tiny_backbones import TINY, tiny_config

from mmqadapter.backbones.timm_backbone import TimmBackbone
from mmqadapter.registry import MODELS

VIT = dict(model_name='vit_tiny_patch16_224', embed_dim=24, depth=3, num_heads=3)
DINO = dict(model_name='vit_small_patch14_reg4_dinov2', embed_dim=24, depth=2, num_heads=3)
SWIN = dict(
    model_name='swin_tiny_patch4_window7_224',
    embed_dim=16,
    depths=(1, 1, 1, 2),
    num_heads=(1, 1, 1, 1),
    window_size=4,
)
NETS = pytest.mark.parametrize('cfg', [VIT, DINO, SWIN], ids=['vit', 'dinov2', 'swin'])
# (image size, grid of ViT/16, grid of ViT/14, grids of the Swin stages)
SIZES = [
    ((224, 224), (14, 14), (16, 16), [(56, 56), (28, 28), (14, 14), (7, 7)]),
    ((240, 320), (15, 20), (18, 23), [(60, 80), (30, 40), (15, 20), (8, 10)]),
    ((70, 93), (5, 6), (5, 7), [(18, 24), (9, 12), (5, 6), (3, 3)]),
]


def build(cfg: dict, **kwargs: Any) -> TimmBackbone:
    """Build a small backbone with the same random weights each time."""
    torch.manual_seed(0)
    return TimmBackbone(**{**cfg, **kwargs})


def plain(cfg: dict, **kwargs: Any) -> torch.nn.Module:
    """timm's own net of the same shape, with a head of five classes."""
    return timm.create_model(**{**cfg, **kwargs}, num_classes=5).eval()


def grid(maps: tuple[torch.Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(m.shape[2:]) for m in maps]


def summed(maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    # Weighted, since the plain sum of a normalised map does not depend on the input.
    return sum((m * torch.linspace(0, 1, m[0].numel()).view_as(m[0])).sum() for m in maps)


def test_shapes_one_size_after_another() -> None:
    vit, dino, swin = build(VIT, out_indices=(0, 2)), build(DINO), build(SWIN)
    for size, grid16, grid14, stages in SIZES:
        image = torch.randn(2, 3, *size)
        assert grid(vit(image)) == [grid16, grid16]
        assert grid(dino(image)) == [grid14]
        assert grid(swin(image)) == stages
    assert [m.shape[1] for m in swin(image)] == [16, 32, 64, 128]
    assert [net.num_prefix_tokens for net in (vit, dino, swin)] == [1, 5, 0]


@pytest.mark.parametrize(('cfg', 'bottom'), [(VIT, 10), (SWIN, 2)], ids=['vit', 'swin'])
def test_padding_is_zeros_bottom_right(cfg: dict, bottom: int) -> None:
    net, image = build(cfg).eval(), torch.randn(1, 3, 70, 93)
    padded = torch.nn.functional.pad(image, (0, 3, 0, bottom))
    assert all(torch.equal(a, b) for a, b in zip(net(image), net(padded), strict=True))


def test_builds_from_config_under_another_scope() -> None:
    net = MODELS.build(dict(type='mmqadapter.TimmBackbone', **VIT))
    assert isinstance(net, TimmBackbone)
    assert not net.pretrained_loaded


@NETS
def test_last_map_is_timm_forward_features(cfg: dict, tmp_path: Path) -> None:
    reference, image = plain(cfg, img_size=224), torch.randn(2, 3, 224, 224)
    save_file(reference.state_dict(), tmp_path / 'w.safetensors')
    net = build(cfg, checkpoint=str(tmp_path / 'w.safetensors'), img_size=224).eval()
    expected = reference.forward_features(image)
    expected = expected.flatten(1, 2) if cfg is SWIN else expected[:, net.num_prefix_tokens :]
    assert torch.equal(net(image)[-1].flatten(2).transpose(1, 2), expected)


@pytest.mark.parametrize(
    ('cfg', 'out_indices'), [(VIT, None), (VIT, (0, 1)), (DINO, None), (SWIN, None), (SWIN, (0, 2))]
)
def test_no_trainable_parameter_without_gradient(cfg: dict, out_indices: tuple | None) -> None:
    net = build(cfg, out_indices=out_indices)
    summed(net(torch.randn(2, 3, 70, 93))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_blocks_after_the_last_map_are_gone() -> None:
    keys = build(VIT, out_indices=[1]).state_dict()
    assert {key.split('.')[2] for key in keys if '.blocks.' in key} == {'0', '1'}
    assert all(key.startswith('model.') and 'head' not in key for key in keys)
    assert len(build(SWIN, out_indices=(0, -2)).model.layers) == 3


@NETS
def test_with_cp_gives_equal_gradients(cfg: dict) -> None:
    image = torch.randn(2, 3, 70, 93)
    grads = []
    for with_cp in (False, True):
        net = build(cfg, with_cp=with_cp)
        summed(net(image)).backward()
        grads.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@NETS
def test_deepcopy_is_independent(cfg: dict) -> None:
    net = build(cfg).eval()
    twin, image = copy.deepcopy(net), torch.randn(1, 3, 64, 64)
    before = net(image)[-1]
    torch.nn.init.zeros_(twin.model.patch_embed.proj.weight)
    assert torch.equal(net(image)[-1], before)
    assert not torch.equal(twin(image)[-1], before)


def test_init_weights_changes_nothing_and_train_returns_self() -> None:
    net = build(VIT)
    before = copy.deepcopy(net.state_dict())
    parent = BaseModule()
    parent.backbone = net
    parent.init_weights()
    net.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert net.train() is net
    assert net.eval() is net


@pytest.mark.parametrize(
    ('wrong', 'match'),
    [
        (dict(model_name='vit_tinny_patch16_224'), 'vit_tinny.*vit_tiny_patch16_224'),
        (dict(model_name='vit_tiny_patch16_224.none'), 'none'),
        (dict(model_name='swin_tiny'), 'does not know it; similar names: swin_tiny_patch4_window7'),
        (dict(model_name='dinov2'), r'similar names: (vit_\w+_dinov2, ){2}vit_\w+_dinov2\.$'),
        (dict(model_name='densenet121'), 'densenet.*timm builds DenseNet, which is not supported'),
        (
            dict(model_name='efficientnet_b0'),
            r"^model_name='efficientnet_b0' is invalid: timm builds EfficientNet, which is not "
            r'supported; similar names that are: [a-z]\w+, \w+, \w+\. '
            'The docs page "Adding a backbone" shows how to add one.$',
        ),
        (dict(model_name='hiera_tiny_224'), r'timm\.models\.hiera, which is not supported'),
        (dict(model_name='nest_tiny'), 'timm builds Nest, which is not supported; .*_tiny'),
        (dict(model_name=3), 'model_name=3 is invalid: expected the name of a timm model'),
        (dict(depht=3), 'depht'),
        (dict(out_indices=(3,)), 'from 0 to 2'),
        (dict(out_indices=(2, 1)), 'ascending'),
        (dict(out_indices=()), 'ascending'),
        (dict(init_cfg=dict(type='Pretrained')), 'init_cfg=.*expected one source of weights'),
        (dict(checkpoint='a.pth', pretrained=True), 'expected one source of weights'),
    ],
)
def test_wrong_arguments(wrong: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build({**VIT, **wrong})


def test_nets_that_cannot_recompute() -> None:
    with pytest.raises(ValueError, match='with_cp=True is invalid: Twins of timm cannot'):
        MODELS.build(tiny_config('timm_twins', with_cp=True))


def test_refused_nets_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('timm.create_model', pytest.fail)
    with pytest.raises(ValueError, match='timm builds EfficientNet'):
        TimmBackbone('efficientnet_b0', pretrained=True)


def test_advice_on_weights_where_weights_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"with .*'depht': 3\} is invalid: .*\)\.$"):
        build({**VIT, 'depht': 3})
    with pytest.raises(ValueError, match='without a network give checkpoint=<file> instead'):
        build({**VIT, 'depht': 3}, pretrained=True)


def test_models_that_a_user_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a return annotation the net is built, and judged then."""
    net = timm.create_model('mobilenetv3_small_050')
    monkeypatch.setattr('timm.is_model', lambda name: True)
    monkeypatch.setattr('timm.model_entrypoint', lambda name: lambda **kwargs: net)
    monkeypatch.setattr('timm.create_model', lambda name, **kwargs: net)
    with pytest.raises(ValueError, match='timm builds MobileNetV3, which is not supported'):
        TimmBackbone('mine')


def test_real_weights_on_a_real_image(real_data: Path) -> None:
    path = real_data / 'weights' / 'vit_tiny_patch16_224.safetensors'
    name = 'vit_tiny_patch16_224'
    net = TimmBackbone(name, checkpoint=str(path), out_indices=(2, 5, 8, 11)).eval()
    reference = timm.create_model(name, checkpoint_path=str(path)).eval()
    photo = Image.open(next((real_data / 'camvid' / 'images' / 'val').iterdir())).convert('RGB')
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        assert all(torch.isfinite(m).all() for m in net(image))
        crop = image[..., :224, :224].contiguous()
        tokens = reference.forward_features(crop)
        assert torch.equal(net(crop)[-1].flatten(2).transpose(1, 2), tokens[:, 1:])
        assert torch.isfinite(reference.forward_head(tokens)).all()


@pytest.mark.parametrize('name', [name for name in TINY if 'model_name' in TINY[name]])
@torch.no_grad()
def test_last_map_is_what_timm_computes(name: str) -> None:
    torch.manual_seed(0)
    net, image = MODELS.build(tiny_config(name)).eval(), torch.randn(2, 3, 64, 64)
    last, features = net(image)[-1], net.model.forward_features(image)
    if features.ndim == 3:  # tokens, behind class and register tokens
        features = features[:, -last[0, 0].numel() :].transpose(1, 2).unflatten(2, last.shape[2:])
    elif features.shape != last.shape:
        features = features.permute(0, 3, 1, 2)
    assert torch.equal(last, features)
