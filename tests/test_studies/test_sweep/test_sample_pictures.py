from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from PIL import Image, ImageColor
from tiny_runs import Run, instances, semantic

from mmqadapter.studies.report.page import Samples
from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.plan import read_sweep
from mmqadapter.studies.sweep.sample_pictures import BLANK, WIDTH, draw_annotation, make_samples
from mmqadapter.studies.sweep.schedule import Results
from mmqadapter.studies.sweep.training import SEED, Training
from mmqadapter.studies.sweep.tune import Tuned
from mmqadapter.studies.sweep.validation_samples import Annotation, Instance, validation_samples

__all__ = ['instances', 'semantic']
PALETTE = [(255, 0, 0), (0, 255, 0)]
BACKGROUND = np.full((20, 30, 3), 100, np.uint8)


@pytest.fixture
def samples_of(sweep_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Samples | None]:
    """Samples of a sweep of two trained methods; the weights of one are missing."""

    def make(run: Run, **changes) -> Samples | None:
        content = yaml.safe_load(sweep_file(**changes).read_text())
        content.update(config=run.config, iterations=4, rates={'adapters': [1], 'backbone': [1]})
        (tmp_path / 'sweep.yaml').write_text(yaml.safe_dump(content))
        sweep = read_sweep(tmp_path / 'sweep.yaml')
        outcomes = []
        for name in ('full', 'adaptformer'):
            folder = tmp_path / name
            folder.mkdir()
            (folder / 'config.py').write_text(Path(run.config).read_text())
            training = Training(SEED, name, 0, Length(4), 0.1, 0.1)
            outcomes.append(Outcome(training, {'score': 1}, log=folder / 'console.log'))
        (tmp_path / 'adaptformer/work_dir').symlink_to(run.work_dir)
        results = Results(Tuned({}, []), outcomes, {})
        return make_samples(sweep, ['frozen', 'full', 'adaptformer'], results)

    return make


@pytest.mark.parametrize('kind', ['semantic', 'instances'])
def test_predictions_are_beside_the_ground_truth(kind, request, samples_of) -> None:
    samples = samples_of(request.getfixturevalue(kind), samples=2)
    assert samples.headings == ['image', 'ground truth', 'full', 'adaptformer']
    assert [name for name, _ in samples.rows] == ['0.jpg', '3.jpg']  # spread over all four
    for _, (image, truth, missing, prediction) in samples.rows:
        assert missing is None  # without weights, only its own column is empty
        pictures = (image, truth, prediction)
        sizes = {Image.open(io.BytesIO(picture)).size for picture in pictures}
        assert sizes == {(WIDTH, WIDTH)}
        assert truth != image
    assert [name for name, _ in samples.classes] == ['sky', 'box', 'dot']


def test_photos_can_be_left_out(semantic: Run, samples_of) -> None:
    samples = samples_of(semantic, photos=False, samples=1)
    assert samples.headings == ['ground truth', 'full', 'adaptformer']
    ((_, (truth, _, _)),) = samples.rows
    shown = np.asarray(Image.open(io.BytesIO(truth)).convert('RGB')).astype(int)
    colors = [ImageColor.getrgb(color) for _, color in samples.classes]
    distance = np.min([np.abs(shown - color).sum(-1) for color in colors], axis=0)
    assert np.mean(distance < 30) > 0.9  # all but the edges, which WebP blurs


def test_samples_can_be_switched_off(semantic: Run, samples_of) -> None:
    assert samples_of(semantic, samples=0) is None


def test_samples_have_their_ground_truth(semantic: Run, instances: Run) -> None:
    samples = validation_samples(Config.fromfile(semantic.config), 9)
    assert [sample.path.name for sample in samples] == ['0.jpg', '1.jpg', '2.jpg', '3.jpg']
    labels = np.asarray(Image.open(semantic.images.parent / 'labels/1.png'))
    assert (samples[1].truth.labels == labels).all()
    pixels = np.asarray(Image.open(samples[1].path))
    assert np.abs(samples[1].pixels.astype(int) - pixels).mean() < 3  # RGB, as the file

    (sample,) = validation_samples(Config.fromfile(instances.config), 1)
    box, dot = sample.truth.instances
    assert (box.label, dot.label) == (1, 2) and sample.truth.labels is None
    left, top, right, bottom = (round(edge) for edge in box.box)
    assert right - left == bottom - top == 24 and box.mask.shape == (64, 64)
    assert box.mask[top:bottom, left:right].all() and box.mask.sum() <= 25**2


def test_label_maps_are_drawn_in_colors() -> None:
    labels = np.zeros((20, 30), int)
    labels[:, 10:20], labels[:, 20:] = 1, 255
    picture = draw_annotation(BACKGROUND, Annotation(labels), PALETTE, photos=False)
    assert picture[0, [0, 10, 20]].tolist() == [[255, 0, 0], [0, 255, 0], [BLANK] * 3]
    blended = draw_annotation(BACKGROUND, Annotation(labels), PALETTE, photos=True)
    assert blended[0, 0].tolist() == [193, 40, 40]  # 0.6 color + 0.4 background
    assert (BACKGROUND == 100).all()


def test_instances_are_drawn_as_outlines() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 5:15] = True
    for instance in (Instance(1, (5, 5, 14, 14), mask), Instance(1, (5, 5, 14, 14), None)):
        picture = draw_annotation(BACKGROUND, Annotation(None, [instance]), PALETTE, photos=True)
        assert picture[5, 5:15].tolist() == [[0, 255, 0]] * 10
        assert (picture[8:12, 8:12] == 100).all() and (picture[:4] == 100).all()


def test_an_error_of_the_pictures_is_not_raised(samples_of, semantic: Run, monkeypatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError('images cannot be read')

    monkeypatch.setattr('mmqadapter.studies.sweep.sample_pictures.validation_samples', broken)
    assert samples_of(semantic) is None


def test_no_samples_if_no_method_predicts(samples_of, semantic: Run, monkeypatch) -> None:
    monkeypatch.setattr(
        'mmqadapter.studies.sweep.sample_pictures._predict',
        lambda folder, samples: ({}, [None] * 4),
    )
    assert samples_of(semantic) is None


def test_float_images_are_converted(semantic: Run) -> None:
    cfg = Config.fromfile(semantic.config)
    cfg.val_dataloader.dataset.pipeline[0].to_float32 = True
    sample, *_ = validation_samples(cfg, 1)
    assert sample.pixels.dtype == np.uint8 and sample.pixels.any()
