from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config
from tiny_runs import ROOT

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.report.image_size import largest_image_size
from mmqadapter.studies.report.settings import Settings

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackDetInputs')


def resize(scale: Any, kind: str = 'Resize', **options: Any) -> dict[str, Any]:
    name = 'scales' if isinstance(scale, list) else 'scale'
    return dict(type=kind, **{name: scale}, **options)


def crop(size: Any, **options: Any) -> dict[str, Any]:
    return dict(type='RandomCrop', crop_size=size, **options)


WIDE = resize((1333, 800), keep_ratio=True)
SCALES = resize([(480, 1333), (800, 1333)], 'RandomChoiceResize', keep_ratio=True)
RELATIVE = crop((384, 600), crop_type='absolute_range')
CASES = {
    'one scale': ([WIDE], (800, 1333)),
    'the largest of several': ([SCALES], (800, 1333)),
    'without the ratio': ([resize((320, 240))], (240, 320)),
    'one side': ([dict(type='RandomResizedCrop', scale=128)], (128, 128)),
    'a range': ([resize((320, 240), 'RandomResize', ratio_range=(0.5, 2.0))], (480, 640)),
    'a crop comes last': ([WIDE, crop((512, 640))], (512, 640)),
    'a crop of unknown size does not count': ([WIDE, RELATIVE], (800, 1333)),
    'branches': (
        [dict(type='RandomChoice', transforms=[[resize((64, 64))], [RELATIVE, SCALES]])],
        (800, 1333),
    ),
    'no size': ([dict(type='RandomFlip')], None),
}


def config(pipeline: list, **model: Any) -> Config:
    dataset = dict(type='CocoDataset', pipeline=[LOAD, *pipeline, PACK])
    return Config(dict(model=model, train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('case', CASES)
def test_the_largest_image_of_a_pipeline(case: str) -> None:
    pipeline, size = CASES[case]
    assert largest_image_size(config(pipeline)) == size


def test_the_size_of_the_preprocessor_comes_first() -> None:
    cfg = config([WIDE], data_preprocessor=dict(size=(512, 256)))
    assert largest_image_size(cfg) == (512, 256)


def test_a_pipeline_around_wrapped_data_decides() -> None:
    cfg = config([resize((64, 64))])
    cfg.train_dataloader.dataset = dict(
        type='MultiImageMixDataset', dataset=cfg.train_dataloader.dataset, pipeline=[WIDE, PACK]
    )
    assert largest_image_size(cfg) == (800, 1333)
    cfg.train_dataloader.dataset.pipeline = [dict(type='RandomFlip')]
    assert largest_image_size(cfg) == (64, 64)


def test_no_data_have_no_size() -> None:
    assert largest_image_size(Config(dict(model={}))) is None


@pytest.mark.parametrize(
    ('name', 'size'),
    [
        ('cascade-mask-rcnn_swin-b_3x_coco', (800, 1333)),
        ('retinanet_swin-l_voc0712', (600, 1000)),
        ('upernet_swin-l_160k_ade20k', (512, 512)),
    ],
)
def test_configs_of_the_zoo(name: str, size: tuple[int, int]) -> None:
    assert largest_image_size(load_config(str(ROOT / f'configs/zoo/{name}.py'), None)) == size


def test_a_classifier_is_measured_at_the_size_of_its_pipeline() -> None:
    cfg = config([dict(type='RandomResizedCrop', scale=128)], type='ImageClassifier')
    cfg.default_scope = 'mmpretrain'
    assert Settings(torch.device('cpu')).completed(cfg).image_size == (128, 128)
    assert Settings(torch.device('cpu'), image_size=(64, 96)).completed(cfg).image_size == (64, 96)
