"""Folders that PEFT itself reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from loras import BITS, NETS, adapted, images, net_of, task_of, timm_net, trunk_file

from mmqadapter import inspect_task, load_task
from mmqadapter.interop.peft import export_peft, import_peft

peft = pytest.importorskip('peft', reason='PEFT is not installed; `make env` brings it')


def last_map(wrapped: Any) -> torch.Tensor:
    """Compute the last features of timm's net, whatever ``out_indices`` the backbone has."""
    return wrapped.trunk.model.forward_features(images())


@pytest.mark.parametrize('bits', BITS)
@pytest.mark.parametrize('targets', [('q', 'v'), ('q', 'k', 'v'), 'qkv'], ids=str)
@pytest.mark.parametrize('family', NETS)
@torch.no_grad()
def test_peft_computes_the_same_with_our_folder(
    family: str, targets: Any, bits: str, tmp_path: Path
) -> None:
    trunk = trunk_file(family, tmp_path)
    wrapped = adapted(family, trunk, targets=targets, quantizer=BITS[bits])
    export_peft(task_of(wrapped, tmp_path), tmp_path / 'peft', net_of(family))
    net = timm_net(family)
    net.load_state_dict(torch.load(trunk))
    plain = net.forward_features(images())
    theirs = peft.PeftModel.from_pretrained(net, tmp_path / 'peft').eval()
    actual = theirs.base_model.model.forward_features(images())
    torch.testing.assert_close(actual, last_map(wrapped), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(actual, plain, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ('family', 'settings'),
    [
        ('timm_vit', dict(r=3, lora_alpha=7)),
        ('timm_vit', dict(r=4, lora_alpha=8, use_rslora=True, init_lora_weights='gaussian')),
        ('timm_vit', dict(r=4, lora_alpha=8, layers_to_transform=[1], layers_pattern='blocks')),
        ('timm_swin', dict(r=3, lora_alpha=7, lora_dropout=0.1)),
    ],
    ids=str,
)
@torch.no_grad()
def test_we_compute_the_same_with_the_folder_of_peft(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    trunk = trunk_file(family, tmp_path)
    net = timm_net(family)
    net.load_state_dict(torch.load(trunk))
    config = peft.LoraConfig(target_modules=['qkv'], **settings)
    theirs = peft.get_peft_model(net, config).eval()
    for name, parameter in theirs.named_parameters():
        if 'lora_B' in name:
            parameter.normal_(std=0.1)
    theirs.save_pretrained(tmp_path / 'peft')
    out = tmp_path / 'lora.task.safetensors'
    import_peft(tmp_path / 'peft', out, {**net_of(family), 'checkpoint': trunk})
    tuning = inspect_task(out)['tuning']
    assert tuning['adapter']['targets'] == 'qkv' and tuning['adapter']['rank'] == settings['r']
    adapter = {k: tuning['adapter'][k] for k in ('rank', 'targets', 'scale')}
    ours = adapted(family, trunk, blocks=tuning['blocks'], **adapter)
    load_task(ours, out)
    expected = theirs.base_model.model.forward_features(images())
    torch.testing.assert_close(last_map(ours), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(target_modules=['qkv', 'fc1']), 'blocks.0.mlp.fc1'),
        (dict(target_modules=['qkv'], use_dora=True), 'use_dora'),
        (dict(target_modules=['qkv'], modules_to_save=['norm']), 'modules_to_save'),
        (dict(target_modules=['qkv'], bias='all'), 'bias'),
        (dict(target_modules=['qkv'], rank_pattern={'blocks.0.attn.qkv': 2}), 'rank_pattern'),
    ],
    ids=str,
)
def test_other_settings_of_peft_are_refused_by_name(
    settings: dict[str, Any], text: str, tmp_path: Path
) -> None:
    net = peft.get_peft_model(timm_net('timm_vit'), peft.LoraConfig(r=4, **settings))
    net.save_pretrained(tmp_path / 'peft')
    with pytest.raises(ValueError, match=text):
        import_peft(tmp_path / 'peft', tmp_path / 'out.safetensors', net_of('timm_vit'))
    assert not (tmp_path / 'out.safetensors').exists()
