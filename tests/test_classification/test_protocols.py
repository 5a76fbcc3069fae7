"""A task of VTAB-1K and a few-shot episode of FGVC, from images laid out as in the archives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from class_images import COLORS, write_image
from mmengine.config import Config

from mmqadapter import inspect_task
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.cli.main import main
from mmqadapter.taskfile.adapter_codec import encode_adapters

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
SHIPPED = Path(__file__).resolve().parents[2] / 'configs/classification'
TINY = dict(embed_dim=32, depth=2, num_heads=2)


def write_list(path: Path, images: Path, prefix: str, labels: list[int], count: int) -> None:
    """Write ``count`` images of each label and their list; the color tells the label."""
    lines = []
    for label, color in zip(labels, COLORS.values(), strict=False):
        for index in range(count):
            name = f'{path.name}-{label}-{index}.png'
            write_image(images / name, color, 100 * label + index)
            lines.append(f'{prefix}{name} {label}\n')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(lines))


def vtab(root: Path, patch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Task of four classes with its four lists; the name of the config and the classes."""
    patch.setenv('VTAB_TASK', 'kitti')
    folder = root / 'vtab-1k' / 'kitti'
    for name, count in (('train800', 3), ('val200', 1), ('train800val200', 4), ('test', 2)):
        write_list(folder / f'{name}.txt', folder / 'images', 'images/', [0, 1, 3], count)
    return 'vit-b_qadapter_vtab-1k.py', 4


def fgvc(root: Path, patch: pytest.MonkeyPatch) -> tuple[str, int]:
    """Episode of four shots of three of the 37 classes."""
    for name, value in (('SET', 'oxford_pets'), ('SHOTS', '4'), ('SEED', '2')):
        patch.setenv(f'FGVC_{name}', value)
    folder = root / 'fgvc' / 'oxford_pets'
    lists = folder / 'annotations'
    write_list(lists / 'train_meta.list.num_shot_4.seed_2', folder / 'images', '', [0, 17, 36], 4)
    write_list(lists / 'test_meta.list', folder / 'images', '', [0, 17, 36], 2)
    return 'vit-b_qadapter_fgvc.py', 37


def small(name: str, folder: Path) -> Path:
    """The shipped config with a tiny net of random weights and a few steps."""
    torch.manual_seed(0)
    net = timm.create_model('vit_tiny_patch16_224', **TINY)
    torch.save(net.state_dict(), folder / 'vit.pth')
    cfg = Config.fromfile(SHIPPED / name)
    weights = dict(checkpoint=str(folder / 'vit.pth'), pretrained=False)
    trunk = dict(model_name='vit_tiny_patch16_224', out_indices=(1,), **TINY, **weights)
    options: dict[str, Any] = dict(
        model=dict(backbone=dict(backbone=trunk), head=dict(in_channels=32)),
        train_cfg=dict(max_iters=40, val_interval=40),
        optim_wrapper=dict(optimizer=dict(lr=1e-2)),
        work_dir=str(folder / 'work'),
        param_scheduler=[],
    )
    cfg.merge_from_dict(options)
    cfg.train_dataloader.batch_size = 6
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.dump(folder / 'task.py')
    return folder / 'task.py'


@pytest.mark.parametrize('protocol', [vtab, fgvc])
def test_it_trains_and_is_tested(
    protocol: Callable[..., tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('MMQADAPTER_DATA', str(tmp_path))
    name, classes = protocol(tmp_path, monkeypatch)
    config = small(name, tmp_path)
    assert main(['train', str(config)]) == 0
    (task,) = (tmp_path / 'work').glob('*.task.safetensors')
    sizes = inspect_task(task)['bytes']
    # Two blocks of two matrices of 32 x 32 codes of 1 bit, with a mean and a deviation each.
    assert sizes['adapters'] == 2 * 2 * (32 * 32 // 8 + 8)
    assert sizes['head'] == 4 * classes * (32 + 1)
    assert not main(['test', str(config), str(task), '--work-dir', str(tmp_path / 'test')])
    (scores,) = (tmp_path / 'test').rglob('*.json')
    assert json.loads(scores.read_text())['accuracy/top1'] == 100


@pytest.mark.parametrize(
    ('adapter', 'bits', 'size'),
    [
        (dict(type='AdaptFormer', width=32), 1, 73_920),
        (dict(type='AdaptFormer', width=1), 1, 2_496),
        (dict(type='LoRA', rank=32), 1, 147_840),
        (dict(type='LoRA', rank=1), 1, 4_992),
        # Equal bytes of codes: bits x width = 32.
        (dict(type='AdaptFormer', width=16), 2, 73_920),
        (dict(type='AdaptFormer', width=8), 4, 73_920),
        (dict(type='AdaptFormer', width=4), 8, 73_920),
        (dict(type='AdaptFormer', width=1), 32, 73_728),
        (dict(type='AdaptFormer', width=8), 32, 589_824),
        (dict(type='LoRA', rank=8), 32, 1_179_648),
    ],
    ids=str,
)
def test_sizes_in_a_vit_b_are_those_of_the_paper(adapter: dict, bits: int, size: int) -> None:
    """Of arXiv 2307.16867, in 12 blocks: 72.19 KiB for width 32 at 1 bit, and so on."""
    trunk = dict(
        type='mmqadapter.TimmBackbone', model_name='vit_base_patch16_224', depth=1, mlp_ratio=0.01
    )  # adapters do not depend on the MLPs
    backbone = AdaptedBackbone(trunk, adapter, dict(type='GaussianQuantizer', bits=bits))
    sizes = [tensor.nbytes for tensor in encode_adapters(backbone.adapters).values()]
    assert 12 * sum(sizes) == size
