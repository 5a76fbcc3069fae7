"""What `train=` of FrozenBackbone trains; published counts are in test_rival_counts.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from nets import backward
from torch import nn

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.select import find_blocks

Factory = Callable[..., dict]
# Stages behind the last map, in the one tiny net that computes them.
BEHIND = re.compile(r'layers\.[23]\.[012]\b')


def trained_names(backbone: dict, train: Any) -> list[str]:
    net = FrozenBackbone(backbone, train=train)
    return [name for name, p in net.trunk.named_parameters() if p.requires_grad]


def test_partial_trains_whole_blocks_at_the_end(layout_backbone: Factory) -> None:
    net = FrozenBackbone(layout_backbone(), train='partial-2')
    blocks = list(find_blocks(net.trunk, net.family).items())[-2:]
    wanted = {f'{name}.{key}' for name, block in blocks for key, _ in block.named_parameters()}
    assert {n for n, p in net.trunk.named_parameters() if p.requires_grad} == wanted


def test_bitfit_trains_biases(layout_backbone: Factory) -> None:
    names = trained_names(layout_backbone(), 'bitfit')
    assert all('bias' in name.split('.')[-1] for name in names)
    biases = [
        n for n, _ in FrozenBackbone(layout_backbone()).trunk.named_parameters() if 'bias' in n
    ]
    fused = ('qkv.bias', 'in_proj_bias', '.q_bias', '.q.bias', '.fc1.bias', '.layers.0.bias')
    wanted = [name for name in biases if name.endswith(fused) and not BEHIND.match(name)]
    assert set(wanted) <= set(names) <= set(biases)
    assert names


def test_norm_trains_norms(layout_backbone: Factory) -> None:
    net = FrozenBackbone(layout_backbone(), train='norm')
    kinds = (nn.LayerNorm, nn.BatchNorm2d)
    modules = net.trunk.named_modules()
    norms = [m for n, m in modules if isinstance(m, kinds) and not BEHIND.match(n)]
    trained = {id(p) for p in net.trunk.parameters() if p.requires_grad}
    assert trained == {id(p) for norm in norms for p in norm.parameters()}


@pytest.mark.parametrize('train', ['partial-1', 'bitfit', 'norm', [r'blocks\.1|layers\.1', 'norm']])
def test_gradients_where_chosen_only(rotating_backbone: Factory, train: Any) -> None:
    net = FrozenBackbone(rotating_backbone(), train=train)
    gradients = backward(net)
    moved = {name for name, gradient in gradients.items() if gradient is not None}
    assert moved == {name for name, p in net.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('train', ['partial-1', 'bitfit', 'norm', 'weight'])
def test_nothing_behind_the_last_map_trains(rotating_backbone: Factory, train: str) -> None:
    """It would get no gradient, which DDP refuses."""
    cfg = rotating_backbone(out_indices=(0,))
    net = FrozenBackbone(cfg, train=train)
    gradients = backward(net)
    idle = [n for n, p in net.named_parameters() if p.requires_grad and gradients[n] is None]
    assert idle == []


def test_choices_add_up(layout_backbone: Factory) -> None:
    names = [trained_names(layout_backbone(), choice) for choice in ('norm', 'bitfit')]
    both = trained_names(layout_backbone(), ['norm', 'bitfit'])
    assert set(both) == {*names[0], *names[1]}
    assert trained_names(layout_backbone(), ()) == []


@pytest.mark.parametrize('train', ['partial-0', 'partial-4', 'partial-99', 'Norm', ['norm', 'x9']])
def test_choice_that_matches_nothing(tiny_timm_vit: Factory, train: Any) -> None:
    wrong = train if isinstance(train, str) else train[-1]
    with pytest.raises(ValueError, match=rf"train='{wrong}'.*'partial-1', 'bitfit', 'norm'"):
        FrozenBackbone(tiny_timm_vit(), train=train)


@pytest.mark.parametrize(
    ('excluded', 'train', 'warns'),
    [(['pos_embed'], (), True), (['pos_embed'], 'pos_embed', False), (['all'], (), False)],
)
def test_what_a_net_would_train_itself_is_frozen_with_a_warning(
    tiny_mmseg_vit: Factory,
    monkeypatch: pytest.MonkeyPatch,
    excluded: list,
    train: Any,
    warns: bool,
) -> None:
    """SAN's image encoder trains its position embedding."""
    logged: list[str] = []
    log = 'mmqadapter.backbones.trainable.print_log'
    monkeypatch.setattr(log, lambda text, **kwargs: logged.append(text))
    names = trained_names(tiny_mmseg_vit(frozen_exclude=excluded), train)
    assert names == ['pos_embed'] if train else names == []
    assert [text[:35] for text in logged] == ["frozen_exclude=['pos_embed'] has no"] * warns
