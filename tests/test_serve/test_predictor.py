"""The predictor of a page: results, runs of the trunk, and errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from random_tasks import write_tasks
from tiny_runs import Run

from mmqadapter.inference import load_model, predict
from mmqadapter.inference.image_errors import ImageError
from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.served_tasks import load_tasks
from mmqadapter.serve.uploads import UploadLimits
from mmqadapter.utils.tuned_backbone import tuned_backbone


def runs_of_the_trunk(predictor: Predictor) -> list[int]:
    """A list that grows with each forward of the trunk, in the model or in copies of it."""
    runs: list[int] = []
    trunk: Any = tuned_backbone(predictor._bank.model).trunk
    trunk.register_forward_hook(lambda *_: runs.append(1))
    return runs


def shares(predictor: Predictor, image: Path, name: str) -> dict[str, float]:
    rows = predictor.predict(image, [name]).results[name].rows
    return {row.name: row.share for row in rows}


def test_tasks_on_a_highway_share_one_run_and_predict_as_alone(
    highway: Predictor, highway_config: str, highway_files: list[Path], image: Path
) -> None:
    runs = runs_of_the_trunk(highway)
    together = highway.predict(image, ['cracks', 'rust'])
    assert len(runs) == 1 and highway.shares_trunk
    assert list(together.seconds) == [('cracks', 'rust')] and together.size == (64, 64)
    assert all(0 < spent < 60 for spent in together.seconds.values())
    for name, file in zip(('cracks', 'rust'), highway_files, strict=True):
        (alone,) = predict(highway_config, file, image, device='cpu')
        classes = [row.name for row in together.results[name].rows]
        expected = {
            highway.tasks[name].meta['classes'][index]: share
            for index, share in enumerate(np.bincount(alone.labels.ravel(), minlength=3) / 64**2)
            if share
        }
        assert set(classes) == set(expected)
        assert {row.name: row.share for row in together.results[name].rows} == expected
    first, second = (together.results[name].overlay for name in ('cracks', 'rust'))
    assert not np.array_equal(first, second)


def test_tasks_in_path_run_in_turn_in_the_order_of_the_command(
    semantic: Run, tmp_path: Path, image: Path
) -> None:
    files = write_tasks(semantic.config, tmp_path, 'cracks', 'rust')
    predictor = Predictor(load_tasks(semantic.config, files, device='cpu'))
    runs = runs_of_the_trunk(predictor)
    answer = predictor.predict(image, ['rust', 'cracks', 'rust'])
    assert len(runs) == 2 and not predictor.shares_trunk
    assert list(answer.seconds) == [('cracks',), ('rust',)]
    assert list(answer.results) == ['cracks', 'rust']
    for name in answer.results:
        expected = {row.name: row.share for row in answer.results[name].rows}
        assert shares(predictor, image, name) == expected


def test_the_overlay_has_the_size_of_the_image_and_the_colors_of_the_classes(
    highway: Predictor, image: Path
) -> None:
    result = highway.predict(image, ['cracks']).results['cracks']
    pixels = np.asarray(Image.open(image))
    assert result.overlay.shape == pixels.shape and result.overlay.dtype == np.uint8
    (row, *_) = result.rows
    half = (pixels.astype(float) + row.color) / 2
    close = np.abs(result.overlay - half).max(axis=2) <= 1
    assert close.mean() == pytest.approx(row.share, abs=0.05)


def test_instances_are_counted_above_the_threshold(detector: Predictor, instances: Run) -> None:
    image = instances.images / '0.jpg'
    assert detector.finds_instances and not detector.shares_trunk
    everything = detector.predict(image, ['last'], 0.0).results['last']
    expected = predict(instances.config, instances.task, image, score_thr=0.0, device='cpu')
    assert sum(row.count or 0 for row in everything.rows) == len(expected[0].instances) > 1
    assert all(0 < row.score < 1 and 0 <= row.share <= 1 for row in everything.rows)
    nothing = detector.predict(image, ['last'], 1.0).results['last']
    assert nothing.rows == [] and nothing.overlay.shape == everything.overlay.shape
    assert not np.array_equal(nothing.overlay, everything.overlay)


def test_a_segmentor_has_no_threshold(highway: Predictor) -> None:
    assert not highway.finds_instances


def test_what_the_trunk_weighs(highway: Predictor) -> None:
    trunk = tuned_backbone(highway._bank.model).trunk
    assert highway.trunk_nbytes == sum(t.nbytes for t in trunk.state_dict().values())
    assert highway.device == torch.device('cpu')


@pytest.mark.parametrize('names', [[], ['no'], ['cracks', 'no']])
def test_unknown_tasks_are_refused(highway: Predictor, image: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"tasks=\[.*\] is invalid: .* of 'cracks', 'rust'\."):
        highway.predict(image, names)


def test_an_invalid_threshold_is_refused(highway: Predictor, image: Path) -> None:
    with pytest.raises(ValueError, match='score_thr=2 is invalid'):
        highway.predict(image, ['rust'], 2)


def test_after_an_image_that_fails_the_next_one_is_predicted(
    highway: Predictor, image: Path, tmp_path: Path, monkeypatch
) -> None:
    before = shares(highway, image, 'rust')
    pixels, half = cv2.imencode('.png', cv2.imread(str(image)))[1].tobytes(), tmp_path / 'half.png'
    half.write_bytes(pixels[: len(pixels) // 2])
    with pytest.raises(ImageError, match='cannot be read as an image'):
        highway.predict(half, ['rust'])

    def fail(*args: Any) -> None:
        raise RuntimeError('Output size is too small')

    with monkeypatch.context() as patch:
        patch.setattr('mmqadapter.inference.bank.MultiTaskModel.test_step', fail)
        with pytest.raises(ImageError, match='cannot be predicted .*too small'):
            highway.predict(image, ['rust'])
    assert shares(highway, image, 'rust') == before


def test_limits_are_checked_before_the_image_is_decoded(
    highway: Predictor, image: Path, monkeypatch
) -> None:
    monkeypatch.setattr(highway, 'limits', UploadLimits(megapixels=0.001))
    monkeypatch.setattr(highway, '_pipeline', None)
    with pytest.raises(ImageError, match='has 64 x 64 pixels: expected at most 0.001 megapixels'):
        highway.predict(image, ['rust'])


def test_calls_of_several_threads_do_not_mix(semantic: Run, tmp_path: Path, image: Path) -> None:
    files = write_tasks(semantic.config, tmp_path, 'cracks', 'rust')
    predictor = Predictor(load_tasks(semantic.config, files, device='cpu'))
    expected = {name: shares(predictor, image, name) for name in ('cracks', 'rust')}
    assert expected['cracks'] != expected['rust']
    names = ['cracks', 'rust'] * 4
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda name: shares(predictor, image, name), names))
    assert found == [expected[name] for name in names]


def test_a_trained_task_predicts_as_its_checkpoint(semantic: Run, image: Path) -> None:
    predictor = Predictor(load_tasks(semantic.config, [semantic.task], device='cpu'))
    model = load_model(semantic.config, semantic.checkpoint, device='cpu')
    (expected,) = predict(model, None, image)
    found = shares(predictor, image, 'last')
    assert found == {
        name: (expected.labels == index).mean()
        for index, name in enumerate(model.dataset_meta['classes'])
        if (expected.labels == index).any()
    }
