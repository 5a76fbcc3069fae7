"""A fault of the data ends a training or a test in one line: file, what is wrong, check-data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image
from tiny_runs import Run, forget, tool

from mmqadapter.engine.data_error import DataError
from mmqadapter.engine.sample_checks import SampleCheck

REMEDY = 'run `mmqadapter check-data CONFIG` to list all faults of the data.'


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Run], Path]:
    """``copied(run)``: a copy of the run's data that a test may break."""

    def copy(run: Run) -> Path:
        root = tmp_path / 'data'
        shutil.copytree(run.images, root / 'images')
        for name in ('labels', 'instances.json'):
            source = run.images.parent / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
        return root

    return copy


@pytest.fixture
def last_line(tmp_path: Path, capsys) -> Callable[..., str]:
    """``last_line(run, args, **cfg_options)``: the last error line of train or test."""

    def call(run: Run, *args: str, name: str = 'train', **options: Any) -> str:
        forget()
        settings = [f'{key.replace("__", ".")}={value}' for key, value in options.items()]
        command = [run.config, *args, '--work-dir', str(tmp_path / 'work')]
        assert tool(name)([*command, '--cfg-options', *settings]) == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    return call


def edit_labels(root: Path, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    path = root / 'labels/2.png'
    Image.fromarray(edit(np.array(Image.open(path)))).save(path)


def with_label(labels: np.ndarray, value: int) -> np.ndarray:
    labels[3, 3] = value
    return labels


SEMANTIC: dict[str, tuple[Callable[[Path], Any], str]] = {
    'no label map': (
        lambda root: (root / 'labels/2.png').unlink(),
        'labels/2.png: the file does not exist',
    ),
    'empty image': (
        lambda root: (root / 'images/2.jpg').write_bytes(b''),
        'images/2.jpg: cannot be decoded as an image',
    ),
    'text as image': (
        lambda root: (root / 'images/2.jpg').write_text('not an image'),
        'images/2.jpg: cannot be decoded as an image',
    ),
    'broken label map': (
        lambda root: (root / 'labels/2.png').write_bytes(b'PNG?'),
        'labels/2.png: its annotation cannot be loaded (UnidentifiedImageError',
    ),
    'other size': (
        lambda root: edit_labels(root, lambda labels: labels[:40]),
        'labels/2.png: the label map is 64 x 40 pixels, its image 64 x 64',
    ),
    'unknown label': (
        lambda root: edit_labels(root, lambda labels: with_label(labels, 7)),
        'labels/2.png: has the label 7: expected 0 to 2 for the 3 classes, or 255 (ignored)',
    ),
    'label beyond 8 bits': (
        lambda root: edit_labels(root, lambda labels: with_label(labels.astype(np.uint16), 259)),
        'labels/2.png: has the label 259, which wraps when it is loaded as 8 bits',
    ),
    'colors': (
        lambda root: edit_labels(root, lambda labels: np.stack([labels] * 3, axis=-1)),
        'labels/2.png: the label map has 3 channels',
    ),
}


@pytest.mark.parametrize('fault', SEMANTIC)
def test_faults_of_label_maps_stop_a_training(semantic: Run, copied, last_line, fault: str) -> None:
    root = copied(semantic)
    break_data, message = SEMANTIC[fault]
    break_data(root)
    line = last_line(semantic, train_dataloader__dataset__data_root=root)
    assert line.startswith(f'DataError: {root}/{message}') and line.endswith(REMEDY)


def test_an_image_that_a_list_names_but_the_folder_lacks(semantic: Run, copied, last_line) -> None:
    root = copied(semantic)
    (root / 'names.txt').write_text('0\n9\n')
    data = 'train_dataloader__dataset__'
    line = last_line(semantic, **{f'{data}data_root': root, f'{data}ann_file': 'names.txt'})
    assert line.startswith(f'DataError: {root}/images/9.jpg: the file does not exist')


def test_a_fault_in_a_worker_process_is_one_line(semantic: Run, copied, last_line) -> None:
    root = copied(semantic)
    (root / 'labels/2.png').unlink()
    line = last_line(
        semantic, train_dataloader__dataset__data_root=root, train_dataloader__num_workers=1
    )
    assert line == f'DataError: {root}/labels/2.png: the file does not exist; {REMEDY}'


def test_a_fault_stops_validation_and_test(semantic: Run, copied, last_line) -> None:
    root = copied(semantic)
    edit_labels(root, lambda labels: with_label(labels, 3))
    expected = f'DataError: {root}/labels/2.png: has the label 3: expected 0 to 2'
    assert last_line(semantic, val_dataloader__dataset__data_root=root).startswith(expected)
    line = last_line(semantic, semantic.task, name='test', test_dataloader__dataset__data_root=root)
    assert line.startswith(expected)


def change_json(root: Path, change: Callable[[dict], Any]) -> None:
    path = root / 'instances.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


INSTANCES: dict[str, tuple[Callable[[Path], Any], str]] = {
    'no image': (
        lambda root: (root / 'images/2.jpg').unlink(),
        'images/2.jpg: the file does not exist',
    ),
    'images in a subfolder': (
        lambda root: (root / 'images').rename(root / 'sub'),
        'images/',
    ),
    'no annotation file': (
        lambda root: (root / 'instances.json').unlink(),
        'instances.json: the file does not exist',
    ),
    'empty annotation file': (
        lambda root: (root / 'instances.json').write_text(''),
        'instances.json: is not valid JSON',
    ),
    'cut annotation file': (
        lambda root: (root / 'instances.json').write_text('{"images": ['),
        'instances.json: is not valid JSON',
    ),
    'not a COCO file': (
        lambda root: (root / 'instances.json').write_text('{"shapes": []}'),
        'instances.json: ',
    ),
    'no image listed': (
        lambda root: change_json(root, lambda coco: coco.update(images=[], annotations=[])),
        'instances.json: the dataset holds no image',
    ),
    'class without category': (
        lambda root: change_json(root, lambda coco: coco['categories'][0].update(name='heaven')),
        'instances.json: class ',
    ),
    'other size in the entry': (
        lambda root: change_json(root, lambda coco: coco['images'][2].update(width=80)),
        'images/2.jpg: the image is 64 x 64 pixels, its entry in ',
    ),
    'no segmentation': (
        lambda root: change_json(root, lambda coco: coco['annotations'][4].pop('segmentation')),
        'images/2.jpg: its annotation cannot be loaded',
    ),
    'run lengths of another size': (
        lambda root: change_json(
            root,
            lambda coco: coco['annotations'][4].update(
                segmentation=dict(size=[32, 32], counts=[0, 1024])
            ),
        ),
        'instances.json: annotation ',
    ),
}


@pytest.mark.parametrize('fault', INSTANCES)
def test_faults_of_instances_stop_a_training(instances: Run, copied, last_line, fault: str) -> None:
    root = copied(instances)
    break_data, message = INSTANCES[fault]
    break_data(root)
    line = last_line(instances, train_dataloader__dataset__data_root=root)
    assert line.startswith(f'DataError: {root}/{message}') and line.endswith(REMEDY)


def test_a_missing_annotation_file_of_the_validation_is_named(
    instances: Run, copied, last_line
) -> None:
    root = copied(instances)
    (root / 'instances.json').unlink()
    line = last_line(instances, val_dataloader__dataset__data_root=root)
    assert line == f'DataError: {root}/instances.json: the file does not exist; {REMEDY}'


def test_a_switched_pipeline_is_checked_too(semantic: Run) -> None:
    from mmqadapter.engine.runner import load_config, training_runner

    runner = training_runner(load_config(semantic.config))
    dataset = runner.build_train_loop(runner._train_loop).dataloader.dataset
    dataset.pipeline = Compose([lambda sample: 1 / 0])
    with pytest.raises(DataError, match=r'\.jpg: function fails \(ZeroDivisionError'):
        dataset[0]


class Stored:
    """Stands for a dataset of mmseg."""

    metainfo = {'classes': ('a', 'b')}
    label_map, reduce_zero_label, ignore_index = None, True, 255


@pytest.mark.parametrize(
    ('dtype', 'value', 'stored'),
    [(np.uint8, 2, 3), (np.int64, 300, 301), (np.uint8, 254, 255)],
)
def test_a_label_is_named_as_it_is_stored(dtype, value: int, stored: int) -> None:
    labels = np.array([[0, 1, 255, value]], dtype)
    sample = dict(gt_seg_map=labels, ori_shape=(1, 4), seg_map_path='a.png')
    message = f'a.png: has the label {stored}: expected 1 to 2 for the 2 classes'
    with pytest.raises(DataError, match=message):
        SampleCheck(Stored())(sample)
    labels[0, 3] = 255
    SampleCheck(Stored())(sample)


def test_an_image_that_was_resized_before_its_labels_were_loaded(
    semantic: Run, tmp_path: Path, last_line
) -> None:
    pipeline = """
_base_ = {base!r}
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
"""
    path = tmp_path / 'resized.py'
    path.write_text(pipeline.format(base=semantic.config))
    run = Run(str(path), semantic.images, semantic.work_dir)
    line = last_line(run, train_dataloader__num_workers=0)
    assert 'the label map is 64 x 64 pixels where the image has already become 32 x 32' in line
    assert 'put LoadAnnotations right behind LoadImageFromFile' in line


def label_checks(maps: list[np.ndarray], **dataset: Any) -> None:
    settings = dict(label_map=None, metainfo=dict(classes=('a', 'b')), reduce_zero_label=False)
    check = SampleCheck(SimpleNamespace(**settings, ignore_index=255, **dataset))
    for labels in maps:
        check(dict(gt_seg_map=labels, ori_shape=labels.shape, seg_map_path='x.png'))


def test_label_maps_that_are_all_ignored_stop_a_training() -> None:
    ignored, sound = np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)
    label_checks([ignored] * 31)
    label_checks([sound, *[ignored] * 100])
    label_checks([ignored] * 100, test_mode=True)
    with pytest.raises(DataError, match='no pixel of a class, like the 31 label maps before it'):
        label_checks([ignored] * 32)
