"""Ways in which OpenMMLab and PyTorch quietly undo what a wrapper did."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from nets import ADAPTERS, ONE_BIT, detector, randomize, segmentor, trained
from torch import nn

from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.quant import quantized_weights

Factory = Callable[..., dict]
EVERY_ADAPTER = pytest.mark.parametrize('adapter', ADAPTERS)
GROUPS = dict(custom_keys={'backbone.adapters': dict(lr_mult=0.5)})


def tuned(backbone: dict, adapter: str = 'adaptformer', quantizer: dict | None = None) -> dict:
    return dict(
        type='mmqadapter.AdaptedBackbone',
        backbone=backbone,
        adapter=ADAPTERS[adapter],
        quantizer=quantizer,
    )


def same_state(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@EVERY_ADAPTER
def test_second_init_weights_is_harmless(rotating_backbone: Factory, adapter: str) -> None:
    """Swin and ViT initialise every linear layer below them, however often they are asked."""
    wrapped = trained(rotating_backbone(), adapter)
    state = deepcopy(wrapped.state_dict())
    wrapped.init_weights()
    assert same_state(wrapped, state)


@pytest.mark.parametrize('parent', [segmentor, detector])
def test_init_weights_of_the_model_is_harmless(
    layout_backbone: Factory, parent: Callable[[dict], nn.Module]
) -> None:
    model = parent(tuned(layout_backbone()))
    state = deepcopy(model.backbone.state_dict())
    model.init_weights()
    model.init_weights()
    assert same_state(model.backbone, state)
    assert not any(p.requires_grad for p in model.backbone.trunk.parameters())


def test_trunk_keeps_its_own_initialisation(tiny_mmdet_swin: Factory) -> None:
    """Layers of a random trunk are initialised by the net itself, not by PyTorch's defaults."""
    trunk = AdaptedBackbone(tiny_mmdet_swin(embed_dims=64), ADAPTERS['lora']).trunk
    assert trunk.stages[1].blocks[0].ffn.layers[1].weight.std() == pytest.approx(0.02, rel=0.05)


@EVERY_ADAPTER
def test_quantizers_come_after_initialisation(tiny_timm_vit: Factory, adapter: str) -> None:
    """Written into a parametrised weight, an initialisation would be lost."""
    wrapped = AdaptedBackbone(tiny_timm_vit(), ADAPTERS[adapter], ONE_BIT)
    for name, quantizer, latent in quantized_weights(wrapped.adapters):
        up = 'up' in name
        assert (latent.abs().max() <= 2e-3) == up
        assert quantizer(latent).unique().numel() == 2


def test_parametrized_net_is_copied_with_its_weights(tiny_timm_vit: Factory) -> None:
    wrapped = trained(tiny_timm_vit(), quantizer=ONE_BIT).eval()
    copy = deepcopy(wrapped)
    assert same_state(copy, wrapped.state_dict())
    assert torch.equal(copy(torch.ones(1, 3, 64, 64))[-1], wrapped(torch.ones(1, 3, 64, 64))[-1])


@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
@pytest.mark.parametrize('constructor', ['Default', 'mmqadapter.Trainable'])
def test_optimiser_gets_what_trains(
    rotating_backbone: Factory, constructor: str, quantizer: dict | None
) -> None:
    model = segmentor(tuned(rotating_backbone(), quantizer=quantizer))
    groups = optimiser_groups(model, constructor, paramwise_cfg=GROUPS)
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    adapters = {id(p) for p in model.backbone.adapters.parameters()}
    assert set(rates) == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(rate == (0.5 if key in adapters else 1.0) for key, rate in rates.items())


@pytest.mark.parametrize('constructor', ['Default', 'mmqadapter.Trainable'])
def test_optimiser_gets_what_trains_without_settings_too(
    layout_backbone: Factory, constructor: str
) -> None:
    """mmengine's own constructor would hand over the frozen weights here."""
    model = segmentor(tuned(layout_backbone()))
    trains = {id(p) for p in model.parameters() if p.requires_grad}
    groups = optimiser_groups(model, constructor)
    assert {id(p) for group in groups for p in group['params']} == trains


def optimiser_groups(model: nn.Module, constructor: str, **kwargs: dict) -> list[dict]:
    cfg = dict(constructor=f'{constructor}OptimWrapperConstructor', **kwargs)
    return build_optim_wrapper(
        model, dict(cfg, optimizer=dict(type='AdamW', lr=1.0))
    ).optimizer.param_groups


def test_step_moves_adapters_and_nothing_else(layout_backbone: Factory) -> None:
    model = segmentor(tuned(layout_backbone()))
    randomize(model.backbone.adapters)
    before = deepcopy(model.backbone.state_dict())
    optimiser = build_optim_wrapper(
        model,
        dict(
            constructor='mmqadapter.TrainableOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5),
        ),
    )
    maps = model.backbone(torch.randn(2, 3, 64, 64))
    optimiser.update_params(sum(m.square().sum() for m in maps))
    moved = {k for k, v in model.backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(key.startswith('adapters.') for key in moved)
