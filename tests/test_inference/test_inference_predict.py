"""Prediction of one task: values, files, and errors that name the cause."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import CLASSES, Run, fresh_globals, instances, semantic

from mmqadapter import save_task
from mmqadapter.engine.runner import load_config
from mmqadapter.inference import load_model, predict, predict_tasks
from mmqadapter.inference.images import find_images, result_names
from mmqadapter.inference.model import choose_device, spread_color

__all__ = ['fresh_globals', 'instances', 'semantic']


def test_task_and_checkpoint_predict_the_same_labels(semantic: Run) -> None:
    of_task = predict(semantic.config, semantic.task, semantic.images)
    of_checkpoint = predict(semantic.config, semantic.checkpoint, semantic.images)
    assert len(of_task) == 4
    for first, second in zip(of_task, of_checkpoint, strict=True):
        assert first.shape == first.labels.shape == (64, 64) and first.labels.dtype == np.uint8
        assert first.instances is None and np.array_equal(first.labels, second.labels)
    assert len(np.unique([p.labels for p in of_task])) > 1


def test_a_loaded_model_predicts_for_one_task_after_another(semantic: Run, tmp_path: Path) -> None:
    model = load_model(semantic.config, semantic.task)
    assert not model.training and model.dataset_meta['classes'] == CLASSES
    image = semantic.images / '0.jpg'
    before = predict(model, None, image)[0].labels
    with torch.no_grad():
        model.decode_head.conv_seg.bias.copy_(torch.tensor([0.0, 0.0, 1e6]))
    save_task(model, tmp_path / 'dots.task.safetensors', dict(classes=('x', 'y', 'z')))
    assert (predict(model, tmp_path / 'dots.task.safetensors', image)[0].labels == 2).all()
    assert model.dataset_meta['classes'] == ('x', 'y', 'z')
    assert np.array_equal(predict(model, semantic.task, image)[0].labels, before)


def test_instances_equal_those_of_mmdet(instances: Run) -> None:
    from mmdet.apis import inference_detector

    model = load_model(load_config(instances.config), instances.task, device='cpu')
    image = instances.images / '2.jpg'
    (prediction,) = predict(model, None, image, score_thr=0.0)
    expected = inference_detector(model, str(image)).pred_instances
    assert prediction.labels is None
    assert len(prediction.instances) == len(expected) > 0
    first = prediction.instances[0]
    assert first['category_id'] == expected.labels[0] + 1
    x, y, width, height = first['bbox']
    torch.testing.assert_close(torch.tensor([x, y, x + width, y + height]), expected.bboxes[0])
    assert first['area'] == expected.masks[0].sum()
    scores = expected.scores.sort().values
    middle = float(scores[len(scores) // 2])
    above = predict(model, None, image, score_thr=middle)[0].instances
    assert len(above) == int((scores >= middle).sum()) < len(scores)


def test_classes_come_from_the_config_if_the_task_has_none(semantic: Run, tmp_path) -> None:
    model = load_model(semantic.config, semantic.task)
    save_task(model, tmp_path / 'bare.task.safetensors')
    meta = load_model(semantic.config, tmp_path / 'bare.task.safetensors').dataset_meta
    assert meta['classes'] == CLASSES and len(meta['palette']) == 3
    nameless = {'test_dataloader': None, 'val_dataloader': None, 'train_dataloader': None}
    with pytest.raises(ValueError, match='metainfo'):
        load_model(semantic.config, tmp_path / 'bare.task.safetensors', cfg_options=nameless)


def test_a_generated_palette_has_distinct_colors() -> None:
    assert len({spread_color(index) for index in range(20)}) == 20
    assert spread_color(0) == spread_color(20)


def test_invalid_arguments_are_refused(semantic: Run) -> None:
    with pytest.raises(ValueError, match="device='warp' is not available"):
        load_model(semantic.config, semantic.task, device='warp')
    with pytest.raises(
        ValueError, match='task=None is invalid with a config: expected a task file'
    ):
        predict(semantic.config, None, semantic.images)
    with pytest.raises(FileNotFoundError, match='no.pth'):
        load_model(semantic.config, 'no.pth')
    for score in (-0.1, 2, float('nan')):
        with pytest.raises(ValueError, match='score_thr=.* is invalid: expected .* from 0 to 1'):
            predict(semantic.config, semantic.task, semantic.images, score_thr=score)
    model = load_model(semantic.config, semantic.task)
    model.cfg.pop('test_dataloader')
    with pytest.raises(ValueError, match='the config has no test_dataloader'):
        predict(model, None, semantic.images)


def test_the_default_device_is_a_gpu_if_there_is_one() -> None:
    assert choose_device(None).type == ('cuda' if torch.cuda.is_available() else 'cpu')
    assert choose_device('cpu') == torch.device('cpu')


def test_an_image_that_the_model_fails_on_is_named(semantic: Run, monkeypatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError('Output size is too small')

    model = load_model(semantic.config, semantic.task)
    monkeypatch.setattr(model, 'test_step', fail)
    with pytest.raises(ValueError, match=r'0\.jpg.*cannot be predicted.*Output size is too small'):
        predict(model, None, semantic.images / '0.jpg')


def test_results_do_not_overwrite_annotations(semantic: Run, tmp_path: Path) -> None:
    model, data = load_model(semantic.config, semantic.task), tmp_path / 'data'
    (data / 'images').mkdir(parents=True)
    shutil.copy(semantic.images / '0.jpg', data / 'images')
    predict(model, None, data / 'images', data)
    predicted = (data / 'labels/0.png').read_bytes()
    (data / 'labels/0.png').write_bytes(b'annotation')
    with pytest.raises(ValueError, match="has the images in it, and beside them 'labels'"):
        predict(model, None, data / 'images', data)
    assert (data / 'labels/0.png').read_bytes() == b'annotation'
    predict(model, None, data / 'images', data / 'results')
    assert (data / 'results/labels/0.png').read_bytes() == predicted


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ('a.png', 'b[1].png', 'sub/c.jpg'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new('L', (3, 2), 7).save(path)
    (tmp_path / 'notes.txt').touch()
    return tmp_path


def test_files_folders_and_globs(pictures: Path, monkeypatch) -> None:
    folder = [pictures / 'a.png', pictures / 'b[1].png']
    assert find_images([pictures]) == folder
    assert find_images([f'{pictures}/**/*.jpg', pictures / 'b[1].png'])[1] == folder[1]
    monkeypatch.chdir(pictures)
    assert len(find_images(['a.png', pictures / 'a.png', '*.png'])) == 2


def test_hidden_files_of_a_folder_are_no_images(pictures: Path) -> None:
    (pictures / '._a.png').touch()  # macOS creates such files
    assert len(find_images([pictures])) == 2


@pytest.mark.parametrize('out', ['a.png', 'a.png/results'])
def test_a_file_in_place_of_the_results_folder_is_refused(pictures: Path, out: str) -> None:
    """It is refused before the config is read, which does not exist."""
    for run in (predict, predict_tasks):
        tasks: Any = 'no.task.safetensors' if run is predict else ['no.task.safetensors']
        with pytest.raises(ValueError, match=r"out='.*' is invalid: '.*a.png' is a file; expected"):
            run('no.py', tasks, pictures, pictures / out)


def test_names_without_images_are_refused(pictures: Path) -> None:
    with pytest.raises(FileNotFoundError, match='gone'):
        find_images([pictures / 'gone.png'])
    (pictures / 'empty/sub').mkdir(parents=True)
    with pytest.raises(ValueError, match=r"folder '.*empty' has no images \(.*webp\)\.$"):
        find_images([pictures / 'empty'])
    (pictures / 'empty/sub/a.JPG').touch()
    with pytest.raises(ValueError, match="has no images .*; those of its folders are '.*empty/"):
        find_images([pictures / 'empty'])
    with pytest.raises(ValueError, match='images is empty: expected files'):
        find_images([])


def test_result_names_are_never_equal() -> None:
    assert result_names([Path('x/a.png')]) == ['a']
    assert result_names([Path('x/a.png'), Path('y/a.png')]) == ['x/a', 'y/a']
    assert result_names([Path('a.png'), Path('a.jpg')]) == ['a.png', 'a.jpg']
