from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from PIL import Image

from mmqadapter.data_checks.config import check_dataset, scan_config
from mmqadapter.data_checks.source import set_data_root
from mmqadapter.engine.data_configs import leaf_configs

pytest.importorskip('mmseg')
DATASETS.register_module(name='BareDataset', module=type('BareDataset', (BaseDataset,), {}))


def leaf(root: Path, split: str) -> dict:
    return dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'{split}/images', seg_map_path=f'{split}/masks'),
        metainfo=dict(classes=('a', 'b')),
    )


def write(root: Path, split: str, *labels: int) -> None:
    for folder in ('images', 'masks'):
        (root / split / folder).mkdir(parents=True)
    Image.new('RGB', (4, 4)).save(root / split / 'images/x.jpg')
    mask = np.resize(np.array(labels, np.uint8), (4, 4))
    Image.fromarray(mask).save(root / split / 'masks/x.png')


def config(train: dict, val: dict | None = None) -> Config:
    loaders = dict(train_dataloader=dict(dataset=train), val_dataloader=dict(dataset=val))
    return Config(dict(default_scope='mmseg', **loaders))


@pytest.mark.parametrize(
    ('train', 'val', 'kind'),
    [((0, 1), (0,), None), ((0,), (0, 1), 'class only in val'), ((0, 255), (0,), 'empty class')],
)
def test_classes_are_compared_over_the_splits(
    tmp_path: Path, train: tuple, val: tuple, kind: str | None
) -> None:
    write(tmp_path, 'train', *train)
    write(tmp_path, 'val', *val)
    problems = check_dataset(config(leaf(tmp_path, 'train'), leaf(tmp_path, 'val')))
    expected = [] if kind is None else [('error', kind, 'b')]
    assert [(x.severity, x.kind, x.where) for x in problems] == expected


def test_wrapped_data_sets_are_found(tmp_path: Path) -> None:
    write(tmp_path, 'one', 0)
    write(tmp_path, 'two', 1)
    both = dict(type='ConcatDataset', datasets=[leaf(tmp_path, 'one'), leaf(tmp_path, 'two')])
    wrapped = dict(
        type='mmqadapter.SeededDataset', dataset=dict(type='RepeatDataset', times=2, dataset=both)
    )
    assert check_dataset(config(wrapped)) == []  # each class is in one of them
    assert [scan.split for scan in scan_config(config(wrapped))] == ['train[0]', 'train[1]']


def test_an_inner_scope_is_kept() -> None:
    inner = dict(type='CocoDataset')
    assert list(leaf_configs(dict(_scope_='mmdet', dataset=inner), 'mmseg')) == [(inner, 'mmdet')]


def test_validating_on_the_training_images_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, 'train', 0, 1)
    problems = check_dataset(config(leaf(tmp_path, 'train'), leaf(tmp_path, 'train')))
    assert [(x.severity, x.kind) for x in problems] == [('warning', 'image in both splits')]


def test_an_empty_folder_and_differing_classes_are_errors(tmp_path: Path) -> None:
    write(tmp_path, 'train', 0, 1)
    for folder in ('images', 'masks'):
        (tmp_path / 'val' / folder).mkdir(parents=True)
    val = leaf(tmp_path, 'val') | dict(metainfo=dict(classes=('b', 'a')))
    problems = check_dataset(config(leaf(tmp_path, 'train'), val))
    assert [problem.kind for problem in problems] == ['no images', 'class lists differ']


def test_a_missing_root_names_itself_and_the_remedy(tmp_path: Path) -> None:
    cfg = config(leaf(tmp_path / 'absent', 'train'))
    with pytest.raises(FileNotFoundError, match='absent.*data_root.*MMQADAPTER_DATA'):
        check_dataset(cfg)
    write(tmp_path, 'train', 0, 1)
    set_data_root(cfg, str(tmp_path))
    assert check_dataset(cfg) == []


def test_configs_without_usable_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='neither train_dataloader'):
        check_dataset(Config(dict(model=dict())))
    with pytest.raises(ValueError, match="'NoSuchDataset' cannot be built"):
        check_dataset(config(dict(type='NoSuchDataset')))
    with pytest.raises(ValueError, match='is a BareDataset: expected a subclass'):
        check_dataset(config(dict(type='BareDataset', data_root=str(tmp_path))))


def test_a_model_with_too_few_outputs_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 'train', 0, 1)
    cfg = config(leaf(tmp_path, 'train'))
    cfg.model = dict(decode_head=dict(num_classes=1))
    assert [problem.kind for problem in check_dataset(cfg)] == ['class without output']
