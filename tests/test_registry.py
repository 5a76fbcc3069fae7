"""Our types resolve in our scope, whatever scope is active, and configs compare by value."""

from __future__ import annotations

import pytest
from mmengine import registry as root
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from mmqadapter.adapters import AdaptFormer, LoRA
from mmqadapter.quant import GaussianQuantizer
from mmqadapter.registry import MODELS, build_own, full_config

TYPES = {
    'MODELS': [
        'FrozenBackbone',
        'AdaptedBackbone',
        'TimmBackbone',
        'AdaptFormer',
        'SequentialAdapter',
        'LoRA',
        'GaussianQuantizer',
    ],
    'HOOKS': ['TaskCheckpointHook', 'ExactResumeHook'],
    'DATASETS': ['SeededDataset'],
    'DATA_SAMPLERS': ['StampedSampler'],
}


@pytest.mark.parametrize(
    ('registry', 'name'), [(r, n) for r, names in TYPES.items() for n in names]
)
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg'])
def test_types_resolve_by_their_full_name(registry: str, name: str, scope: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        kind = getattr(root, registry).get(f'mmqadapter.{name}')
    assert kind.__name__ == name and kind.__module__.startswith('mmqadapter.')


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('prefix', ['', 'mmqadapter.'])
def test_own_types_build_under_another_default_scope(scope: str, prefix: str) -> None:
    with DefaultScope.overwrite_default_scope(scope):
        adapter = build_own('adapter', dict(type=f'{prefix}AdaptFormer', width=4), channels=8)
        quantizer = build_own('quantizer', ConfigDict(type=f'{prefix}GaussianQuantizer', bits=2))
        assert DefaultScope.get_current_instance().scope_name == scope
    assert isinstance(adapter, AdaptFormer) and adapter.down.in_features == 8
    assert isinstance(quantizer, GaussianQuantizer) and quantizer.bits == 2


def test_building_leaves_the_config_alone() -> None:
    config = dict(type='GaussianQuantizer', bits=2)
    build_own('quantizer', config)
    assert config == dict(type='GaussianQuantizer', bits=2)


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Unknown type 'Adapt'; registered in mmqadapter: .*LoRA"):
        build_own('adapter', dict(type='Adapt'))


def test_a_config_without_a_type_is_refused() -> None:
    with pytest.raises(ValueError, match="^adapter={'width': 4} has no `type`; name one, such as"):
        build_own('adapter', dict(width=4))


def test_an_argument_that_the_type_does_not_know_is_refused() -> None:
    with pytest.raises(
        ValueError, match='^adapter=.* has ranks: expected arguments of LoRA: rank, '
    ):
        build_own('adapter', dict(type='LoRA', rank=1, ranks=2), channels=8)


def test_full_config_fills_in_defaults() -> None:
    assert full_config(dict(type='GaussianQuantizer', bits=1)) == dict(
        type='GaussianQuantizer', bits=1, criterion='l1', granularity='tensor'
    )


@pytest.mark.parametrize(
    'config',
    [
        dict(type='mmqadapter.LoRA', rank=4),
        dict(type=LoRA, rank=4),
        dict(type='LoRA', rank=4, targets=('q', 'v'), scale=1.0),
        ConfigDict(type='LoRA', rank=4),
    ],
)
def test_equal_settings_compare_equal(config: dict) -> None:
    assert full_config(config) == full_config(dict(type='LoRA', rank=4))


def test_other_settings_do_not() -> None:
    assert full_config(dict(type='LoRA', rank=4, scale=2)) != full_config(dict(type='LoRA', rank=4))


def test_our_registry_is_a_child_of_mmengine() -> None:
    assert MODELS.parent is root.MODELS and MODELS.scope == 'mmqadapter'
