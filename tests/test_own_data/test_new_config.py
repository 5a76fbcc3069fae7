"""A folder of annotated images becomes a config that trains."""

from __future__ import annotations

import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import annotation_writers as writers
import numpy as np
import pytest
import timm
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmqadapter.data_checks import check_dataset
from mmqadapter.own_data import Choices, new_config
from mmqadapter.own_data.models import MODELS, describe_model

new_config_module = import_module('mmqadapter.own_data.new_config')  # the function has its name
PARTS = ('train', 'val')
CHOICES = Choices(iterations=20, batch=2)


def data_set(cfg: Config, part: str) -> Any:
    """Build the data set of a dataloader of the config."""
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg[f'{part}_dataloader'].dataset)


def _image_names(data: Any) -> list[str]:
    return [Path(data.get_data_info(number)['img_path']).name for number in range(len(data))]


@pytest.mark.parametrize('name', ['coco', 'yolo', 'voc', 'labelme', 'cvat', 'supervisely'])
def test_training_reads_the_boxes_of_every_format(tmp_path: Path, name: str) -> None:
    root = tmp_path / 'data'
    getattr(writers, name)(root)
    before = sorted(root.rglob('*'))
    written = new_config(root, tmp_path / 'task.py', CHOICES)
    cfg = Config.fromfile(written.path)
    sample = data_set(cfg, 'val')[0]['data_samples']
    expected = writers.OUTLINES[Path(sample.img_path).stem]
    objects = sample.gt_instances
    assert [cfg.classes[label] for label in objects.labels] == [label for label, _ in expected]
    boxes = [list(writers.box(outline)) for _, outline in expected]
    height = sample.img_shape[0] / writers.SIZE[1]
    assert objects.bboxes.tensor.numpy() / height == pytest.approx(np.array(boxes), abs=0.01)
    assert ('masks' in objects) == (name != 'voc')
    assert written.converted == tmp_path / 'data_mmqadapter'
    assert sorted(root.rglob('*')) == before


def test_coco_files_with_a_split_are_used_as_they_are(tmp_path: Path) -> None:
    for split in ('train', 'val'):
        writers.coco(tmp_path / 'data' / split)
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    assert written.converted is None
    cfg = Config.fromfile(written.path)
    assert cfg.train_dataloader.dataset.ann_file == 'train/annotations.json'
    assert len(data_set(cfg, 'train')) == 2


def test_crowd_regions_stay_crowd_regions(tmp_path: Path) -> None:
    writers.coco(tmp_path / 'data')
    file = tmp_path / 'data' / 'annotations.json'
    content = json.loads(file.read_text())
    height, width = writers.SIZE[::-1]
    rle = {'size': [height, width], 'counts': [0, height * width]}
    content['annotations'][0].update(iscrowd=1, segmentation=rle)
    file.write_text(json.dumps(content))
    new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    folder = tmp_path / 'data_mmqadapter'
    written = [json.loads((folder / f'instances_{part}.json').read_text()) for part in PARTS]
    (crowd,) = [a for part in written for a in part['annotations'] if a['iscrowd']]
    assert crowd['segmentation'] == rle
    assert crowd['area'] == height * width


def test_label_maps_are_used_as_they_are(tmp_path: Path) -> None:
    for split in ('train', 'val'):
        writers.label_maps(tmp_path / 'data' / split)
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    assert written.converted is None
    sample = data_set(Config.fromfile(written.path), 'val')[0]['data_samples']
    assert np.unique(sample.gt_sem_seg.data).tolist() == [0, 1, 2]


def test_a_split_is_drawn_where_there_is_none(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    for number in range(8):
        for folder in ('images', 'annotations'):
            file = tmp_path / 'data' / folder / 'a.png'
            shutil.copy(file, file.with_name(f'more{number}.png'))
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    cfg = Config.fromfile(written.path)
    names = [set(_image_names(data_set(cfg, part))) for part in ('train', 'val')]
    assert [len(part) for part in names] == [8, 2]
    assert not names[0] & names[1]
    assert written.split == 'no validation split: 2 of 10 images drawn (seed 0)'


def test_masks_of_0_and_255_are_converted(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data', (0, 255, 255))
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    cfg = Config.fromfile(written.path)
    assert cfg.classes == ('background', 'object')
    sample = data_set(cfg, 'train')[0]['data_samples']
    assert np.unique(sample.gt_sem_seg.data).tolist() == [0, 1]
    stored = np.asarray(Image.open(tmp_path / 'data' / 'annotations' / 'a.png'))
    assert np.unique(stored).tolist() == [0, 255]


def test_label_maps_that_were_converted_are_not_taken_for_unused_images(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data', (0, 255, 255))
    written = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    assert check_dataset(Config.fromfile(written.path)) == []


def test_converted_label_maps_of_a_split_with_equal_names(tmp_path: Path) -> None:
    for split, values in (('train', (0, 255, 255)), ('val', (255, 0, 0))):
        writers.label_maps(tmp_path / 'data' / split, values)
    cfg = Config.fromfile(new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES).path)
    corners = [data_set(cfg, part)[0]['data_samples'].gt_sem_seg.data[0, 0, 0] for part in PARTS]
    assert [int(corner) for corner in corners] == [0, 1]


def test_images_of_several_kinds(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    Image.open(tmp_path / 'data' / 'images' / 'a.png').save(tmp_path / 'data' / 'images' / 'a.jpg')
    (tmp_path / 'data' / 'images' / 'a.png').unlink()
    cfg = Config.fromfile(new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES).path)
    paths = {
        Path(data_set(cfg, part)[0]['data_samples'].img_path).name for part in ('train', 'val')
    }
    assert paths == {'a.jpg', 'b.png'}


@pytest.mark.parametrize('method', ['highway', 'adapter', 'lora', 'mona', 'frozen', 'full'])
def test_methods(tmp_path: Path, method: str) -> None:
    writers.label_maps(tmp_path / 'data')
    choices = Choices(method=method, bits=2)
    cfg = Config.fromfile(new_config(tmp_path / 'data', tmp_path / 'task.py', choices).path)
    keys = cfg.optim_wrapper.paramwise_cfg.get('custom_keys', {})
    assert set(keys) == {'frozen': set(), 'full': {'backbone'}}.get(method, {'adapters'})
    if method not in ('frozen', 'full'):
        assert cfg.model.backbone.quantizer.bits == 2


@pytest.mark.parametrize('model', ['vit-small', 'dinov2-base', 'swin-tiny', 'convnext-base'])
def test_models(tmp_path: Path, model: str) -> None:
    writers.coco(tmp_path / 'data')
    cfg = Config.fromfile(new_config(tmp_path / 'data', tmp_path / 'task.py', Choices(model)).path)
    pyramid = not cfg.model.backbone.backbone.model_name.startswith('vit')
    neck = cfg.model.neck if pyramid else cfg.model.neck[1]
    expected = {
        'vit-small': [384] * 4,
        'dinov2-base': [768] * 4,
        'swin-tiny': [96, 192, 384, 768],
        'convnext-base': [128, 256, 512, 1024],
    }
    assert list(neck.in_channels) == expected[model]
    patches = 3.5 if model == 'dinov2-base' else 4
    strides = [patches * scale for scale in (1, 2, 4, 8)]
    assert cfg.model.rpn_head.anchor_generator.strides == [*strides, patches * 16]
    heads = cfg.model.roi_head
    for extractor in (heads.bbox_roi_extractor, heads.mask_roi_extractor):
        assert extractor.featmap_strides == strides
    if model == 'dinov2-base':
        assert cfg.model.data_preprocessor.mean == [123.675, 116.28, 103.53]


@pytest.mark.parametrize('short', MODELS)
def test_short_names_are_names_of_timm_with_weights(short: str) -> None:
    model = describe_model(short)
    assert timm.is_model_pretrained(model.name)
    assert len(model.channels) == len(model.out_indices) == 4
    assert model.pyramid == (len(set(model.channels)) > 1)
    assert model.patch in ((4,) if model.pyramid else (14, 16))


def test_wrong_choices(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    out = tmp_path / 'task.py'
    with pytest.raises(ValueError, match="model='dinov2-bass' is unknown.*Similar: dinov2-base"):
        new_config(tmp_path / 'data', out, Choices('dinov2-bass'))
    with pytest.raises(ValueError, match="method='side' is unknown: expected one of highway"):
        new_config(tmp_path / 'data', out, Choices(method='side'))
    with pytest.raises(ValueError, match='1 class names are given, but the data have 3 classes'):
        new_config(tmp_path / 'data', out, Choices(classes=('leaf',)))
    with pytest.raises(ValueError, match='iterations=0 is invalid: expected 2 or more'):
        new_config(tmp_path / 'data', out, Choices(iterations=0))
    with pytest.raises(ValueError, match='batch=0 is invalid: expected 1 or more'):
        new_config(tmp_path / 'data', out, Choices(batch=0))
    with pytest.raises(ValueError, match='batch=1 is invalid: expected 2 or more'):
        new_config(tmp_path / 'data', out, Choices(batch=1))
    with pytest.raises(ValueError, match=r'expected a file name that ends in \.py'):
        new_config(tmp_path / 'data', tmp_path / 'task', CHOICES)
    assert list(tmp_path.iterdir()) == [tmp_path / 'data']


@pytest.mark.parametrize(
    ('choices', 'error', 'message'),
    [
        (Choices('convnext-tiny', 'lora'), ValueError, "'LoRA' is invalid for timm ConvNeXt"),
        (Choices('tiny_vit_5m_224'), ValueError, "downsample='inherited' is invalid"),
        (Choices(method='full', checkpoint='a.pth'), FileNotFoundError, "'a.pth' is not a file"),
    ],
)
def test_what_the_net_would_refuse_is_refused_before_anything_is_written(
    tmp_path: Path, choices: Choices, error: type[Exception], message: str
) -> None:
    writers.yolo(tmp_path / 'data')
    with pytest.raises(error, match=message):
        new_config(tmp_path / 'data', tmp_path / 'task.py', choices)
    assert list(tmp_path.iterdir()) == [tmp_path / 'data']


def test_images_that_are_not_read_are_counted(tmp_path: Path) -> None:
    writers.coco(tmp_path / 'data')
    (tmp_path / 'data' / 'c.gif').write_bytes(b'')
    notes = new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES).notes
    assert notes == ['1 .gif files are left out; convert them to PNG to use them']


@pytest.mark.parametrize(
    ('model', 'missing', 'name'),
    [
        ('vit-tiny', 'mmseg', 'mmsegmentation'),  # the neck of a ViT
        ('vit-tiny', 'mmdet', 'mmdetection'),
        ('swin-tiny', 'mmseg', None),
    ],
)
def test_a_package_that_the_config_needs_is_named(
    tmp_path: Path, monkeypatch, model: str, missing: str, name: str | None
) -> None:
    writers.coco(tmp_path / 'data')
    monkeypatch.setattr(new_config_module, 'find_spec', lambda module: module != missing or None)
    out, choices = tmp_path / 'task.py', Choices(model=model, iterations=20, batch=2)
    if name is None:
        new_config(tmp_path / 'data', out, choices)
        return
    extra = f"pip install 'mmqadapter[{missing.removeprefix('mm')}]'"
    text = f'needs {name}, which is not installed; run `{extra}`, or `pip install {name}`'
    with pytest.raises(ValueError, match=re.escape(text)):
        new_config(tmp_path / 'data', out, choices)
    assert list(tmp_path.iterdir()) == [tmp_path / 'data']


def test_class_folders_without_mmpretrain_leave_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    for name in ('leaf', 'spot'):
        writers.draw(tmp_path / 'data' / name / 'a.png', 'a')
    found = new_config_module.find_spec
    hidden = {'mmpretrain'}
    monkeypatch.setattr(
        new_config_module, 'find_spec', lambda name: None if name in hidden else found(name)
    )
    with pytest.raises(ValueError, match=r"not installed; run `pip install 'mmqadapter\[cls\]'`"):
        new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES)
    assert list(tmp_path.iterdir()) == [tmp_path / 'data']


def test_a_very_short_training_has_a_schedule(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    new_config(tmp_path / 'data', tmp_path / 'task.py', Choices(iterations=5))
    cfg = Config.fromfile(tmp_path / 'task.py')
    assert cfg.train_cfg.val_interval == 1
    assert [(part.begin, part.end) for part in cfg.param_scheduler] == [(0, 1), (1, 5)]


def test_an_existing_config_stays(tmp_path: Path) -> None:
    writers.label_maps(tmp_path / 'data')
    out = tmp_path / 'task.py'
    out.write_text('mine')
    with pytest.raises(ValueError, match='exists: choose another name, or replace it with --force'):
        new_config(tmp_path / 'data', out, CHOICES)
    assert out.read_text() == 'mine'


def test_hostile_class_names_stay_text(tmp_path: Path) -> None:
    writers.coco(tmp_path / 'data')
    file = tmp_path / 'data' / 'annotations.json'
    content = json.loads(file.read_text())
    content['categories'][0]['name'] = 'leaf\'\n""" + exit() + \''
    file.write_text(json.dumps(content))
    cfg = Config.fromfile(new_config(tmp_path / 'data', tmp_path / 'task.py', CHOICES).path)
    assert cfg.classes[0] == content['categories'][0]['name']
