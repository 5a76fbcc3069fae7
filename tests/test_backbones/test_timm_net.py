"""Weights of timm nets from local files: exact, strict, and with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_backbones import TINY, tiny_config

from mmqadapter.backbones.timm_backbone import TimmBackbone
from mmqadapter.registry import MODELS

VIT = dict(model_name='vit_tiny_patch16_224', embed_dim=24, depth=3, num_heads=3)
SWIN = dict(model_name='swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1), num_heads=(1, 1))


def build(cfg: dict, **kwargs: Any) -> TimmBackbone:
    return TimmBackbone(**{**cfg, **kwargs})


def plain(cfg: dict, **kwargs: Any) -> torch.nn.Module:
    """timm's own net of the same shape, with a head of five classes."""
    return timm.create_model(**{**cfg, **kwargs}, num_classes=5).eval()


@pytest.mark.parametrize('cfg', [VIT, SWIN], ids=['vit', 'swin'])
@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_file_round_trip(cfg: dict, suffix: str, tmp_path: Path) -> None:
    state, path = plain(cfg).state_dict(), tmp_path / f'w.{suffix}'
    save_file(state, path) if suffix == 'safetensors' else torch.save({'state_dict': state}, path)
    net = build(cfg, checkpoint=str(path))
    assert net.pretrained_loaded
    assert all(torch.equal(value, state[key]) for key, value in net.model.state_dict().items())


def test_position_embedding_of_another_size_is_resized(tmp_path: Path) -> None:
    save_file(plain(VIT, img_size=64).state_dict(), tmp_path / 'w.safetensors')
    net = build(VIT, checkpoint=str(tmp_path / 'w.safetensors'))
    assert net.model.pos_embed.shape == (1, 1 + 14 * 14, 24)


def test_pretrained_by_name(tmp_path: Path) -> None:
    """timm's own route, with its store replaced by a file so that no network is needed."""
    state = timm.create_model(**VIT).state_dict()
    save_file(state, tmp_path / 'w.safetensors')
    overlay = dict(file=str(tmp_path / 'w.safetensors'))
    net = build(VIT, pretrained=True, pretrained_cfg_overlay=overlay)
    assert net.pretrained_loaded
    assert torch.equal(net.model.pos_embed, state['pos_embed'])
    with pytest.raises(ValueError, match=r'blocks\.2'):
        build(VIT, depth=2, pretrained=True, pretrained_cfg_overlay=overlay)


def jax_block(block: torch.nn.Module, base: str) -> dict[str, torch.Tensor]:
    """One ViT block by the names and layouts of the augreg npz files."""
    attention, heads = base + 'MultiHeadDotProductAttention_1/', block.attn.num_heads
    arrays = {
        attention + 'out/kernel': block.attn.proj.weight.T.unflatten(0, (heads, -1)),
        attention + 'out/bias': block.attn.proj.bias,
    }
    weights, biases = block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3)
    for name, weight, bias in zip(('query', 'key', 'value'), weights, biases, strict=True):
        arrays[f'{attention}{name}/kernel'] = weight.T.unflatten(1, (heads, -1))
        arrays[f'{attention}{name}/bias'] = bias.unflatten(0, (heads, -1))
    for name, norm in (('LayerNorm_0', block.norm1), ('LayerNorm_2', block.norm2)):
        arrays[f'{base}{name}/scale'], arrays[f'{base}{name}/bias'] = norm.weight, norm.bias
    for name, layer in (('Dense_0', block.mlp.fc1), ('Dense_1', block.mlp.fc2)):
        arrays[f'{base}MlpBlock_3/{name}/kernel'] = layer.weight.T
        arrays[f'{base}MlpBlock_3/{name}/bias'] = layer.bias
    return arrays


def save_npz(net: torch.nn.Module, path: Path) -> None:
    arrays = {
        'embedding/kernel': net.patch_embed.proj.weight.permute(2, 3, 1, 0),
        'embedding/bias': net.patch_embed.proj.bias,
        'cls': net.cls_token,
        'Transformer/posembed_input/pos_embedding': net.pos_embed,
        'Transformer/encoder_norm/scale': net.norm.weight,
        'Transformer/encoder_norm/bias': net.norm.bias,
    }
    for number, block in enumerate(net.blocks):
        arrays |= jax_block(block, f'Transformer/encoderblock_{number}/')
    np.savez(path, **{key: value.detach().numpy() for key, value in arrays.items()})


def test_npz(tmp_path: Path) -> None:
    reference, path = plain(VIT), tmp_path / 'w.npz'
    save_npz(reference, path)
    state = reference.state_dict()
    net = build(VIT, checkpoint=str(path))
    assert all(torch.equal(value, state[key]) for key, value in net.model.state_dict().items())
    with pytest.raises(ValueError, match='it has 3 blocks, the net 2'):
        build(VIT, depth=2, checkpoint=str(path))
    with pytest.raises(ValueError, match='encoderblock_3'):
        build(VIT, depth=4, checkpoint=str(path))
    with pytest.raises(ValueError, match=r'blocks\.0\.ls1\.gamma'):
        build(VIT, checkpoint=str(path), init_values=1.0)
    with pytest.raises(ValueError, match='only a ViT'):
        build(SWIN, checkpoint=str(path))


@pytest.mark.parametrize('suffix', ['safetensors', 'pth', 'npz'])
def test_cut_off_file_is_named(suffix: str, tmp_path: Path) -> None:
    path, reference = tmp_path / f'w.{suffix}', plain(VIT)
    if suffix == 'npz':
        save_npz(reference, path)
    else:
        save = save_file if suffix == 'safetensors' else torch.save
        save(reference.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=rf'w\.{suffix}.*cannot be read'):
        build(VIT, checkpoint=str(path))


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    torch.save({'state_dict': plain(VIT).state_dict(), 'path': tmp_path}, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='cannot be read'):
        build(VIT, checkpoint=str(tmp_path / 'w.pth'))


@pytest.mark.parametrize('state', [{}, {'blocks.0.norm1.weight': torch.ones(3)}])
def test_file_that_does_not_fit(state: dict, tmp_path: Path) -> None:
    save_file(state, tmp_path / 'w.safetensors')
    with pytest.raises(ValueError, match=r'does not fit.*model_name'):
        build(VIT, checkpoint=str(tmp_path / 'w.safetensors'))


def test_missing_and_unexpected_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'w.safetensors'
    save_file(plain(VIT).state_dict(), path)
    with pytest.raises(ValueError, match=r'Missing key.*blocks\.3'):
        build(VIT, depth=4, checkpoint=str(path))
    with pytest.raises(ValueError, match=r'Unexpected key.*blocks\.2'):
        build(VIT, depth=2, checkpoint=str(path))
    with pytest.raises(ValueError, match='size mismatch'):
        build(VIT, embed_dim=48, checkpoint=str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nothing.pth'):
        build(VIT, checkpoint=str(tmp_path / 'nothing.pth'))


@pytest.mark.parametrize('name', [name for name in TINY if 'model_name' in TINY[name]])
def test_files_of_timm_with_a_head_fit_every_family(name: str, tmp_path: Path) -> None:
    arguments = {k: v for k, v in TINY[name].items() if k not in ('type', 'out_indices')}
    state = timm.create_model(**arguments, num_classes=5).state_dict()
    save_file(state, tmp_path / 'w.safetensors')
    net = MODELS.build(tiny_config(name, checkpoint=str(tmp_path / 'w.safetensors')))
    assert all(torch.equal(value, state[key]) for key, value in net.model.state_dict().items())
