from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from PIL import Image

from mmqadapter.data_checks.config import check_dataset, scan_config

pytest.importorskip('mmdet')

ROOT = Path(__file__).parents[2]
LOAD = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


def instance(number: int, image: int, category: int, **changes: Any) -> dict:
    square = [1, 1, 5, 1, 5, 5, 1, 5]
    sound = dict(bbox=[1, 1, 4, 4], area=16, iscrowd=0, segmentation=[square])
    return dict(id=number, image_id=image, category_id=category) | sound | changes


def coco(split: str) -> dict:
    return dict(
        images=[dict(id=i, file_name=f'{split}{i}.png', width=12, height=8) for i in (1, 2)],
        annotations=[instance(1, 1, 10), instance(2, 2, 20)],
        categories=[dict(id=10, name='cat'), dict(id=20, name='dog')],
    )


def write(root: Path, **edited: dict) -> Config:
    """Write sound images, the JSON files as given, and return the config for them."""
    (root / 'images').mkdir(exist_ok=True)
    loaders = {}
    for split in ('train', 'val'):
        for number in (1, 2):
            Image.new('RGB', (12, 8)).save(root / 'images' / f'{split}{number}.png')
        (root / f'{split}.json').write_text(json.dumps(edited.get(split, coco(split))))
        loaders[f'{split}_dataloader'] = dict(
            dataset=dict(
                type='mmdet.CocoDataset',
                data_root=str(root),
                ann_file=f'{split}.json',
                data_prefix=dict(img='images/'),
                metainfo=dict(classes=('cat', 'dog')),
                filter_cfg=dict(filter_empty_gt=True, min_size=4),
                pipeline=LOAD,
            )
        )
    return Config(loaders)


def edit(change: Callable[[dict], Any]) -> dict:
    content = coco('train')
    change(content)
    return content


def test_sound_data_give_no_problem_and_the_instance_counts(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    assert check_dataset(cfg) == []
    assert scan_config(cfg)[0].counts == {'cat': 1, 'dog': 1}


def add(**entry: Any) -> Callable[[dict], Any]:
    return lambda c: c['annotations'].append(instance(3, 1, 10) | entry)


@pytest.mark.parametrize(
    ('change', 'kind', 'message'),
    [
        (add(image_id=9), 'annotation without image', 'image_id 9'),
        (add(category_id=9), 'unknown category', 'category_id 9'),
        (add(id=1), 'duplicate id', 'id 1 occurs 2 times'),
        (add(bbox=[1, 1, 0, 4]), 'degenerate box', 'narrower than one pixel'),
        (add(segmentation=[[1, 1, 2, 2]]), 'unusable mask', 'no polygon'),
        (add(segmentation=[]), 'unusable mask', 'with_mask=True'),
        (add(area=None), 'incomplete entry', '[2] (id 3)has area=None: expected a number'),
        (add(bbox=None), 'incomplete entry', 'has bbox=None: expected a list'),
        (lambda c: c['images'][0].update(width=8, height=12), 'size mismatch', '12 x 8 pixels'),
        (lambda c: c['images'].append(c['images'][0]), 'duplicate id', 'images'),
        (lambda c: c['categories'].reverse(), 'class order', "['dog', 'cat']"),
        (lambda c: c['categories'].append(dict(id=5, name='dog')), 'duplicate category', 'dog'),
    ],
)
def test_a_bad_entry_is_an_error(tmp_path: Path, change: Callable, kind: str, message: str) -> None:
    problems = check_dataset(write(tmp_path, train=edit(change)))
    assert [(x.severity, x.kind) for x in problems] == [('error', kind)]
    assert message in problems[0].where + problems[0].message


def test_a_class_that_the_file_lacks_is_an_error(tmp_path: Path) -> None:
    rename = edit(lambda c: c['categories'][1].update(name='Dog'))
    problems = check_dataset(write(tmp_path, train=rename))
    kinds = [(problem.severity, problem.kind) for problem in problems]
    assert ('error', 'class without category') in kinds
    assert ('error', 'class only in val') in kinds
    assert ('warning', 'category without class') in kinds


def test_images_that_training_leaves_out_are_warnings(tmp_path: Path) -> None:
    extra = edit(lambda c: c['images'].append(dict(c['images'][0], id=3, file_name='3.png')))
    cfg = write(tmp_path, train=extra)
    Image.new('RGB', (12, 8)).save(tmp_path / 'images/3.png')
    Image.new('RGB', (12, 8)).save(tmp_path / 'images/4.jpg')
    problems = check_dataset(cfg)
    found = [(x.severity, x.kind) for x in problems]
    assert found == [('warning', 'image without annotation'), ('warning', 'unused image')]
    assert 'left out (filter_empty_gt)' in problems[0].message


def test_missing_and_broken_images_are_errors(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    (tmp_path / 'images/train1.png').unlink()
    (tmp_path / 'images/train2.png').write_bytes(b'not an image')
    assert [x.kind for x in check_dataset(cfg)] == ['missing image', 'unreadable file']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot be read'),
        ('{', 'not valid JSON'),
        ('{"images": []}', "no list 'annotations'"),
    ],
)
def test_an_unusable_file_is_one_clear_error(
    tmp_path: Path, content: str | None, message: str
) -> None:
    cfg = write(tmp_path)
    (tmp_path / 'val.json').unlink()
    if content:
        (tmp_path / 'val.json').write_text(content)
    problems = check_dataset(cfg)
    assert [problem.kind for problem in problems if problem.where == 'val'] == ['unusable data set']
    assert message in problems[0].message


def test_one_class_without_comma_is_named(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    cfg.train_dataloader.dataset.metainfo.classes = 'cat'
    assert 'with a comma' in check_dataset(cfg)[0].message


def test_the_nuclei_data_are_sound(real_data: Path) -> None:
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/nuclei.py')
    cfg.default_scope = 'mmdet'
    assert check_dataset(cfg) == []
    assert [scan.counts['nucleus'] for scan in scan_config(cfg)] == [2740, 1061]


def test_crowds_are_no_instances_to_learn_from(tmp_path: Path) -> None:
    content = edit(lambda c: c['annotations'][0].update(iscrowd=1))
    problems = check_dataset(write(tmp_path, train=content))
    assert [(x.severity, x.kind) for x in problems] == [
        ('error', 'class only in val'),
        ('warning', 'crowd instances'),
    ]
    assert '1 of 2 instances have iscrowd = 1' in problems[1].message


def test_whole_numbers_may_be_floats(tmp_path: Path) -> None:
    content = edit(lambda c: c['annotations'][0].update(image_id=1.0, category_id=10.0))
    assert check_dataset(write(tmp_path, train=content)) == []
    content = edit(lambda c: c['annotations'][0].update(image_id=1.5))
    assert 'incomplete entry' in {x.kind for x in check_dataset(write(tmp_path, train=content))}
