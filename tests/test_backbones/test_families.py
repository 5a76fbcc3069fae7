"""The table of block families: a row for each net, and clear words where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nets import bare, is_block, kind
from torch import nn

from mmqadapter.backbones import FAMILIES, FrozenBackbone
from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.projections import find_projections
from mmqadapter.backbones.select import find_blocks, select_blocks
from mmqadapter.registry import MODELS

Factory = Callable[..., dict]
NAMES = ('attn_branch', 'mlp_in', 'mlp_branch', 'mlp_end')


def test_rows_have_their_own_names_and_blocks() -> None:
    for of in (lambda f: [f.name], lambda f: [(name, f.block) for name in f.classes]):
        found = [entry for family in FAMILIES for entry in of(family)]
        assert len(found) == len(set(found))


def test_the_page_lists_every_row() -> None:
    page = (Path(__file__).resolve().parents[2] / 'docs/adding_a_backbone.md').read_text()
    listed = page.partition('## Networks that are known')[2].partition('## 1.')[0]
    assert [
        f.name for f in FAMILIES if not re.search(rf'[|,] {re.escape(f.name)}[ ,]', listed)
    ] == []


def test_row_names_modules_of_every_block(row_backbone: Factory) -> None:
    net = bare(row_backbone())
    family = find_family(net)
    blocks = find_blocks(net, family)
    layers = row_backbone().get('num_layers', len(blocks))
    assert len(blocks) == (layers if isinstance(layers, int) else 2 * 2)
    for block in blocks.values():
        assert is_block(block), f'write {kind(block)} out in BRANCHES or WHOLE of nets.py'
        names = [getattr(family, name) for name in NAMES]
        assert all(block.get_submodule(name) for name in names if name)
        if family.qkv and any(re.fullmatch(family.qkv, name) for name, _ in block.named_modules()):
            assert all(p.weight.ndim == 2 for p in find_projections(block, family))
    parameters = [name for name, _ in net.named_parameters()]
    resized = [n for n in parameters if any(re.fullmatch(r, n) for r in family.resized)]
    sized = r'pos_embed|rel_pos|relative_position|attention_biases'
    assert all(re.search(sized, name) for name in resized)
    of_any_size = type(getattr(net, 'model', net)).__name__ in ('HieraDet', 'Xcit')
    found = [name for name in parameters if re.search('pos_embed|rel_pos_', name)]
    assert resized or of_any_size or not found


def test_blocks_come_in_the_order_in_which_they_run(row_backbone: Factory) -> None:
    net, ran = bare(row_backbone()), []
    blocks = find_blocks(net, find_family(net))
    for name, block in blocks.items():
        block.register_forward_hook(lambda module, args, out, name=name: ran.append(name))
    net(torch.zeros(1, 3, 64, 64))
    assert ran == list(blocks)


@pytest.mark.parametrize('last', [0, 1])
def test_blocks_behind_the_last_map_are_left_out(row_backbone: Factory, last: int) -> None:
    first = row_backbone()['out_indices'][0] if 'out_indices' in row_backbone() else 0
    step = 2 if 'PoolFormer' in str(row_backbone()) else 1  # it counts mergings, too
    net = bare(row_backbone(out_indices=(first + last * step,)))
    blocks = find_blocks(net, find_family(net))
    assert len(blocks) == (last + 1) * (2 if find_family(net).merging else 1)


@pytest.mark.parametrize(
    ('backbone', 'match'),
    [
        (
            dict(
                type='mmseg.STDCNet',
                stdc_type='STDCNet1',
                in_channels=3,
                channels=(8, 8, 8, 8, 8),
                bottleneck_type='cat',
                norm_cfg=dict(type='BN'),
                act_cfg=dict(type='ReLU'),
                with_final_conv=True,
            ),
            '^backbone=STDCNet is not supported: expected a net that the docs page "Adding a '
            'backbone" lists; it also shows how to add one.$',
        ),
        (dict(type='mmdet.SwinTransfromer'), 'SwinTransfromer is not in'),
        (dict(embed_dims=96), 'must contain the key "type"'),
    ],
)
def test_unknown_backbone(backbone: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FrozenBackbone(backbone)


@pytest.mark.parametrize(
    'model_name',
    ['vit_small_patch16_18x2_224', 'vit_base_patch16_18x2_224'],
)
def test_unknown_block_of_a_known_net(tiny_timm_vit: Factory, model_name: str) -> None:
    """Two attentions and two MLPs side by side: adapters would sit in the wrong place."""
    with pytest.raises(ValueError, match='Block.*docs page "Adding a backbone"'):
        FrozenBackbone(tiny_timm_vit(model_name=model_name))


@pytest.mark.parametrize('indices', [(), (1, 1)])
def test_outputs_are_named_once(tiny_mmdet_swin: Factory, indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'out_indices=.* is invalid: expected one number or more'):
        FrozenBackbone(tiny_mmdet_swin(out_indices=indices))


def test_select_blocks(tiny_timm_vit: Factory) -> None:
    net = bare(tiny_timm_vit())
    blocks = find_blocks(net, find_family(net))
    assert select_blocks(blocks, None) == blocks
    assert list(select_blocks(blocks, 'last-2')) == ['model.blocks.1', 'model.blocks.2']
    assert list(select_blocks(blocks, r'\.[02]$')) == ['model.blocks.0', 'model.blocks.2']


@pytest.mark.parametrize(
    ('choice', 'match'),
    [
        ('last-0', "'last-0' is invalid: expected 1 to 3"),
        ('last-99', "'last-99' is invalid: expected 1 to 3"),
        ('stages', r"'stages'.*model\.blocks\.0.*model\.blocks\.2"),
    ],
)
def test_wrong_choice_of_blocks(tiny_timm_vit: Factory, choice: str, match: str) -> None:
    net = bare(tiny_timm_vit())
    with pytest.raises(ValueError, match=match):
        select_blocks(find_blocks(net, find_family(net)), choice)


@pytest.mark.parametrize('wrapper', ['FrozenBackbone', 'AdaptedBackbone', 'HighwayBackbone'])
def test_blocks_are_looked_for_once(
    tiny_timm_vit: Factory, wrapper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[nn.Module] = []

    def count(trunk: nn.Module, family: BlockFamily) -> dict[str, nn.Module]:
        calls.append(trunk)
        return find_blocks(trunk, family)

    monkeypatch.setattr('mmqadapter.backbones.frozen.find_blocks', count)
    adapter = {} if wrapper == 'FrozenBackbone' else dict(adapter=dict(type='ConvAdapter', width=2))
    net = MODELS.build(dict(type=f'mmqadapter.{wrapper}', backbone=tiny_timm_vit(), **adapter))
    assert len(calls) == 1
    assert net.blocks == find_blocks(net.trunk, net.family)
