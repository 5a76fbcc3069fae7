"""Small segmentors and detectors of the kinds that are foretold, and the peak of a real step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config, ConfigDict
from torch.utils._python_dispatch import _disable_current_modes

from mmqadapter.studies.benchmark.batches import batch_source
from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.foretell.stand_ins import WRITING
from mmqadapter.studies.report.settings import Settings

SWIN: dict[str, Any] = dict(
    pretrain_img_size=64, embed_dims=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=4
)  # fmt: skip
SIZE = (96, 160)
CHANNELS = [16, 32, 64, 128]
SAMPLER = dict(num=16, pos_fraction=0.25)  # of 8 objects in an image: the caps are reached


def box_head(**options: Any) -> dict[str, Any]:
    return dict(in_channels=32, fc_out_channels=64, num_classes=5, **options)


def mask_head(**options: Any) -> dict[str, Any]:
    return dict(in_channels=32, conv_out_channels=32, num_classes=5, **options)


EXTRACTORS = dict(
    bbox_roi_extractor=dict(out_channels=32), mask_roi_extractor=dict(out_channels=32)
)
PYRAMID = dict(
    neck=dict(in_channels=CHANNELS, out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32),
)
CHANGES: dict[str, dict[str, Any]] = {
    'upernet_swin': dict(
        data_preprocessor=dict(size=SIZE),
        decode_head=dict(in_channels=CHANNELS, channels=32, num_classes=5),
        auxiliary_head=dict(in_channels=64, channels=16, num_classes=5),
    ),
    'mask-rcnn_r50_fpn': dict(
        PYRAMID,
        roi_head=dict(EXTRACTORS, bbox_head=box_head(), mask_head=mask_head()),
        train_cfg=dict(rcnn=dict(sampler=SAMPLER)),
    ),
    'cascade-mask-rcnn_r50_fpn': dict(PYRAMID, roi_head=dict(EXTRACTORS, mask_head=mask_head())),
    'retinanet_r50_fpn': dict(
        neck=dict(in_channels=CHANNELS, out_channels=32),
        bbox_head=dict(in_channels=32, feat_channels=32, num_classes=5),
    ),
}


def small_config(name: str) -> Config:
    """Config of a kind of model with a small Swin, without data."""
    package = 'mmseg' if name.startswith('upernet') else 'mmdet'
    cfg = Config.fromfile(_base(package, name))
    cfg.default_scope = package
    cfg.merge_from_dict({'model': CHANGES[name]})
    if name.startswith('cascade'):
        for head, stage in zip(cfg.model.roi_head.bbox_head, cfg.model.train_cfg.rcnn, strict=True):
            head.update(box_head())
            stage.sampler.update(SAMPLER)
    cfg.model.backbone = ConfigDict(dict(SWIN, type=f'{package}.SwinTransformer'))
    cfg.optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.1), clip_grad=dict(max_norm=1.0))
    return cfg


def _base(package: str, name: str) -> str:
    module = import_module(package)
    assert module.__file__ is not None
    return f'{module.__file__.rpartition("/")[0]}/.mim/configs/_base_/models/{name}.py'


def settings(cfg: Config, batch_size: int = 2, **options: Any) -> Settings:
    """Settings of a step, as if on a GPU, where detectors take mixed precision."""
    return Settings(torch.device('cuda'), batch_size, SIZE, **options).completed(cfg)


def real_peak(cfg: Config, method: str) -> int:
    """Peak of the bytes of all tensors in a step on this CPU, and not of what operators need."""
    (parsed,) = parse_methods(method)
    chosen = settings(cfg)
    plain = plain_config(cfg, chosen)
    batches = batch_source(plain, chosen)(chosen.batch_size)
    model = ModelBuilder(plain, 0).build(parsed)
    training = Training(model, batches, plain, torch.device('cpu'), amp=False)
    training.step()
    with operators_as_one_call():
        return training.peak_live_bytes()


@contextmanager
def operators_as_one_call() -> Iterator[None]:
    """Hide what our replacements of mmcv's operators do within, as compiled ones do."""

    def hidden(operator: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            with _disable_current_modes():
                operator(*args, **kwargs)

        return call

    operators = import_module('mmcv._ext')
    hide = {name: hidden(getattr(operators, name)) for name in WRITING}
    with patch.multiple(operators, **hide):
        yield


__all__ = ['CHANGES', 'SIZE', 'real_peak', 'settings', 'small_config']
