"""Where the blocks of each known backbone can be read and changed: one row a family."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from mmqadapter.backbones.acceleration import (
    FusedPackedAttention,
    FusedShiftedWindows,
    FusedSwinBlock,
    FusedWindowAttention,
)
from mmqadapter.backbones.block_family import BlockFamily

FAMILIES = (
    BlockFamily(
        name='mmdet and mmseg Swin',
        classes=(
            'mmdet.models.backbones.swin.SwinTransformer',
            'mmseg.models.backbones.swin.SwinTransformer',
        ),
        blocks=r'stages\.(\d+)\.blocks\.\d+',
        block='SwinBlock',
        attn_branch='attn',
        mlp_in='norm2',
        mlp_branch='ffn.layers',
        mlp_end='ffn',
        mlp='ffn.layers',
        qkv='attn.w_msa.qkv',
        behind=r'stages\.(\d+)\.downsample\.',
        resized=('absolute_pos_embed',),
        output_norm='norm{}',
        merging=r'stages\.\d+\.downsample',
        patch_order='channel row column',
        fused=(
            ('mmdet.models.backbones.swin.ShiftWindowMSA', FusedShiftedWindows),
            ('mmdet.models.backbones.swin.WindowMSA', FusedWindowAttention),
            ('mmseg.models.backbones.swin.ShiftWindowMSA', FusedShiftedWindows),
            ('mmseg.models.backbones.swin.WindowMSA', FusedWindowAttention),
        ),
    ),
    BlockFamily(
        name='mmseg ViT',
        classes=('mmseg.models.backbones.vit.VisionTransformer',),
        blocks=r'layers\.(\d+)',
        block='TransformerEncoderLayer',
        attn_branch='attn.proj_drop',
        mlp_in='ln2',
        mlp_branch='ffn.layers',
        mlp_end='ffn',
        mlp='ffn.layers',
        qkv='attn.attn',
        behind=r'ln1\.',
        resized=('pos_embed',),
        grid='patch_embed',
        end_norm='ln1',
        other_outputs=('out_origin', 'output_cls_token'),
        fused=(('torch.nn.modules.activation.MultiheadAttention', FusedPackedAttention),),
    ),
    BlockFamily(
        name='timm ViT and DINOv2',
        classes=('timm.models.vision_transformer.VisionTransformer',),
        blocks=r'model\.blocks\.(\d+)',
        block='Block',
        attn_branch='drop_path1',
        mlp_in='norm2',
        mlp_branch='drop_path2',
        mlp_end='drop_path2',
        mlp='mlp',
        qkv='attn.qkv',
        resized=('model.pos_embed',),
        grid='model.patch_embed',
        output_norm='model.norm',
    ),
    BlockFamily(
        name='timm Swin',
        classes=('timm.models.swin_transformer.SwinTransformer',),
        blocks=r'model\.layers\.(\d+)\.blocks\.\d+',
        block='SwinTransformerBlock',
        attn_branch='drop_path1',
        mlp_in='norm2',
        mlp_branch='drop_path2',
        mlp_end='drop_path2',
        mlp='mlp',
        qkv='attn.qkv',
        end_norm='model.norm',
        merging=r'model\.layers\.[1-9]\d*\.downsample',
        patch_order='column row channel',
        fused=(
            ('timm.models.swin_transformer.SwinTransformerBlock', FusedSwinBlock),
            ('timm.models.swin_transformer.WindowAttention', FusedWindowAttention),
        ),
    ),
)


def find_family(trunk: nn.Module) -> BlockFamily:
    """Row of the table for a built backbone.

    Raises:
        ValueError: No row covers it.
    """
    candidates = (trunk, getattr(trunk, 'model', None))
    names = {f'{c.__module__}.{c.__qualname__}' for m in candidates for c in type(m).__mro__}
    for family in FAMILIES:
        if names.intersection(family.classes):
            return family
    known = ', '.join(family.name for family in FAMILIES)
    raise ValueError(
        f'{type(trunk).__name__} is no backbone that we know ({known}); '
        'docs/adding_a_backbone.md shows how to add a row for it.'
    )


def find_blocks(trunk: nn.Module, family: BlockFamily) -> dict[str, nn.Module]:
    """Blocks that reach an output, by full name, in execution order.

    Blocks behind the last of ``out_indices`` are left out: adapters there would get no gradient,
    which DDP refuses.

    Raises:
        ValueError: The blocks are of another kind than the table knows.
    """
    last = _last_output(trunk)
    matches = ((re.fullmatch(family.blocks, n), n, m) for n, m in trunk.named_modules())
    blocks = {name: module for match, name, module in matches if match and int(match[1]) <= last}
    for name, block in blocks.items():
        # A block that is computed in another way is one of its stock class still.
        if family.block not in {c.__name__ for c in type(block).__mro__}:
            raise ValueError(
                f'{name} is a {type(block).__name__}; {family.name} is known with {family.block} '
                'alone. Use another model_name, or see docs/adding_a_backbone.md.'
            )
    return blocks


def unused_parameters(trunk: nn.Module, family: BlockFamily) -> set[str]:
    """Names of parameters that no output depends on; DDP refuses to train them."""
    last, names = _last_output(trunk), [name for name, _ in trunk.named_parameters()]
    blocks = ((re.match(family.blocks + r'\.', name), name) for name in names)
    idle = {name for match, name in blocks if match and int(match[1]) > last}
    behind = [(match, name) for name in names if (match := re.match(family.behind, name))]
    return idle | {n for m, n in behind if (int(m[1]) >= last if m.lastindex else idle)}


def compiled(pattern: str, argument: str) -> re.Pattern:
    """Regex of a user.

    Raises:
        ValueError: It is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f'{argument}={pattern!r} is no regex ({error}); mend it.') from error


def _last_output(trunk: nn.Module) -> int:
    outputs: Any = trunk.out_indices
    return max(int(i) for i in outputs)


def select_blocks(blocks: dict[str, nn.Module], choice: str | None) -> dict[str, nn.Module]:
    """Some of ``blocks``.

    Args:
        blocks: All blocks, by name, in execution order.
        choice: None for all, ``'last-k'`` for the last k, or a regex that names must contain.

    Raises:
        ValueError: ``choice`` selects nothing, more blocks than there are, or is no regex.
    """
    if choice is None:
        return blocks
    if not isinstance(choice, str):
        raise ValueError(f"blocks={choice!r} is no choice; use None, 'last-k', or a regex.")
    tail = re.fullmatch(r'last-(\d+)', choice)
    names = list(blocks)
    if tail and not 1 <= int(tail[1]) <= len(names):
        raise ValueError(f'blocks={choice!r}, but there are {len(names)} blocks to choose from.')
    chosen = names[-int(tail[1]) :] if tail else _matching(names, choice)
    if not chosen:
        raise ValueError(
            f'blocks={choice!r} matches no block; names run from {names[0]!r} to {names[-1]!r}.'
        )
    return {name: blocks[name] for name in chosen}


def _matching(names: list[str], choice: str) -> list[str]:
    pattern = compiled(choice, 'blocks')
    return [name for name in names if pattern.search(name)]
