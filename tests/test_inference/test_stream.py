"""Prediction image by image: memory, files at any moment, and resuming."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import CLASSES, Run, fresh_globals, instances, semantic

from mmqadapter.inference import (
    iter_predictions,
    iter_task_predictions,
    load_model,
    predict,
    predict_tasks,
)

__all__ = ['fresh_globals', 'instances', 'semantic']


@pytest.fixture
def images(semantic: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(semantic.images, tmp_path / 'in'))


def test_the_iterator_and_the_list_hold_the_same(semantic: Run, images: Path) -> None:
    model = load_model(semantic.config, semantic.task)
    listed = predict(model, None, images)
    for one, other in zip(iter_predictions(model, None, images), listed, strict=True):
        assert one.image == other.image and np.array_equal(one.labels, other.labels)


def test_memory_does_not_grow_with_the_number_of_images(semantic: Run, tmp_path: Path) -> None:
    model = load_model(semantic.config, semantic.task, device='cpu')
    for number in range(12):
        Image.new('RGB', (64, 64), (number, 9, 9)).save(tmp_path / f'{number:02}.png')
    kept = []
    for prediction in iter_predictions(model, None, tmp_path, tmp_path / 'out'):
        kept.append(weakref.ref(prediction))
        assert sum(reference() is not None for reference in kept[:-1]) <= 1
    assert len(kept) == 12


def test_arguments_are_checked_before_the_first_prediction(semantic: Run, images: Path) -> None:
    with pytest.raises(ValueError, match='score_thr'):
        iter_predictions(semantic.config, semantic.task, images, score_thr=2)
    for arguments in ((semantic.task, images, None), (None, images, images.parent / 'out')):
        with pytest.raises(ValueError, match='resume=True is invalid with .*: give both'):
            iter_predictions(load_model(semantic.config, semantic.task), *arguments, resume=True)


def test_a_run_that_is_stopped_leaves_whole_files_and_resumes(
    instances: Run, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    arguments = (instances.config, instances.task, instances.images)
    running = iter_predictions(*arguments, out, score_thr=0.0)
    first = [next(running).image.name, next(running).image.name]
    running.close()
    assert sorted(path.name for path in (out / 'instances').iterdir()) == ['0.json', '1.json']
    content = json.loads((out / 'instances/1.json').read_text())
    assert content['image'] == dict(file_name='1.jpg', width=64, height=64)
    assert content['annotations'] and not (out / 'instances.json').exists()
    kept = (out / 'instances/0.json').stat().st_mtime_ns
    rest = [p.image.name for p in iter_predictions(*arguments, out, score_thr=0.0, resume=True)]
    assert first + rest == ['0.jpg', '1.jpg', '2.jpg', '3.jpg']
    assert (out / 'instances/0.json').stat().st_mtime_ns == kept
    predict(*arguments, tmp_path / 'whole', score_thr=0.0)
    whole = (tmp_path / 'whole/instances.json').read_text()
    assert (out / 'instances.json').read_text() == whole
    ids = [annotation['id'] for annotation in json.loads(whole)['annotations']]
    assert ids == list(range(1, len(ids) + 1)) and len(json.loads(whole)['categories']) == 3


def test_resuming_predicts_again_what_depends_on_something_else(
    semantic: Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'

    def predicted(task: str = semantic.task, **options) -> list[str]:
        running = iter_predictions(semantic.config, task, images, out, resume=True, **options)
        return [prediction.image.name for prediction in running]

    assert predicted() == ['0.jpg', '1.jpg', '2.jpg', '3.jpg']
    assert predicted() == []
    (out / 'overlays/1.png').unlink()
    (out / 'labels/2.png').write_bytes(b'not ours')
    later = (out / 'labels/3.png').stat().st_mtime + 10
    os.utime(images / '3.jpg', (later, later))
    assert predicted() == ['1.jpg', '2.jpg', '3.jpg']
    os.utime(images / '3.jpg', (0, 0))
    for change in (
        dict(task=semantic.checkpoint),
        dict(score_thr=0.5),
        dict(
            cfg_options={'model.test_cfg': dict(mode='slide', crop_size=(48, 48), stride=(16, 16))}
        ),
    ):
        assert len(predicted(**change)) == 4


def test_resuming_beside_the_images_keeps_annotations(semantic: Run, images: Path) -> None:
    (images / 'labels').mkdir()
    with pytest.raises(ValueError, match="beside them 'labels', which the results would overwrite"):
        iter_predictions(semantic.config, semantic.task, images, images, resume=True)
    (images / 'labels').rmdir()
    predict(semantic.config, semantic.task, images, images)
    assert not list(iter_predictions(semantic.config, semantic.task, images, images, resume=True))


def test_several_tasks_stream_and_resume_too(semantic: Run, images: Path, tmp_path: Path) -> None:
    other = shutil.copy(semantic.task, tmp_path / 'other.task.safetensors')
    arguments = (semantic.config, [semantic.task, other], images, tmp_path / 'out')
    running = iter_task_predictions(*arguments)
    first = next(running)
    running.close()
    assert set(first) == {'last', 'other'} and first['last'].image.name == '0.jpg'
    assert (tmp_path / 'out/other/labels/0.png').is_file()
    (tmp_path / 'out/other/labels/0.png').unlink()
    assert len(list(iter_task_predictions(*arguments, resume=True))) == 4
    assert list(iter_task_predictions(*arguments, resume=True)) == []
    assert {name: len(found) for name, found in predict_tasks(*arguments).items()} == {
        'last': 4,
        'other': 4,
    }


def test_label_maps_follow_the_annotations(semantic: Run, images: Path, tmp_path: Path) -> None:
    options = {'test_dataloader.dataset.reduce_zero_label': True}
    plain = load_model(semantic.config, semantic.task)
    reduced = load_model(semantic.config, semantic.task, cfg_options=options)
    predict(plain, None, images, tmp_path / 'plain')
    labels = predict(reduced, None, images, tmp_path / 'reduced')[0].labels
    first, second = (
        np.asarray(Image.open(tmp_path / f'{name}/labels/0.png')) for name in ('plain', 'reduced')
    )
    assert np.array_equal(second, first + 1) and np.array_equal(labels, first)
    overlays = [(tmp_path / f'{name}/overlays/0.png').read_bytes() for name in ('plain', 'reduced')]
    assert overlays[0] == overlays[1]
    predictions = iter_task_predictions(
        semantic.config, [semantic.task], images, tmp_path / 'tasks', cfg_options=options
    )
    assert np.array_equal(next(predictions)['last'].labels, first)
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'tasks/last/labels/0.png')), second)


def test_label_maps_equal_those_of_mmseg(semantic: Run, images: Path, tmp_path: Path) -> None:
    from mmseg.datasets import ADE20KDataset
    from mmseg.evaluation import IoUMetric

    classes = ADE20KDataset.METAINFO['classes']
    options = {
        'test_dataloader.dataset': dict(
            _delete_=True, type='ADE20KDataset', data_root=str(images.parent),
            metainfo=dict(classes=classes[5:8]), data_prefix=dict(img_path='in'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
        )
    }  # fmt: skip
    model = load_model(semantic.config, semantic.task, cfg_options=options)
    assert model.dataset_meta['classes'] == CLASSES and model.dataset_meta['reduce_zero_label']
    (prediction,) = predict(model, None, images / '0.jpg', tmp_path / 'out')
    metric = IoUMetric(output_dir=str(tmp_path / 'mmseg'), format_only=True)
    metric.dataset_meta = model.dataset_meta
    sample = dict(
        pred_sem_seg=dict(data=np_to_tensor(prediction.labels)),
        img_path='0.jpg',
        reduce_zero_label=True,
    )
    metric.process({}, [sample])
    expected = np.asarray(Image.open(tmp_path / 'mmseg/0.png'))
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'out/labels/0.png')), expected)


def np_to_tensor(labels: np.ndarray):
    import torch

    return torch.from_numpy(labels).long()[None]
