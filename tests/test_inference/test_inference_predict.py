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
from mmqadapter.inference import load_model, predict
from mmqadapter.inference.images import find_images, read_image, result_names
from mmqadapter.inference.model import choose_device, spread_colour

__all__ = ['fresh_globals', 'instances', 'semantic']


def test_task_and_checkpoint_predict_the_same_labels(semantic: Run) -> None:
    of_task = predict(semantic.config, semantic.task, semantic.images)
    of_checkpoint = predict(semantic.config, semantic.checkpoint, semantic.images)
    assert len(of_task) == 4
    for one, other in zip(of_task, of_checkpoint, strict=True):
        assert one.shape == one.labels.shape == (64, 64) and one.labels.dtype == np.uint8
        assert one.instances is None and np.array_equal(one.labels, other.labels)
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


def test_instances_are_those_that_mmdet_gives(instances: Run) -> None:
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
    kept = predict(model, None, image, score_thr=middle)[0].instances
    assert len(kept) == int((scores >= middle).sum()) < len(scores)


def test_classes_come_from_the_config_where_the_task_has_none(semantic: Run, tmp_path) -> None:
    model = load_model(semantic.config, semantic.task)
    save_task(model, tmp_path / 'bare.task.safetensors')
    bare = load_model(semantic.config, tmp_path / 'bare.task.safetensors')
    assert bare.dataset_meta['classes'] == CLASSES and len(bare.dataset_meta['palette']) == 3
    nameless = {'test_dataloader': None, 'val_dataloader': None, 'train_dataloader': None}
    with pytest.raises(ValueError, match='metainfo'):
        load_model(semantic.config, tmp_path / 'bare.task.safetensors', cfg_options=nameless)


def test_a_generated_palette_tells_classes_apart() -> None:
    assert len({spread_colour(index) for index in range(20)}) == 20
    assert spread_colour(0) == spread_colour(20)


def test_bad_calls_are_told(semantic: Run) -> None:
    with pytest.raises(ValueError, match='no device.*warp'):
        load_model(semantic.config, semantic.task, device='warp')
    with pytest.raises(ValueError, match='task=None'):
        predict(semantic.config, None, semantic.images)
    with pytest.raises(FileNotFoundError, match='no.pth'):
        load_model(semantic.config, 'no.pth')
    for score in (-0.1, 2, float('nan')):
        with pytest.raises(ValueError, match='score_thr=.* from 0 to 1'):
            predict(semantic.config, semantic.task, semantic.images, score_thr=score)
    model = load_model(semantic.config, semantic.task)
    model.cfg.pop('test_dataloader')
    with pytest.raises(ValueError, match='test_dataloader'):
        predict(model, None, semantic.images)


def test_the_device_is_a_gpu_where_there_is_one() -> None:
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
    truth = (data / 'labels/0.png').read_bytes()
    (data / 'labels/0.png').write_bytes(b'mine')
    with pytest.raises(ValueError, match="holds the images and 'labels' beside them"):
        predict(model, None, data / 'images', data)
    assert (data / 'labels/0.png').read_bytes() == b'mine'
    predict(model, None, data / 'images', data / 'results')
    assert (data / 'results/labels/0.png').read_bytes() == truth


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
    (pictures / '._a.png').touch()  # macOS leaves such
    assert len(find_images([pictures])) == 2


def test_names_that_hold_no_image_are_told(pictures: Path) -> None:
    with pytest.raises(FileNotFoundError, match='gone'):
        find_images([pictures / 'gone.png'])
    (pictures / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty.*no images'):
        find_images([pictures / 'empty'])
    with pytest.raises(ValueError, match='no images are given'):
        find_images([])


def test_result_names_are_never_equal() -> None:
    assert result_names([Path('x/a.png')]) == ['a']
    assert result_names([Path('x/a.png'), Path('y/a.png')]) == ['x/a', 'y/a']
    assert result_names([Path('a.png'), Path('a.jpg')]) == ['a.png', 'a.jpg']


def test_grey_images_become_rgb_and_others_are_refused(pictures: Path) -> None:
    assert read_image(pictures / 'a.png').shape == (2, 3, 3)
    for content in (b'', b'text'):
        (pictures / 'bad.png').write_bytes(content)
        with pytest.raises(ValueError, match='bad.png.*cannot be read'):
            read_image(pictures / 'bad.png')
