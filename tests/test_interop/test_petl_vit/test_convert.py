"""Released tasks as our model and as task files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from released import TINY, decode, settings_of
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.backbones.timm_net import build_timm
from mmqadapter.interop.petl_vit import PetlClassifier, export_petl, import_petl, load_petl
from mmqadapter.interop.petl_vit.settings import METHODS
from mmqadapter.quant import gaussian_codebook

Release = Callable[..., tuple[Path, Path]]
EVERY_METHOD = pytest.mark.parametrize('method', METHODS)


@pytest.fixture
def trunk(tmp_path: Path) -> dict[str, Any]:
    """Return arguments of ``TimmBackbone`` that load weights from a file."""
    torch.manual_seed(3)
    torch.save(_net().state_dict(), tmp_path / 'trunk.pth')
    return {'checkpoint': str(tmp_path / 'trunk.pth')}


def _net() -> Any:
    config = dict(TINY.config)
    return build_timm(config.pop('model_name'), **config)


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def logits_by_hand(state: dict, data: bytes, settings: dict[str, Any]) -> Tensor:
    """Compute logits by the published formulas, block by block, with a plain timm net."""
    net = _net().eval()
    net.load_state_dict(state)
    blocks, head = decode(data, settings)
    x = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(images()))))
    for block, arrays in zip(net.blocks, blocks, strict=True):
        w = {name: torch.from_numpy(array) for name, array in arrays.items()}
        inner = block.norm1(x)
        if 'lora' in settings['method']:
            change = [inner @ w[f'{p} down'].T @ w[f'{p} up'].T for p in 'qv']
            qkv = block.attn.qkv(inner)
            zero = torch.zeros_like(change[0])
            qkv = qkv + settings['scale'] * torch.cat([change[0], zero, change[1]], 2)
            x = x + _attention(block.attn, qkv)
            x = x + block.mlp(block.norm2(x))
        else:
            x = x + block.attn(inner)
            added = F.relu(x @ w['down'].T) @ w['up'].T
            x = x + block.mlp(block.norm2(x)) + settings['scale'] * added
    token = net.norm(x)[:, 0]
    return F.linear(token, *(torch.from_numpy(array.copy()) for array in head.values()))


def _attention(attention: Any, qkv: Tensor) -> Tensor:
    q, k, v = (p.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for p in qkv.chunk(3, 2))
    return attention.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@EVERY_METHOD
@torch.no_grad()
def test_logits_are_those_of_the_published_formulas(
    release: Release, trunk: dict[str, Any], method: str
) -> None:
    binary, yaml = release(method=method)
    model = load_petl(binary, yaml, trunk)
    state = torch.load(trunk['checkpoint'])
    expected = logits_by_hand(state, binary.read_bytes(), settings_of(method=method))
    assert not model.training and expected.shape == (2, 5)
    torch.testing.assert_close(model(images()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('bit', [1, 2])
@EVERY_METHOD
def test_decoded_weights_are_those_of_another_decoding(
    release: Release, method: str, bit: int
) -> None:
    binary, yaml = release(method=method, bit=bit)
    model = load_petl(binary, yaml, {})
    blocks, head = decode(binary.read_bytes(), settings_of(method=method, bit=bit))
    linear = [m for m in model.backbone.adapters.modules() if isinstance(m, nn.Linear)]
    arrays = [array for block in blocks for array in block.values()]
    for layer, array in zip(linear, arrays, strict=True):
        assert torch.equal(layer.weight, torch.from_numpy(array))
    assert torch.equal(model.head.weight, torch.from_numpy(head['weight'].copy()))


@EVERY_METHOD
def test_export_of_an_imported_task_gives_the_same_bytes(
    release: Release, trunk: dict[str, Any], tmp_path: Path, method: str
) -> None:
    binary, yaml = release(method=method)
    task = tmp_path / 'toy.task.safetensors'
    import_petl(binary, yaml, task, trunk)
    info = inspect_task(task)
    assert info['dataset'] == {'name': 'toy'} and info['tuning']['adapter']['scale'] == 10.0
    assert info['bytes']['adapters'] + info['bytes']['head'] == binary.stat().st_size
    export_petl(task, tmp_path / 'out.bin', tmp_path / 'out.yaml')
    assert (tmp_path / 'out.bin').read_bytes() == binary.read_bytes()
    assert (tmp_path / 'out.yaml').read_bytes() == yaml.read_bytes()


@EVERY_METHOD
@torch.no_grad()
def test_the_task_loads_into_a_fresh_model(
    release: Release, trunk: dict[str, Any], tmp_path: Path, method: str
) -> None:
    binary, yaml = release(method=method)
    task = tmp_path / 'toy.task.safetensors'
    import_petl(binary, yaml, task, trunk)
    expected = load_petl(binary, yaml, trunk)(images())
    data = bytearray(binary.read_bytes())
    data[0] ^= 255
    data[-9] ^= 255
    fresh = load_petl(*release(bytes(data), method=method), trunk)
    assert not torch.equal(fresh(images()), expected)
    load_task(fresh, task)
    assert torch.equal(fresh(images()), expected)


def test_a_task_of_another_trunk_is_refused(
    release: Release, trunk: dict[str, Any], tmp_path: Path
) -> None:
    binary, yaml = release()
    task = tmp_path / 'toy.task.safetensors'
    import_petl(binary, yaml, task, trunk)
    with pytest.raises(ValueError, match='belongs to the trunk'):
        load_task(load_petl(binary, yaml, {}), task)


def test_nothing_is_written_for_a_damaged_release(release: Release, tmp_path: Path) -> None:
    binary, yaml = release()
    binary.write_bytes(binary.read_bytes()[:-1])
    with pytest.raises(ValueError, match='download both again'):
        import_petl(binary, yaml, tmp_path / 'toy.task.safetensors', {})
    assert not (tmp_path / 'toy.task.safetensors').exists()


def _classifier(head: nn.Module | None = None, **tuning: Any) -> PetlClassifier:
    adapter = dict(type='AdaptFormer', width=4)
    quantizer = dict(type='GaussianQuantizer', bits=1)
    config = {'type': 'mmqadapter.TimmBackbone', **TINY.config}
    backbone = AdaptedBackbone(config, **{'adapter': adapter, 'quantizer': quantizer, **tuning})
    return PetlClassifier(backbone, nn.Linear(16, 5) if head is None else head)


def test_classifier_of_ours_can_be_exported(tmp_path: Path) -> None:
    model = _classifier(adapter=dict(type='LoRA', rank=2))
    save_task(model, tmp_path / 'a', {'name': 'ours'})
    export_petl(tmp_path / 'a', tmp_path / 'a.bin', tmp_path / 'a.yaml')
    text = (tmp_path / 'a.yaml').read_text()
    assert 'dataset: ours' in text and 'backbone: tiny' in text and 'scale: 1.0' in text
    loaded = load_petl(tmp_path / 'a.bin', tmp_path / 'a.yaml', {})
    assert torch.equal(loaded.head.bias, model.head.bias)
    assert gaussian_codebook(1)[0].numel() == 2
    ours = model.backbone.adapters['model_blocks_2']['qkv'].products['v'].up.weight
    theirs = loaded.backbone.adapters['model_blocks_2']['qkv'].products['v'].up.weight
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ('build', 'text'),
    [
        (lambda: _classifier(nn.Sequential(nn.Linear(16, 5))), 'it holds .*head.0.bias'),
        (lambda: _classifier(nn.Linear(16, 5, bias=False)), 'it holds .*head.weight'),
        (lambda: _classifier(quantizer=None), 'it holds .*adapters:floats'),
        (lambda: _classifier(quantizer=dict(type='GaussianQuantizer', bits=8)), 'bit=8 is invalid'),
        (lambda: _classifier(blocks='last-2'), 'its tuning config is .*last-2'),
        (lambda: _classifier(adapter=dict(type='LoRA', rank=4, targets='qkv')), 'tuning config'),
        (lambda: _classifier(adapter=dict(type='Mona', width=4)), 'it holds .*floats'),
        (
            lambda: _classifier(
                quantizer=dict(type='GaussianQuantizer', bits=1, granularity='channel')
            ),
            'tuning config',
        ),
        (
            lambda: _classifier(adapter=dict(type='AdaptFormer', width=4, scale='learned')),
            'it holds .*adapters:floats',
        ),
    ],
    ids=range(9),
)
def test_task_that_the_format_cannot_store_is_refused(
    build: Callable, tmp_path: Path, text: str
) -> None:
    save_task(build(), tmp_path / 'a')
    with pytest.raises(
        ValueError, match=f"a' does not fit the format of PETL-ViT: .*{text}"
    ) as caught:
        export_petl(tmp_path / 'a', tmp_path / 'a.bin', tmp_path / 'a.yaml')
    assert 'keep the task file' in str(caught.value)
    assert not (tmp_path / 'a.bin').exists()


def test_error_for_a_classifier_of_16_bits_names_the_remedy(tmp_path: Path) -> None:
    save_task(_classifier(), tmp_path / 'a', head_bits=16)
    with pytest.raises(ValueError, match='head_bits=32'):
        export_petl(tmp_path / 'a', tmp_path / 'a.bin', tmp_path / 'a.yaml')


def test_trunk_that_the_release_does_not_have_is_refused(tmp_path: Path, monkeypatch) -> None:
    from mmqadapter.interop.petl_vit.settings import NETS

    save_task(_classifier(), tmp_path / 'a')
    monkeypatch.delitem(NETS, 'tiny')
    with pytest.raises(
        ValueError, match='none of the trunks of the release .*vit_base_patch16_224_in21k'
    ):
        export_petl(tmp_path / 'a', tmp_path / 'a.bin', tmp_path / 'a.yaml')
