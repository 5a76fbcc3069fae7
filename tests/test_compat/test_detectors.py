"""One training step and a prediction of each detector, with the operators that mmcv has here.

`make test` runs them with ours (slow), `.venv-ops` with the compiled ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmqadapter  # noqa: F401  before the models of mmdet

CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'
DETECTORS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco',
    'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco',
    'retinanet/retinanet_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'atss/atss_r50_fpn_1x_coco',
    'dyhead/atss_r50_fpn_dyhead_1x_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco',
    'solov2/solov2_r50_fpn_1x_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco',
]


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_a_step_and_a_prediction(name: str) -> None:
    model = detector(name)
    inputs = demo_mm_inputs(
        2,
        [[3, 128, 128]] * 2,
        num_items=[3, 2],
        num_classes=20,
        with_mask='rtmdet_tiny' not in name,
    )
    data = model.data_preprocessor(inputs, training=True)
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    losses.backward()
    assert torch.isfinite(losses)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(inputs, training=False)
        predicted = model(**data, mode='predict')
    assert len(predicted) == 2 and 'pred_instances' in predicted[0]


def detector(name: str) -> Any:
    """A model of mmdet's own config, with random weights."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmdet')
    for part in (config.model, config.model.backbone):
        part.pop('init_cfg', None)
    config.model.data_preprocessor.pop('batch_augments', None)  # to 1024 x 1024
    if config.model.get('num_queries', 0) > 300:  # more than a small image has positions
        config.model.num_queries = 100
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    model.init_weights()  # some parameters of mmdet are not set by their constructors
    return model
