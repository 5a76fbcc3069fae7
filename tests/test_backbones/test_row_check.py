"""A name in a row that its net does not have is an error that names the field, for any wrapper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from highways import DUAL
from nets import ADAPTERS
from tiny_backbones import tiny_config

from mmqadapter.backbones import FAMILIES, AdaptedBackbone, FrozenBackbone, HighwayBackbone

ROW = next(family for family in FAMILIES if family.name == 'timm Swin')
Swap = Callable[..., None]


@pytest.fixture
def swap(monkeypatch: pytest.MonkeyPatch) -> Swap:
    """Change fields of the row of timm's Swin."""

    def change(**fields: Any) -> None:
        rows = tuple(replace(row, **fields) if row is ROW else row for row in FAMILIES)
        monkeypatch.setattr('mmqadapter.backbones.families.FAMILIES', rows)

    return change


@pytest.mark.parametrize(
    'field',
    ['attn_branch', 'mlp_in', 'mlp_branch', 'mlp_end', 'mlp', 'channels', 'block_grid'],
)
def test_a_child_that_blocks_lack(swap: Swap, field: str) -> None:
    swap(**{field: 'attn.nothing'})
    text = (
        rf"{field}='attn.nothing' in the row 'timm Swin' of the block table is invalid: "
        r"model.layers.0.blocks.0 has no such module; expected one of \['attn.qkv', .*'attn.proj'"
    )
    with pytest.raises(ValueError, match=text):
        FrozenBackbone(tiny_config('timm_swin'))


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        (dict(attn_branch='', attn_in='nrm1'), r"attn_in='nrm1' in the row .* \['norm1', 'attn'"),
        (dict(grid='model.layer.{}'), r"grid='model.layer.0' in .*'model.patch_embed'"),
        (dict(stage_ends='model.ends'), r"stage_ends='model.ends' in .* has no such attribute"),
        (
            dict(blocks=r'layers\.(\d+)\.blocks\.\d+'),
            r"no block of TimmBackbone .* If its row is new: blocks='layers.* in the row "
            r"'timm Swin' .*matches the full name of no module; .*'model\.layers'",
        ),
    ],
)
def test_a_module_that_the_net_lacks(swap: Swap, fields: dict[str, Any], text: str) -> None:
    swap(**fields)
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(tiny_config('timm_swin'), ADAPTERS['adaptformer'])


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        (dict(merging=r'model\.layers\.\d+\.merge'), "merging='model.*at 0 of 1 places between"),
        (dict(merging_steps=('norm', 'reduce')), r"merging_steps=\('norm', 'reduce'\) in the row"),
        (dict(patch_order=''), "patch_order is empty in the row 'timm Swin'.*use 'low-rank'"),
        (dict(neck='model.neck'), 'map 1 of a highway on SwinTransformer would not start'),
    ],
)
def test_what_a_highway_alone_reads(swap: Swap, fields: dict[str, Any], text: str) -> None:
    swap(**fields)
    with pytest.raises(ValueError, match=text):
        HighwayBackbone(tiny_config('timm_swin'), DUAL)
    AdaptedBackbone(tiny_config('timm_swin'), ADAPTERS['adaptformer'])


def test_low_rank_mergings_need_no_order_of_patches(swap: Swap) -> None:
    swap(patch_order='')
    HighwayBackbone(tiny_config('timm_swin'), DUAL, downsample='low-rank')


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        (dict(blocks=r'layers\.(\d+'), "blocks=.*in the row 'timm Swin' .*expected a regex, but"),
        (dict(blocks=r'layers\.\d+'), 'blocks=.*expected a group,.*that out_indices counts'),
        (dict(qkv='attn.('), "qkv='attn.*expected a regex, but"),
        (dict(resized=('model.pos_embed', '*')), r"resized='\*' in .*expected a regex, but"),
        (dict(patch_order='row column'), "patch_order='row column' .*channel, column and row"),
    ],
)
def test_fields_that_are_wrong_for_any_net(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        replace(ROW, **fields)


@pytest.mark.parametrize('adapter', ['conv', 'mona'])
def test_tokens_that_are_not_in_the_order_of_the_grid(
    monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """NesT keeps them as (B, blocks, tokens of a block, C), which looks like a grid."""
    row = replace(
        ROW,
        name='timm NesT',
        classes=('timm.models.nest.Nest',),
        blocks=r'model\.levels\.(\d+)\.transformer_encoder\.\d+',
        block='TransformerLayer',
        merging=r'model\.levels\.[1-9]\d*\.pool',
        merging_steps=('conv', 'norm', 'pool'),
    )
    monkeypatch.setattr('mmqadapter.backbones.families.FAMILIES', (row,))
    monkeypatch.setattr('mmqadapter.backbones.timm_names.CLASSES', set(row.classes))
    cfg = dict(type='mmqadapter.TimmBackbone', model_name='nest_tiny', img_size=64)
    text = r'levels\.1\..* in a grid of 4 x 16 do not fit .*, a map of 8 x 8: Nest keeps tokens in'
    with pytest.raises(ValueError, match=text):
        AdaptedBackbone(cfg, ADAPTERS[adapter])
    AdaptedBackbone(cfg, ADAPTERS['adaptformer'])
