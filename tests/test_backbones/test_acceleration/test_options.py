"""trunk=dict(...): values that are refused, automatic choices, and arguments of version 0.1.0."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_backbones import tiny_config

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.acceleration import TrunkOptions, with_legacy, without_legacy

ALL_AUTO = dict(attention='auto', mlp='auto', prepacked='auto')


def test_the_defaults_are_the_stock_net() -> None:
    assert TrunkOptions.parse(None) == TrunkOptions('float32', 'stock', 'stock', False)
    assert TrunkOptions.parse({}).torch_dtype == torch.float32


@pytest.mark.parametrize(
    ('device', 'expected'),
    [
        ('cpu', TrunkOptions('bfloat16', 'fused', 'chunked', True)),
        ('cuda', TrunkOptions('bfloat16', 'stock', 'stock', False)),
    ],
)
def test_auto_takes_what_pays_on_the_device(device: str, expected: TrunkOptions) -> None:
    assert TrunkOptions(dtype='bfloat16', **ALL_AUTO).for_device(device) == expected


def test_auto_leaves_choices_alone() -> None:
    chosen = TrunkOptions(attention='stock', mlp='auto', prepacked=False)
    assert chosen.for_device('cpu') == TrunkOptions(mlp='chunked')


@pytest.mark.parametrize(
    ('trunk', 'text'),
    [
        (dict(dtype='int4'), r"trunk\.dtype='int4' is invalid: expected one of \('float32'"),
        (dict(attention=True), r'trunk\.attention=True is invalid: .*fused'),
        (dict(mlp='compiled'), r"trunk\.mlp='compiled' is invalid: .*chunked"),
        (dict(prepacked='yes'), r"trunk\.prepacked='yes' is invalid: .*True"),
        (dict(fused='fused'), r"trunk=\{'fused': 'fused'\} is invalid: .*'attention'"),
        ('fast', r"trunk='fast' is invalid: expected a dict"),
    ],
    ids=str,
)
def test_wrong_options_are_named(trunk: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TrunkOptions.parse(trunk)


@pytest.mark.parametrize('wrapper', [FrozenBackbone, AdaptedBackbone, HighwayBackbone])
def test_each_wrapper_takes_them(wrapper: type) -> None:
    adapter = {} if wrapper is FrozenBackbone else dict(adapter=dict(type='ConvAdapter', width=2))
    net = wrapper(tiny_config('timm_vit'), **adapter, trunk=dict(dtype='bfloat16', mlp='chunked'))
    assert net.trunk_options == TrunkOptions(dtype='bfloat16', mlp='chunked')


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(trunk_dtype='bfloat16'), dict(dtype='bfloat16')),
        (dict(fused_attention=True, piecewise_mlp=True), dict(attention='fused', mlp='chunked')),
        (dict(packed_weights=True), dict(prepacked=True)),
        (
            dict(packed_weights=False, fused_attention=False, piecewise_mlp=False),
            dict(prepacked=False, attention='stock', mlp='stock'),
        ),
    ],
    ids=str,
)
def test_arguments_of_0_1_0_still_count(old: dict, new: dict) -> None:
    option, value = next(iter(new.items()))
    with pytest.warns(
        FutureWarning, match=rf'{next(iter(old))}=.* is now trunk=dict\({option}={value!r}'
    ):
        assert with_legacy(None, old) == new
    with pytest.warns(FutureWarning):
        net = FrozenBackbone(tiny_config('timm_vit'), **old)
    assert net.trunk_options == TrunkOptions(**new)


def test_an_argument_that_was_removed_is_named() -> None:
    with pytest.warns(FutureWarning, match='compiled_mlp=True was removed'):
        assert with_legacy(dict(dtype='int8'), dict(compiled_mlp=True)) == dict(dtype='int8')


def test_old_arguments_override_options_that_a_config_chose() -> None:
    auto = dict(attention='auto', mlp='auto', prepacked='auto')
    old = dict(fused_attention=False, piecewise_mlp=False, packed_weights=False)
    with pytest.warns(FutureWarning):
        assert TrunkOptions(**with_legacy(auto, old)) == TrunkOptions()


@pytest.mark.parametrize('old', [dict(fused_attention='yes'), dict(compiled_mlp='no')], ids=str)
def test_old_switches_are_bools(old: dict) -> None:
    with pytest.raises(
        ValueError, match=f'{next(iter(old))}=.* is invalid: expected True or False'
    ):
        with_legacy(None, old)


@pytest.mark.parametrize('old', [{}, dict(fused_attention=True)], ids=len)
def test_wrong_options_stay_as_they_are_for_the_check(old: dict) -> None:
    assert with_legacy('wrong', old) == 'wrong'  # which `parse` refuses


def test_a_config_of_0_1_0_equals_one_of_today() -> None:
    old = dict(type='FrozenBackbone', trunk_dtype='int8', packed_weights=True, compiled_mlp=False)
    assert without_legacy(old) == dict(
        type='FrozenBackbone', trunk=dict(dtype='int8', prepacked=True)
    )
    assert without_legacy(dict(type='FrozenBackbone')) == dict(type='FrozenBackbone')
