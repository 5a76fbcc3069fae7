"""Conversion between task files and folders, without PEFT itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loras import BITS, NETS, adapted, images, matrices, net_of, task_of, trunk_file
from torch import nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.interop.peft import (
    PeftLora,
    Product,
    export_peft,
    import_peft,
    read_peft,
    write_peft,
)
from mmqadapter.interop.peft.timm_net import find_projections
from mmqadapter.taskfile.format import read_content, write_content


def export_and_import(wrapped: AdaptedBackbone, family: str, trunk: str, folder: Path) -> Path:
    """Export the task file of ``wrapped`` as a folder, and import it as another task file."""
    assert export_peft(task_of(wrapped, folder), folder / 'peft', net_of(family)) == []
    out = folder / 'back.task.safetensors'
    import_peft(folder / 'peft', out, {**net_of(family), 'checkpoint': trunk})
    return out


@pytest.mark.parametrize('family', NETS)
@pytest.mark.parametrize('targets', [['q', 'v'], 'qkv'], ids=str)
def test_float_lora_survives_byte_for_byte(family: str, targets: Any, tmp_path: Path) -> None:
    trunk = trunk_file(family, tmp_path)
    wrapped = adapted(family, trunk, targets=targets)
    out = export_and_import(wrapped, family, trunk, tmp_path)
    assert out.read_bytes() == (tmp_path / 'lora.task.safetensors').read_bytes()


@torch.no_grad()
def test_one_bit_is_exported_decoded(tmp_path: Path) -> None:
    trunk = trunk_file('timm_vit', tmp_path)
    wrapped = adapted('timm_vit', trunk, quantizer=BITS['1 bit'])
    out = export_and_import(wrapped, 'timm_vit', trunk, tmp_path)
    fresh = adapted('timm_vit', trunk)
    load_task(fresh, out)
    assert all(map(torch.equal, matrices(fresh), matrices(wrapped)))
    for ours, theirs in zip(fresh(images()), wrapped(images()), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_learned_scales_are_multiplied_into_b(tmp_path: Path) -> None:
    trunk = trunk_file('timm_vit', tmp_path)
    wrapped = adapted('timm_vit', trunk, scale='learned', targets=['k'])
    out = export_and_import(wrapped, 'timm_vit', trunk, tmp_path)
    assert inspect_task(out)['tuning']['adapter']['scale'] == 1.0
    fresh = adapted('timm_vit', trunk, scale=1.0, targets=['k'])
    load_task(fresh, out)
    torch.testing.assert_close(fresh(images()), wrapped(images()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('blocks', ['last-2', r'^(model\.blocks\.0|model\.blocks\.2)$'])
def test_lora_in_some_blocks(blocks: str, tmp_path: Path) -> None:
    trunk = trunk_file('timm_vit', tmp_path)
    out = export_and_import(adapted('timm_vit', trunk, blocks=blocks), 'timm_vit', trunk, tmp_path)
    assert out.read_bytes() == (tmp_path / 'lora.task.safetensors').read_bytes()
    assert len(read_peft(tmp_path / 'peft').products) == 2


def test_tensors_of_neck_and_head_are_reported_as_left_out(tmp_path: Path) -> None:
    model = nn.Module()
    model.backbone, model.head = adapted('timm_vit'), nn.Linear(16, 3)
    save_task(model, tmp_path / 'task')
    left_out = export_peft(tmp_path / 'task', tmp_path / 'peft', net_of('timm_vit'))
    assert left_out == ['head.bias', 'head.weight']


@pytest.fixture
def peft_folder(tmp_path: Path) -> Path:
    folder = tmp_path / 'peft'
    export_peft(task_of(adapted('timm_vit'), tmp_path), folder, net_of('timm_vit'))
    return folder


def renamed(folder: Path, old: str, new: str, rows: int = 48) -> None:
    content = read_peft(folder)
    products = {
        n.replace(old, new): Product(p.down, p.up[:rows]) for n, p in content.products.items()
    }
    write_peft(PeftLora(content.settings, products), folder)


@pytest.mark.parametrize(
    ('old', 'new', 'rows', 'text'),
    [
        ('attn.qkv', 'mlp.fc1', 48, "changes 'blocks.0.mlp.fc1'.*blocks.0.attn.qkv.*target_mod"),
        ('blocks.2', 'blocks.7', 48, "changes 'blocks.7.attn.qkv'.*blocks.2.attn.qkv"),
        ('', '', 32, r'for blocks.0.attn.qkv has the shape \(32, 16\), .* net \(48, 16\)'),
    ],
)
def test_other_layers_are_refused_by_name(
    peft_folder: Path, old: str, new: str, rows: int, text: str, tmp_path: Path
) -> None:
    renamed(peft_folder, old, new, rows)
    with pytest.raises(ValueError, match=f"peft' does not fit 'vit_tiny_patch16_224'.*{text}"):
        import_peft(peft_folder, tmp_path / 'out.safetensors', net_of('timm_vit'))
    assert not (tmp_path / 'out.safetensors').exists()


def test_another_net_is_refused(peft_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit 'swin_tiny_.*layers.0.blocks.0.attn.qkv"):
        import_peft(peft_folder, tmp_path / 'out.safetensors', net_of('timm_swin'))
    with pytest.raises(ValueError, match="model_name='vit_none' is invalid: timm does not know it"):
        import_peft(peft_folder, tmp_path / 'out.safetensors', dict(model_name='vit_none'))
    wider = {**net_of('timm_vit'), 'embed_dim': 32}
    with pytest.raises(ValueError, match='as a PEFT folder: adapter tensor .*this model'):
        export_peft(tmp_path / 'lora.task.safetensors', tmp_path / 'new', wider)
    with pytest.raises(ValueError, match='last-9'):
        task = task_of(adapted('timm_vit', blocks='last-3'), tmp_path)
        export_peft(_with(task, blocks='last-9'), tmp_path / 'new', net_of('timm_vit'))
    assert not (tmp_path / 'new').exists()


def _with(task: Path, adapter: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Change the tuning config of a task file, with a valid digest."""
    content = read_content(task)
    content.metadata['tuning'].update(changes)
    content.metadata['tuning']['adapter'].update(adapter or {})
    write_content(task, content)
    return task


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(type='HighwayBackbone'), 'expected LoRA in the path alone'),
        (dict(adapter=dict(type='AdaptFormer')), 'expected LoRA in the path alone'),
        (dict(quantizer=dict(type='os.system', command='x')), 'expected LoRA in the path alone'),
        (dict(adapter=dict(rank=10**9)), 'its rank is 1000000000'),
        (dict(adapter=dict(rank='a')), "its rank is 'a'"),
        (dict(adapter=dict(targets='z')), "targets='z'"),
        (dict(adapter=dict(scale=0)), 'scale=0'),
        (dict(adapter=dict(more=0)), r"its LoRA has \['more'\]"),
        (dict(adapter=dict(channels=10**10)), 'expected only rank, targets and scale'),
        (dict(blocks=7), 'this model'),
        (dict(blocks='(.+)+!'), 'it has blocks='),
        (dict(blocks='.*.*.*!'), 'it has blocks='),
        (dict(blocks='(.|.)(.|.)!'), 'it has blocks='),
        (dict(blocks='.|' * 9999), 'it has blocks='),
    ],
    ids=str,
)
def test_other_tasks_are_refused(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    task = _with(task_of(adapted('timm_vit'), tmp_path), **changes)
    with pytest.raises(ValueError, match=f'cannot be written as a PEFT folder: .*{text}'):
        export_peft(task, tmp_path / 'new', net_of('timm_vit'))
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('name', ['eva02_base_patch14_448', 'pvt_v2_b0'])
def test_separate_projections_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"model_name='{name}' is invalid: .* are separate"):
        find_projections(dict(model_name=name))
