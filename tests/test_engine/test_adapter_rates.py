"""Adapters train as a head does, and all else as in the plain model, whatever the config says."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from peer_models import WRAPPERS, Peer, peer, rates, shipped, split
from torch import nn

from mmqadapter.engine import zero_rates
from mmqadapter.engine.compat import train_adapters_as_new
from mmqadapter.utils.tuned_backbone import TunedBackbone

CONFIGS = [
    ('mmdet', 'mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'),
    ('mmdet', 'dino/dino-5scale_swin-l_8xb2-12e_coco.py'),
    ('mmdet', 'mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_sft_coco.py'),
    ('mmdet', 'swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py'),
    ('mmdet', 'mask2former_vis/mask2former_swin-l-p4-w12-384-in21k_8xb2-8e_youtubevis2021.py'),
    ('mmseg', 'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'),
    ('mmseg', 'mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py'),
    ('mmseg', 'vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py'),
    ('mmseg', 'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py'),
    ('mmseg', 'san/san-vit-b16_coco-stuff164k-640x640.py'),
]
FROZEN = ('mmdet', 'mm_grounding_dino/grounding_dino_swin-t_finetune_8xb4_20e_cat.py')
LAYER_DECAY = ('mmseg', 'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py')
ALL = dict(type='mmqadapter.FrozenBackbone', train=['.'])
KEYS_OF_TRUNKS = [
    'backbone', 'backbone.stages.0', 'backbone.blocks', 'stages', 'blocks', 'norm', 'attn',
    'weight', 'absolute_pos_embed', 'bone', '', 'trunk', 'backbone.trunk', 'trunk.stages',
]  # fmt: skip


def settings(constructor: str | None = None, **paramwise: Any) -> dict:
    cfg = dict(optimizer=dict(type='AdamW', lr=0.5, weight_decay=0.25), paramwise_cfg=paramwise)
    return cfg if constructor is None else dict(cfg, constructor=constructor)


def backbone_for(name: str) -> str:
    return 'mmseg_vit' if 'vit' in name else 'mmdet_swin'


@pytest.mark.parametrize(('package', 'name'), CONFIGS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_shipped_configs(package: str, name: str, wrapper: str) -> None:
    pytest.importorskip(package)
    cfg, backbone = shipped(package, name), backbone_for(name)
    bare = rates(peer(backbone), cfg)
    adapters, others = split(rates(peer(backbone, WRAPPERS[wrapper]), cfg))
    assert others == {n: rate for n, rate in bare.items() if not n.startswith('backbone')}
    optimizer = cfg['optimizer']
    assert adapters and {rate for rate, _ in adapters.values()} == {optimizer['lr']}
    assert {d for n, (_, d) in adapters.items() if not is_norm(n)} == {optimizer['weight_decay']}


@pytest.mark.parametrize(('package', 'name'), CONFIGS)
def test_what_trains_in_a_trunk_keeps_the_rates_of_the_bare_model(package: str, name: str) -> None:
    pytest.importorskip(package)
    cfg, backbone = shipped(package, name), backbone_for(name)
    bare = rates(peer(backbone), cfg)
    assert split(rates(peer(backbone, ALL), cfg)) == ({}, bare)
    norms = split(rates(peer(backbone, dict(ALL, train='norm')), cfg))[1]
    assert norms.items() <= bare.items() and any('backbone' in name for name in norms)


def is_norm(name: str) -> bool:
    return not {'norm', 'norms'}.isdisjoint(name.split('.'))


@pytest.mark.parametrize('key', KEYS_OF_TRUNKS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_keys_of_the_backbone_leave_adapters_alone(key: str, wrapper: str) -> None:
    cfg = settings(custom_keys={key: dict(lr_mult=0.1, decay_mult=3.0)})
    adapters, _ = split(rates(peer('mmdet_swin', WRAPPERS[wrapper]), cfg))
    assert {rate for rate, _ in adapters.values()} == {0.5}
    assert {decay for name, (_, decay) in adapters.items() if not is_norm(name)} == {0.25}


@pytest.mark.parametrize(
    'key', ['adapters', 'backbone.adapters', '.adapters.', 'adapters.highway', 'highway', 'stem']
)
def test_keys_of_adapters_count(key: str) -> None:
    cfg = settings(custom_keys={key: dict(lr_mult=2.0), 'backbone': dict(lr_mult=0.1)})
    found = rates(peer('mmdet_swin', WRAPPERS['highway']), cfg)
    adapters, _ = split(found)
    assert all(rate == (1.0 if key in name else 0.5) for name, (rate, _) in adapters.items())
    assert any(key in name for name in adapters)


@pytest.mark.parametrize('key', ['trunk', 'backbone.trunk', 'backbone'])
def test_keys_of_the_trunk_count(key: str) -> None:
    cfg = settings(custom_keys={key: dict(lr_mult=0.1), f'{key}.norm': dict(decay_mult=0.0)})
    found = rates(peer('mmdet_swin', ALL), cfg)
    assert found['backbone.trunk.patch_embed.projection.weight'] == (0.05, 0.25)
    assert found['backbone.trunk.norm1.weight'] == (0.5, 0.0)
    assert found['neck.0.weight'] == (0.5, 0.25)


def test_the_longer_of_two_keys_of_the_trunk_counts() -> None:
    keys = {'backbone.trunk': dict(lr_mult=0.2), 'backbone': dict(lr_mult=0.1)}
    found = rates(peer('mmdet_swin', ALL), settings(custom_keys=keys))
    assert {rate for name, (rate, _) in found.items() if 'trunk' in name} == {0.1}
    keys = {'trunk': dict(lr_mult=0.4), 'backbone': dict(lr_mult=0.1)}
    found = rates(peer('mmdet_swin', ALL), settings(custom_keys=keys))
    assert {rate for name, (rate, _) in found.items() if 'trunk' in name} == {0.05}


@pytest.mark.parametrize(
    'paramwise', [dict(norm_decay_mult=0.0), dict(custom_keys={'norm': dict(decay_mult=0.0)})]
)
def test_norms_of_adapters_are_decayed_as_those_of_a_head(paramwise: dict) -> None:
    found = rates(peer('mmdet_swin', WRAPPERS['highway']), settings(**paramwise))
    norms = {name: decay for name, (_, decay) in found.items() if '.norms.' in name}
    assert set(norms.values()) == {0.0} and found['decode_head.norm.weight'] == (0.5, 0.0)
    assert {d for n, (_, d) in found.items() if '.stem.' in n and n.endswith('weight')} == {0.25}


def test_biases_of_adapters_are_decayed_as_those_of_a_head() -> None:
    wrapper = dict(WRAPPERS['adapters'], adapter=dict(type='AdaptFormer', width=4, bias=True))
    for paramwise in (dict(bias_decay_mult=0.0), dict(custom_keys={'bias': dict(decay_mult=0.0)})):
        adapters, _ = split(rates(peer('mmdet_swin', wrapper), settings(**paramwise)))
        biases = {name for name in adapters if name.endswith('bias')}
        assert biases and all(d == (0.25, 0.0)[n in biases] for n, (_, d) in adapters.items())


@pytest.mark.parametrize(
    'constructor',
    [
        None,
        'DefaultOptimWrapperConstructor',
        'mmqadapter.TrainableOptimWrapperConstructor',
        'mmseg.ForceDefaultOptimWrapperConstructor',
    ],
)
@pytest.mark.parametrize('paramwise', [{}, dict(custom_keys={'backbone': dict(lr_mult=0.1)})])
def test_any_constructor(constructor: str | None, paramwise: dict) -> None:
    if constructor and constructor.startswith('mmseg'):
        pytest.importorskip('mmseg')
    model = peer('mmdet_swin', WRAPPERS['highway'])
    found = rates(model, settings(constructor, **paramwise))
    assert found.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(found.values()) == {(0.5, 0.25)}


@pytest.mark.parametrize('path', ['image_encoder', 'detector.backbone'])
def test_a_backbone_by_another_name(path: str) -> None:
    inner = peer('mmdet_swin', WRAPPERS['highway'])
    model = nn.Module()
    if path == 'image_encoder':
        model.image_encoder, model.head = inner.backbone, inner.decode_head
    else:
        model.detector = inner
    cfg = settings(custom_keys={path: dict(lr_mult=0.1), 'adapters.highway': dict(lr_mult=2.0)})
    found = rates(model, cfg)
    adapters, _ = split(found)
    assert all(r == (1.0 if '.highway.' in name else 0.5) for name, (r, _) in adapters.items())
    assert {name for name in found if name.startswith(path)} == set(adapters)


def test_the_model_comes_back_as_it_was() -> None:
    model = peer('mmdet_swin', WRAPPERS['highway'])
    model.adapters = nn.Linear(2, 2)  # a part of the name that the view would take
    children, names = list(model._modules), list(model.state_dict())
    found = rates(model, settings(custom_keys={'neck': dict(lr_mult=0.1)}))
    assert found['adapters.weight'] == (0.5, 0.25)
    with pytest.raises(ValueError, match='learning rate'):
        rates(model, settings(custom_keys={'adapters': dict(lr_mult=0.0)}))
    assert children == list(model._modules) and names == list(model.state_dict())
    assert isinstance(model.backbone, TunedBackbone)


def test_a_shared_part_is_in_one_group_once() -> None:
    model = peer('mmdet_swin', WRAPPERS['lora'])
    model.second_head = model.decode_head
    assert rates(model, settings(custom_keys={'second_head': dict(lr_mult=0.1)}))


def test_a_model_without_wrapper_is_left_alone() -> None:
    model = peer('mmdet_swin')
    groups = build_optim_wrapper(model, settings(norm_decay_mult=0.0)).optimizer.param_groups
    assert len(groups) == len(list(model.parameters()))
    train_adapters_as_new()
    assert not hasattr(DefaultOptimWrapperConstructor.__call__.__wrapped__, '__wrapped__')


class MAE(nn.Module):
    """A trunk with the names and the class name that mmseg's layer decay asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Linear(2, 2)
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(12))

    def get_layer_depth(self, name: str, prefix: str) -> tuple[int, int]:
        """Layer of a parameter and number of layers, as backbones of mmpretrain tell."""
        assert name.startswith(prefix) and 'adapters' not in name
        return (0, 13) if 'patch' in name else (int(name.split('.')[2]) + 1, 13)


class WrappedMAE(TunedBackbone):
    """An ``MAE`` whose last layer and patch embedding train, beside an adapter."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = MAE()
        self.trunk.layers[:-1].requires_grad_(False)
        self.adapters = nn.ModuleDict({'layers_0': nn.Linear(2, 2)})


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class DepthDecay(DefaultOptimWrapperConstructor):
    """Layer decay as mmpretrain has it: the backbone tells the depth of its parameters."""

    def add_params(
        self, params: list, module: nn.Module, prefix: str = '', get_layer_depth: Any = None
    ) -> None:
        get_layer_depth = getattr(module, 'get_layer_depth', get_layer_depth)
        path = prefix if hasattr(module, 'get_layer_depth') else 'backbone'
        for name, parameter in module.named_parameters(recurse=False):
            depth, last = 0, 0
            if get_layer_depth is not None:
                depth, last = get_layer_depth(f'{prefix}.{name}', path)
            params.append({'params': [parameter], 'lr': self.base_lr * 0.5 ** (last - depth)})
        for name, child in module.named_children():
            self.add_params(params, child, f'{prefix}.{name}'.lstrip('.'), get_layer_depth)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class NameDecay(DefaultOptimWrapperConstructor):
    """Layer decay that reads names below ``backbone``, and takes no other argument."""

    def add_params(self, params: list, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            depth = 13
            if name.startswith('backbone'):
                depth = 0 if 'patch_embed' in name else int(name.split('.')[2]) + 1
            rate = self.base_lr * 0.5 ** (13 - depth)
            params.append({'params': [parameter], 'lr': rate})


def decaying(constructor: str) -> dict:
    if constructor == 'mmseg':
        pytest.importorskip('mmseg.engine.optimizers')
        return dict(shipped(*LAYER_DECAY), constructor='mmseg.LayerDecayOptimizerConstructor')
    return settings(constructor, num_layers=12)


@pytest.mark.parametrize('constructor', ['mmseg', 'DepthDecay', 'NameDecay'])
def test_layer_decay(constructor: str) -> None:
    bare = rates(Peer(MAE()), decaying(constructor))
    adapters, others = split(rates(Peer(WrappedMAE()), decaying(constructor)))
    base = decaying(constructor)['optimizer']
    assert adapters == {
        'backbone.adapters.layers_0.weight': (base['lr'], base['weight_decay']),
        'backbone.adapters.layers_0.bias': (base['lr'], bare['neck.0.bias'][1]),
    }
    assert bare['backbone.patch_embed.weight'][0] < base['lr'] / 100
    assert others == {n: r for n, r in bare.items() if n in others}
    assert bare.keys() - others.keys() == {
        f'backbone.layers.{layer}.{kind}' for layer in range(11) for kind in ('weight', 'bias')
    }


def test_a_peer_that_freezes_its_backbone_by_a_rate_of_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('mmdet')
    logged: list[tuple] = []
    monkeypatch.setattr(zero_rates, 'print_log', lambda *args: logged.append(args))
    found = rates(peer('mmdet_swin', WRAPPERS['lora']), shipped(*FROZEN))
    assert {rate for name, (rate, _) in found.items() if 'backbone' in name} == {1e-4}
    assert found['language_model.weight'][0] == 0.0
    text = (
        "custom_keys['language_model'] sets the learning rate of 'language_model.weight' to 0 "
        '(tensors in all: 2): it does not train.'
    )
    assert logged == [(text, 'current', logging.WARNING)]


@pytest.mark.parametrize(
    ('paramwise', 'wrapper', 'message'),
    [
        (dict(custom_keys={'adapters': dict(lr_mult=0.0)}), WRAPPERS['lora'],
         r"custom_keys\['adapters'\] sets .*'backbone\.adapters\.stages_0.* to 0, .*above 0"),
        (dict(custom_keys={'backbone': dict(lr_mult=0.0)}), dict(ALL, train='norm'),
         r"custom_keys\['backbone'\] sets .*'backbone\.trunk\.patch_embed\.norm\.weight' to 0"),
        (dict(custom_keys={'backbone.trunk': dict(lr_mult=0.0)}), ALL,
         r"custom_keys\['backbone\.trunk'\] sets .*'backbone\.trunk\.patch_embed"),
        (dict(bias_lr_mult=0.0), dict(ALL, train='bitfit'),
         r"paramwise_cfg sets .*'backbone\.trunk\..*bias' to 0"),
    ],
)  # fmt: skip
def test_a_rate_of_0_for_what_is_selected_to_train(
    paramwise: dict, wrapper: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rates(peer('mmdet_swin', wrapper), settings(**paramwise))


def test_a_rate_of_0_for_all_is_a_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple] = []
    monkeypatch.setattr(zero_rates, 'print_log', lambda *args: logged.append(args))
    model = peer('mmdet_swin', WRAPPERS['lora'])
    cfg = settings(custom_keys={'backbone': dict(lr_mult=0.0)})
    found = rates(model, {**cfg, 'optimizer': dict(cfg['optimizer'], lr=0.0)})
    assert {rate for rate, _ in found.values()} == {0.0}
    ((text, *_),) = logged
    assert text.startswith("optimizer.lr=0 sets the learning rate of 'backbone.adapters.")
    assert f'(tensors in all: {len(found)})' in text


def test_an_optimizer_without_rate() -> None:
    wrapper = build_optim_wrapper(
        peer('mmdet_swin', WRAPPERS['lora']), dict(optimizer=dict(type='Adadelta'))
    )
    assert isinstance(wrapper.optimizer, torch.optim.Adadelta)
