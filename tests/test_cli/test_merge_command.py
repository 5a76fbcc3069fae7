"""tools/task.py merge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_runs import SWIN, Run, tool
from torch import nn

from mmqadapter import save_task
from mmqadapter.engine.runner import build_model, load_config

CLASSES = ['sky', 'box', 'dot']
LORA = dict(type='LoRA', rank=2, scale=2.0)
SEGMENTOR: dict[str, Any] = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), mean=[0.0], std=[1.0]),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=dict(type='SyncBN')),
    test_cfg=dict(mode='whole'),
)  # fmt: skip
DETECTOR: dict[str, Any] = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
    bbox_head=dict(type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8),
)
VIT: dict[str, Any] = dict(
    img_size=(64, 64), patch_size=16, embed_dims=16, num_layers=3, num_heads=2, out_indices=(0, 2),
    final_norm=True)  # fmt: skip
TIMM: dict[str, Any] = dict(
    model_name='vit_tiny_patch16_224', img_size=64, embed_dim=16, depth=3, num_heads=2,
    out_indices=(0, 2))  # fmt: skip
# Default scope, trunk and the rest of the model.
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    'mmseg_swin': ('mmseg', dict(type='mmseg.SwinTransformer', **SWIN), SEGMENTOR),
    'mmseg_vit': ('mmseg', dict(type='mmseg.VisionTransformer', **VIT), SEGMENTOR),
    'mmdet_swin': ('mmdet', dict(type='mmdet.SwinTransformer', **SWIN), DETECTOR),
    'timm_vit': ('mmseg', dict(type='mmqadapter.TimmBackbone', **TIMM), SEGMENTOR),
}


@pytest.fixture
def merge(capsys):
    """``merge(...)``: exit status, output and last error line of tools/task.py merge."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = tool('task')(['merge', *(str(arg) for arg in args)])
        printed = capsys.readouterr()
        return status, printed.out, (printed.err.strip().splitlines() or [''])[-1]

    return call


def write_config(folder: Path, family: str, **tuning: Any) -> Path:
    """Config of a model with all that a training of ours has, and weights for its trunk."""
    scope, trunk, model = FAMILIES[family]
    torch.manual_seed(4)
    weights = str(folder / 'trunk.pth')
    net: Any = MODELS.build(dict(trunk))
    if family == 'timm_vit':
        torch.save(net.model.state_dict(), weights)
        trunk = {**trunk, 'checkpoint': weights}
    else:
        prefix = 'backbone.' if 'swin' in family else ''
        torch.save({f'{prefix}{k}': v for k, v in net.state_dict().items()}, weights)
        trunk = {**trunk, 'init_cfg': dict(type='Pretrained', checkpoint=weights)}
    wrapped = dict(type='mmqadapter.AdaptedBackbone', backbone=trunk, adapter=LORA, **tuning)
    content = dict(
        custom_imports=dict(imports=['mmqadapter']),
        default_scope=scope,
        model={**model, 'backbone': wrapped},
        custom_hooks=[dict(type='mmqadapter.ExactResumeHook'), dict(type='EmptyCacheHook')],
        default_hooks=dict(
            checkpoint=dict(type='mmqadapter.TaskCheckpointHook', interval=5, head_bits=16)
        ),
        optim_wrapper=dict(
            constructor='mmqadapter.TrainableOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=0.1),
        ),
    )
    Config(content).dump(folder / 'tuned.py')
    return folder / 'tuned.py'


def trained(config: Path) -> tuple[Any, Path]:
    """A model of the config that has moved, and its task file."""
    model = build_model(load_config(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    task = config.with_name('lora.task.safetensors')
    save_task(model, task, dict(classes=CLASSES, palette=[[0, 0, 0]] * 3))
    return model, task


def outputs(model: nn.Module) -> list[torch.Tensor]:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = model(images, mode='tensor')
    parts = found if isinstance(found, (list, tuple)) else [found]
    return [m for part in parts for m in (part if isinstance(part, (list, tuple)) else [part])]


@pytest.mark.parametrize('family', FAMILIES)
def test_the_plain_config_and_checkpoint_compute_the_same(
    family: str, merge, tmp_path: Path
) -> None:
    config = write_config(tmp_path, family, quantizer=dict(type='GaussianQuantizer', bits=1))
    model, task = trained(config)
    expected = outputs(model)
    out = tmp_path / 'new' / 'plain.pth'
    status, told, _ = merge(config, task, '--out', out)
    assert status == 0 and f'{out.stat().st_size:,} bytes' in told
    (tmp_path / 'trunk.pth').unlink()  # the plain model needs it no more
    assert {path.name for path in out.parent.iterdir()} == {'plain.pth', 'plain.py'}
    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint['meta']['dataset_meta']['classes'] == CLASSES
    cfg = Config.fromfile(out.with_suffix('.py'))
    init_default_scope(cfg.default_scope)
    plain = MODELS.build(cfg.model)
    plain.load_state_dict(checkpoint['state_dict'])
    for ours, theirs in zip(outputs(plain.eval()), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    text = out.with_suffix('.py').read_text()
    assert ('mmqadapter' in text) == ('which needs mmqadapter' in told) == (family == 'timm_vit')
    assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', interval=5)
    assert cfg.custom_hooks == [dict(type='EmptyCacheHook')]


WITHOUT_US = """
import sys
sys.modules['mmqadapter'] = None
import torch
from mmseg.apis import init_model
model = init_model(sys.argv[1], sys.argv[2], device='cpu')
print(model.dataset_meta['classes'], *model(torch.zeros(1, 3, 64, 64), mode='tensor').shape)
"""


@pytest.mark.slow
def test_mmseg_runs_it_without_this_package(merge, semantic: Run, tmp_path: Path) -> None:
    config = tmp_path / 'tuned.py'
    backbone = f'model = dict(backbone=dict(adapter=dict(_delete_=True, **{LORA!r})))'
    config.write_text(f'_base_ = {semantic.config!r}\n{backbone}\n')
    _, task = trained(config)
    out = tmp_path / 'plain.pth'
    assert merge(config, task, '--out', out)[0] == 0
    command = [sys.executable, '-W', 'ignore', '-c', WITHOUT_US, out.with_suffix('.py'), out]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert told.stdout.strip().endswith("['sky', 'box', 'dot'] 1 3 8 8"), told.stderr


def test_a_checkpoint_merges_as_well(merge, tmp_path: Path) -> None:
    config = write_config(tmp_path, 'mmseg_vit')
    model, task = trained(config)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'iter_4.pth')
    for name, source in {'a.pth': task, 'b.pth': tmp_path / 'iter_4.pth'}.items():
        assert merge(config, source, '--out', tmp_path / name)[0] == 0
    one, other = (torch.load(tmp_path / name)['state_dict'] for name in ('a.pth', 'b.pth'))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_mistakes_are_reported_in_one_line(merge, semantic: Run, tmp_path: Path) -> None:
    out = tmp_path / 'o.pth'
    status, _, told = merge(semantic.config, semantic.task, '--out', out)
    assert status == 1 and 'AdaptFormer cannot be merged' in told and 'LoRA' in told
    config = write_config(tmp_path, 'mmseg_vit')
    assert 'belongs to the trunk' in merge(config, _stranger(tmp_path), '--out', out)[2]
    assert 'must end in .pth' in merge(config, 'x', '--out', tmp_path / 'o.py')[2]
    assert 'would replace' in merge(config, 'x', '--out', config.with_suffix('.pth'))[2]
    assert 'there is no' in merge(config, tmp_path / 'none.pth', '--out', out)[2]
    assert not out.exists() and not out.with_suffix('.py').exists()


def _stranger(folder: Path) -> Path:
    """A task of another trunk."""
    (folder / 'other').mkdir()
    config = write_config(folder / 'other', 'mmseg_vit')
    weights = torch.load(folder / 'other' / 'trunk.pth')
    torch.save({k: v + 1 for k, v in weights.items()}, folder / 'other' / 'trunk.pth')
    return trained(config)[1]
