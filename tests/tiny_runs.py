"""Configs, data and trained weights of tiny tasks, for the tests of the tools."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.visualization import Visualizer
from shared_files import made_once
from tiny_data import CLASSES, write_data

ROOT = Path(__file__).parents[1]
SWIN: dict[str, Any] = dict(
    pretrain_img_size=64,
    embed_dims=8,
    depths=(2, 2),
    num_heads=(1, 2),
    strides=(4, 2),
    window_size=4,
    out_indices=(0, 1),
)

SEMANTIC = """
custom_imports = dict(imports=['mmqadapter'])
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64)),
    backbone={backbone!r},
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=1, channels=8, num_convs=1, num_classes=3,
        norm_cfg=dict(type='SyncBN'),
        loss_decode=dict(type='CrossEntropyLoss', class_weight=[0.1, 1.0, 4.0])),
    test_cfg=dict(mode='whole'),
)
def _loader(split, pipeline, **options):
    return dict(batch_size=2, num_workers=0, **options, dataset=dict(
        type='BaseSegDataset', data_root={root!r}, metainfo=dict(classes={classes!r}),
        data_prefix=dict(img_path='images', seg_map_path='labels'), pipeline=pipeline))
_load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_dataloader = _loader(
    'train', [*_load, dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')],
    sampler=dict(type='InfiniteSampler', shuffle=True))
val_dataloader = _loader(
    'val', [*_load, dict(type='PackSegInputs')], sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
"""

INSTANCES = """
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
custom_imports = dict(imports=['mmqadapter'])
default_scope = 'mmdet'
_few = dict(nms_pre=100, max_per_img=20)
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(_delete_=True, **{backbone!r}),
    neck=dict(in_channels=[8, 16], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        mask_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=3),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=3)),
    train_cfg=dict(rpn_proposal=_few), test_cfg=dict(rpn=_few, rcnn=dict(score_thr=0.0)),
)
def _loader(pipeline, **options):
    return dict(batch_size=2, num_workers=0, **options, dataset=dict(
        type='CocoDataset', data_root={root!r}, metainfo=dict(classes={classes!r}),
        ann_file='instances.json', data_prefix=dict(img='images/'), pipeline=pipeline))
_load = [dict(type='LoadImageFromFile'),
         dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
_resize = dict(type='Resize', scale=(64, 64), keep_ratio=True)
train_dataloader = _loader(
    [*_load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')],
    sampler=dict(type='InfiniteSampler', shuffle=True))
val_dataloader = _loader(
    [_load[0], _resize, _load[1], dict(type='PackDetInputs', meta_keys=_keys)],
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(
    type='CocoMetric', ann_file={root!r} + '/instances.json', metric=['bbox', 'segm'])
"""

SCHEDULE = """
test_dataloader = val_dataloader
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr={lr!r}))
log_processor = dict(by_epoch=False)
env_cfg = dict(dist_cfg=dict(backend='gloo'))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=2, save_best={best!r}))
custom_hooks = [
    dict(type='mmqadapter.PretrainedTrunkHook'), dict(type='mmqadapter.ExactResumeHook'),
    dict(type='mmqadapter.EfficiencyHook', interval=2)]
"""


@dataclass(frozen=True)
class Run:
    """A tiny task: its config, its images, and the work dir of four trained iterations."""

    config: str
    images: Path
    work_dir: Path

    @property
    def task(self) -> str:
        return str(self.work_dir / 'last.task.safetensors')

    @property
    def checkpoint(self) -> str:
        return str(self.work_dir / 'iter_4.pth')

    def last_score(self, metric: str) -> float:
        """What the last validation of the training gave."""
        log = next(self.work_dir.glob('*/vis_data/scalars.json')).read_text()
        lines = [json.loads(line) for line in log.splitlines()]
        return [line[metric] for line in lines if metric in line][-1]


def tool(name: str) -> Callable[..., int]:
    """``main`` of tools/``name``.py."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def forget() -> None:
    """mmengine keeps loggers, visualizers and scopes by name for the life of the process."""
    for manager in (MMLogger, MessageHub, Visualizer, DefaultScope):
        manager._instance_dict.clear()


@pytest.fixture(autouse=True)
def fresh_globals() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture(scope='session')
def semantic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Semantic segmentation by a tiny Swin of mmseg."""
    return _trained(tmp_path_factory, 'semantic', SEMANTIC, 'mmseg', lr=0.1, best='mIoU')


@pytest.fixture(scope='session')
def instances(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Instance segmentation by a tiny Swin of mmdet."""
    return _trained(tmp_path_factory, 'instances', INSTANCES, 'mmdet', lr=0.01, best=None)


def _trained(
    factory: pytest.TempPathFactory, name: str, template: str, package: str, **values: Any
) -> Run:
    """Return the run ``name``, trained once for all workers."""
    root = made_once(factory, name, lambda root: _train(root, template + SCHEDULE, package, values))
    return _run(root)


def _run(root: Path) -> Run:
    return Run(str(root / 'tiny.py'), root / 'images', root / 'work')


def _train(root: Path, text: str, package: str, values: dict[str, Any]) -> None:
    torch.manual_seed(ord(package[2]))  # another trunk for each
    write_data(root)
    values = dict(values, backbone=_backbone(root, package), root=str(root), classes=CLASSES)
    for name, value in values.items():
        text = text.replace(f'{{{name}!r}}', repr(value))
    run = _run(root)
    Path(run.config).write_text(text)
    assert tool('train')([run.config, '--work-dir', str(run.work_dir)]) == 0
    forget()


def _backbone(root: Path, package: str) -> dict[str, Any]:
    """A tuned backbone whose "pretrained" trunk is random, but the same each time it loads."""
    bare = {'type': f'{package}.SwinTransformer', **SWIN}
    weights = root / 'trunk.pth'
    state = MODELS.build(dict(bare)).state_dict()
    torch.save({f'backbone.{name}': tensor for name, tensor in state.items()}, weights)
    return dict(
        type='mmqadapter.AdaptedBackbone',
        backbone={**bare, 'init_cfg': dict(type='Pretrained', checkpoint=str(weights))},
        adapter=dict(type='AdaptFormer', width=4),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    )
