"""A folder of class folders becomes a config that trains a classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from class_images import COLORS, write_classes
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmqadapter.own_data import Choices, new_config

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
CLASSES = tuple(COLORS)


def written(root: Path, **choices: Any) -> Config:
    out = root.with_name('task.py')
    new_config(root, out, Choices(iterations=20, batch=2, **choices), force=True)
    return Config.fromfile(out)


def paths(cfg: Config, part: str) -> list[str]:
    """Paths of the images of a part."""
    init_default_scope(cfg.default_scope)
    data = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
    return [data.get_data_info(number)['img_path'] for number in range(len(data))]


def labels(cfg: Config, part: str) -> list[tuple[str, str]]:
    """Folder and class name of each image of a part."""
    init_default_scope(cfg.default_scope)
    data = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
    infos = [data.get_data_info(number) for number in range(len(data))]
    names = data.metainfo['classes']
    return [(Path(info['img_path']).parent.name, names[info['gt_label']]) for info in infos]


def test_every_fifth_image_validates(tmp_path: Path) -> None:
    cfg = written(write_classes(tmp_path / 'data', 5))
    train, val = labels(cfg, 'train'), labels(cfg, 'val')
    assert (len(train), len(val)) == (12, 3)
    assert all(folder == name for folder, name in (*train, *val))
    assert cfg.model.head.num_classes == 3


def test_each_class_trains_and_validates(tmp_path: Path) -> None:
    """However small the classes are, and whatever the seed."""
    for seed in range(5):
        cfg = written(write_classes(tmp_path / 'data', 2), seed=seed)
        assert [len(labels(cfg, part)) for part in ('train', 'val')] == [3, 3]
        assert len(set(labels(cfg, 'train'))) == len(set(labels(cfg, 'val'))) == 3


def test_a_split_of_one_image_per_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='every class has one image'):
        written(write_classes(tmp_path / 'data', 1))


def test_a_second_config_keeps_the_split_of_the_first(tmp_path: Path) -> None:
    root, choices = write_classes(tmp_path / 'data', 5), Choices(iterations=20, batch=2)
    first, same, other = (tmp_path / f'{name}.py' for name in ('first', 'same', 'other'))
    new_config(root, first, choices)
    before = sorted(paths(Config.fromfile(first), 'val'))
    new_config(root, same, choices)
    new_config(root, other, replace(choices, seed=3))
    assert sorted(paths(Config.fromfile(first), 'val')) == before
    assert sorted(paths(Config.fromfile(same), 'val')) == before
    cfg = Config.fromfile(other)
    assert sorted(paths(cfg, 'val')) != before
    assert not set(paths(cfg, 'val')) & set(paths(cfg, 'train'))
    lists = sorted(path.name for path in (tmp_path / 'data_mmqadapter').iterdir())
    assert lists == ['train.txt', 'train_2.txt', 'val.txt', 'val_2.txt']


def test_classes_keep_their_numbers_where_a_split_lacks_one(tmp_path: Path) -> None:
    write_classes(tmp_path / 'data' / 'train', 2)
    write_classes(tmp_path / 'data' / 'val', 2, green=COLORS['green'], red=COLORS['red'])
    cfg = written(tmp_path / 'data')
    assert cfg.classes == CLASSES
    assert set(labels(cfg, 'val')) == {('green', 'green'), ('red', 'red')}


@pytest.mark.parametrize(
    ('method', 'wrapper', 'token'),
    [
        ('highway', 'mmqadapter.HighwayBackbone', False),
        ('adapter', 'mmqadapter.AdaptedBackbone', True),
        ('frozen', 'mmqadapter.FrozenBackbone', True),
        ('full', 'mmqadapter.TimmBackbone', True),
    ],
)
def test_what_the_head_reads(tmp_path: Path, method: str, wrapper: str, token: bool) -> None:
    model = written(write_classes(tmp_path / 'data', 2), method=method).model
    assert model.backbone.type == wrapper
    net = model.backbone.get('backbone', model.backbone)
    assert (net.get('out_type'), 'neck' in model) == (
        ('cls_token', False) if token else (None, True)
    )
    assert (net.out_indices, model.head.in_channels) == ((11,), 192)


def test_a_swin_is_read_by_its_mean(tmp_path: Path) -> None:
    root = write_classes(tmp_path / 'data', 2)
    model = written(root, model='swin-tiny', method='adapter').model
    assert model.neck.type == 'GlobalAveragePooling'
    assert (model.backbone.backbone.out_indices, model.head.in_channels) == ((3,), 768)
