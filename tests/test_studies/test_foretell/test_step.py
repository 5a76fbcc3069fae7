"""Peak memory of a training step, foretold and real."""

from __future__ import annotations

import pytest
import torch
from old_torch import needs_torch
from small_models import CHANGES, real_peak, settings, small_config

from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.foretell.outline import Outline, UnknownValueError
from mmqadapter.studies.foretell.step import OutlinedModel, readable_errors

pytestmark = needs_torch(2, 6, 'foretelling memory')


def outlined(name: str, method: str, on_gpu: bool = False) -> OutlinedModel:
    cfg = small_config(name)
    (parsed,) = parse_methods(method)
    return OutlinedModel(plain_config(cfg, settings(cfg)), parsed, on_gpu)


def foretold_peak(name: str, method: str, on_gpu: bool = False, **options) -> int:
    return outlined(name, method, on_gpu).peak_bytes(settings(small_config(name), **options))


@pytest.mark.parametrize('method', ['full', 'highway-joined@1'])
@pytest.mark.parametrize('name', CHANGES)
def test_foretold_is_what_a_real_step_needs(name: str, method: str) -> None:
    real = real_peak(small_config(name), method)
    assert foretold_peak(name, method) == pytest.approx(real, rel=0.02)


def test_mixed_precision_takes_less() -> None:
    model, cfg = outlined('upernet_swin', 'full', on_gpu=True), small_config('upernet_swin')
    float32, amp = (model.peak_bytes(settings(cfg, batch_size=16, amp=a)) for a in (False, True))
    assert 0.5 * float32 < amp < 0.9 * float32


def test_the_focal_loss_of_a_gpu_takes_less() -> None:
    name = 'retinanet_r50_fpn'
    assert foretold_peak(name, 'frozen', on_gpu=True) < 0.95 * foretold_peak(name, 'frozen')


def test_the_peak_grows_with_the_batch_and_not_without_bound() -> None:
    model, cfg = outlined('mask-rcnn_r50_fpn', 'frozen'), small_config('mask-rcnn_r50_fpn')
    two, four, eight = (model.peak_bytes(settings(cfg, batch_size=b)) for b in (2, 4, 8))
    assert two > model.resident_bytes
    assert eight - four == pytest.approx(2 * (four - two), rel=0.05)


def test_sizes_of_the_weights() -> None:
    model = outlined('upernet_swin', 'frozen')
    trunk = sum(p.nbytes for p in model.model.backbone.parameters())
    weights = sum(t.nbytes for t in model.model.state_dict().values())
    assert model.trained_bytes + model.frozen_bytes == pytest.approx(weights, rel=0.01)
    assert model.frozen_bytes >= trunk


def test_values_read_outside_torch_are_refused_in_one_line() -> None:
    with Outline(), pytest.raises(UnknownValueError, match='mmqadapter benchmark CONFIG'):
        with readable_errors():
            torch.zeros(2**20).numpy()


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match='^another$'), readable_errors():
        raise RuntimeError('another')
