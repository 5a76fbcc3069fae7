"""What ``check-data`` finds in images with one class each."""

from __future__ import annotations

from pathlib import Path

import pytest
from class_images import COLORS, write_classes
from mmengine.config import Config

from mmqadapter.data_checks import check_dataset

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
CLASSES = tuple(COLORS)


def config(root: Path, **dataset: object) -> Config:
    leaf = dict(type='CustomDataset', data_root=str(root), metainfo=dict(classes=CLASSES))
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(head=dict(num_classes=3)),
            train_dataloader=dict(dataset=dict(leaf, pipeline=pipeline, **dataset)),
        )
    )


def kinds(cfg: Config) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for problem in check_dataset(cfg)]


def lines(root: Path, *entries: str) -> Config:
    (root / 'train.txt').write_text(''.join(f'{entry}\n' for entry in entries))
    return config(root, ann_file='train.txt')


GOOD = ('blue/0.png 0', 'green/0.png 1', 'red/0.png 2')


def test_class_folders_without_a_fault(tmp_path: Path) -> None:
    assert kinds(config(write_classes(tmp_path, 1))) == []


@pytest.mark.parametrize(
    ('entry', 'kind'),
    [
        ('red/1.png 3', 'unknown label'),
        ('red/1.png -1', 'unknown label'),
        ('red/9.png 2', 'missing image'),
        ('red/0.png 1', 'two classes'),
        ('red/0.png 2', 'duplicate file'),
    ],
)
def test_faults_of_a_list(tmp_path: Path, entry: str, kind: str) -> None:
    write_classes(tmp_path, 2)
    (problem,) = kinds(lines(tmp_path, *GOOD, entry))
    assert problem == (kind, f'train: {entry.split()[0]}')


def test_a_list_of_another_form(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    (problem,) = check_dataset(lines(tmp_path, 'red/0.png'))
    assert problem.kind == 'unusable data set'
    assert "'IMAGE NUMBER'" in problem.message


def test_a_class_without_images(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    (problem,) = check_dataset(lines(tmp_path, *GOOD[:2]))
    assert (problem.kind, problem.where) == ('empty class', 'red')
    assert problem.message.startswith('no image; ')


def test_more_folders_than_classes(tmp_path: Path) -> None:
    write_classes(tmp_path, 1)
    write_classes(tmp_path, 1, yellow=(200, 200, 0))
    ((kind, _),) = kinds(config(tmp_path))
    assert kind == 'unusable data set'


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    write_classes(tmp_path, 2)
    (tmp_path / 'red' / '1.png').write_bytes(b'')
    assert kinds(config(tmp_path)) == [('unreadable file', 'train: red/1.png')]
