"""Arguments of another kind than asked for are named, with what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mmqadapter.registry import MODELS

Factory = Callable[..., dict]
LORA = dict(type='LoRA', rank=2)


@pytest.mark.parametrize('wrapper', ['AdaptedBackbone', 'HighwayBackbone'])
@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(adapter='LoRA'), "^adapter='LoRA' is not a config"),
        (dict(adapter=None), '^adapter=None is not a config'),
        (dict(quantizer='GaussianQuantizer'), "quantizer='GaussianQuantizer' is not a config"),
        (dict(quantizer=1), 'quantizer=1 is not a config'),
        (
            dict(backbone='mmdet.SwinTransformer'),
            "backbone='mmdet.SwinTransformer' is not a config",
        ),
        (dict(backbone=None), 'backbone=None is not a config'),
        (dict(trunk=dict(dtype=['int8'])), r"trunk\.dtype=\['int8'\] is invalid: expected one of"),
        (dict(trunk='bfloat16'), "trunk='bfloat16' is invalid: expected a dict with some of"),
        (dict(trunk=dict(fused='fused')), 'trunk=.*fused.* is invalid: expected a dict'),
        (dict(trunk=dict(prepacked=2)), r'trunk\.prepacked=2 is invalid: expected one of \(False'),
        (dict(fast=True), 'fast=True is invalid: a wrapper has no such argument'),
    ],
    ids=str,
)
def test_of_both_wrappers(
    tiny_timm_vit: Factory, wrapper: str, changes: dict[str, Any], text: str
) -> None:
    adapter = LORA if wrapper == 'AdaptedBackbone' else dict(type='ConvAdapter', width=2)
    config = dict(type=wrapper, backbone=tiny_timm_vit(), adapter=adapter)
    with pytest.raises(ValueError, match=text):
        MODELS.build({**config, **changes})


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(blocks=2), "blocks=2 is invalid: expected None, 'last-k', or a regex"),
        (dict(blocks=['last-1']), 'is invalid: expected None'),
    ],
    ids=str,
)
def test_of_adapters_in_path(tiny_timm_vit: Factory, changes: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MODELS.build(
            dict(type='AdaptedBackbone', backbone=tiny_timm_vit(), adapter=LORA, **changes)
        )


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(stem=None), 'stem=None is not a config'),
        (dict(cell=None), 'cell=None is not a config'),
        (dict(inpath_blocks=None), 'inpath_blocks=None is invalid: expected 0'),
        (dict(inpath_blocks=1.5), 'inpath_blocks=1.5 is invalid: expected 0'),
    ],
    ids=str,
)
def test_of_highways(tiny_timm_vit: Factory, changes: dict, text: str) -> None:
    config = dict(
        type='HighwayBackbone',
        backbone=tiny_timm_vit(),
        adapter=dict(type='ConvAdapter', width=2),
    )
    with pytest.raises(ValueError, match=text):
        MODELS.build({**config, **changes})


@pytest.mark.parametrize('wrapper', ['FrozenBackbone', 'AdaptedBackbone', 'HighwayBackbone'])
def test_what_a_config_leaves_out(tiny_timm_vit: Factory, wrapper: str) -> None:
    rest = {} if wrapper == 'FrozenBackbone' else dict(adapter=LORA)
    with pytest.raises(ValueError, match='backbone=None is not a config: give a dict'):
        MODELS.build(dict(type=wrapper, **rest))
    if rest:
        with pytest.raises(ValueError, match='adapter=None is not a config: give a dict'):
            MODELS.build(dict(type=wrapper, backbone=tiny_timm_vit()))
    with pytest.raises(ValueError, match="cannot be built: .*'model_name'"):
        MODELS.build(dict(type=wrapper, backbone=dict(type='mmqadapter.TimmBackbone'), **rest))


@pytest.mark.parametrize('train', [2, None, [3]])
def test_of_what_trains(tiny_timm_vit: Factory, train: Any) -> None:
    with pytest.raises(ValueError, match=r'train=.* is invalid: expected a preset or a regex'):
        MODELS.build(dict(type='FrozenBackbone', backbone=tiny_timm_vit(), train=train))


def test_of_the_net_itself(tiny_mmseg_vit: Factory) -> None:
    with pytest.raises(ValueError, match="cannot be built: .*unexpected keyword argument 'foo'"):
        MODELS.build(dict(type='FrozenBackbone', backbone=tiny_mmseg_vit(foo=1)))


def test_outputs_that_a_net_has_not(tiny_mmseg_vit: Factory) -> None:
    config = dict(
        type='HighwayBackbone',
        backbone=tiny_mmseg_vit(out_indices=(0, 77)),
        adapter=dict(type='ConvAdapter', width=2),
    )
    with pytest.raises(ValueError, match=r'out_indices=\[77\] is invalid: expected 0 to \d+ for'):
        MODELS.build(config)
