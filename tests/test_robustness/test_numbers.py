"""Extreme numbers and labels: training continues with finite weights, or says why it stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from small_runs import quick_start, small_config, train
from tiny_data import CLASSES
from tiny_runs import INSTANCES, SEMANTIC, SWIN, fresh_globals
from torch import Tensor, nn

from mmqadapter import inspect_task, save_task
from mmqadapter.hooks.finite_loss_hook import first_not_finite

__all__ = ['fresh_globals', 'quick_start']

NAN, INF = float('nan'), float('inf')
SIZES = [(64, 64), (37, 53), (64, 41), (33, 97)]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., nn.Module]:
    """``build(template, package, **changes of the head)``: build a model of mmdet or mmseg."""

    def make(template: str, package: str, **head: Any) -> nn.Module:
        backbone = dict(
            type='mmqadapter.AdaptedBackbone',
            backbone=dict(type=f'{package}.SwinTransformer', **SWIN),
            adapter=dict(type='AdaptFormer', width=4),
            quantizer=dict(type='GaussianQuantizer', bits=1),
        )
        for name, value in dict(backbone=backbone, root='.', classes=CLASSES).items():
            template = template.replace(f'{{{name}!r}}', repr(value))
        path = tmp_path / 'model.py'
        path.write_text(template)
        cfg = Config.fromfile(path)
        init_default_scope(cfg.default_scope)
        if package == 'mmseg':
            cfg.model.decode_head.update(norm_cfg=dict(type='BN'), **head)
            for name in [name for name, value in head.items() if value is None]:
                del cfg.model.decode_head[name]
            cfg.model.data_preprocessor = dict(type='SegDataPreProcessor', size_divisor=32)
        return MODELS.build(cfg.model).train()

    return make


def step(model: Any, images: list[Tensor], samples: list[Any]) -> dict[str, Tensor]:
    """Train one step at a high learning rate, and check that losses and weights are finite."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(torch.optim.AdamW(parameters, lr=0.1))
    losses = model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    assert all(bool(torch.as_tensor(value).isfinite().all()) for value in losses.values())
    assert first_not_finite(model) is None
    return losses


def image(size: tuple[int, int]) -> Tensor:
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def segments(size: tuple[int, int], labels: np.ndarray) -> Any:
    from mmseg.structures import SegDataSample

    meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
    return SegDataSample(
        metainfo=meta, gt_sem_seg=PixelData(data=torch.from_numpy(labels[None].astype(np.int64)))
    )


def instances(size: tuple[int, int], boxes: list[tuple[int, int, int, int]], label: int) -> Any:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.full((len(boxes),), label),
        masks=BitmapMasks(masks, *size),
    )
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    return DetDataSample(
        metainfo=meta,
        gt_instances=found,
        ignored_instances=InstanceData(bboxes=torch.empty(0, 4), labels=torch.empty(0).long()),
    )


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('batch', [1, 3])
def test_segmentation_of_any_size(build: Callable, size: tuple[int, int], batch: int) -> None:
    labels = [np.random.default_rng(i).integers(0, 3, size) for i in range(batch)]
    samples = [segments(size, one) for one in labels]
    step(build(SEMANTIC, 'mmseg'), [image(size) for _ in range(batch)], samples)


@pytest.mark.parametrize('average', [False, True])
def test_labels_that_are_all_ignored(build: Callable, average: bool) -> None:
    size = (64, 64)
    loss = dict(type='CrossEntropyLoss', avg_non_ignore=average, class_weight=None)
    model = build(SEMANTIC, 'mmseg', loss_decode=loss)
    losses = step(model, [image(size)] * 2, [segments(size, np.full(size, 255))] * 2)
    assert losses['loss'] == 0


def test_one_class_alone(build: Callable) -> None:
    size = (64, 64)
    step(build(SEMANTIC, 'mmseg'), [image(size)] * 2, [segments(size, np.full(size, 2))] * 2)


def test_batch_norm_of_a_single_number_says_so(build: Callable) -> None:
    """Pyramid pooling reduces each image to one pixel, so that a batch needs two images."""
    size = (64, 64)
    pooling = dict(type='PSPHead', pool_scales=(1, 2), num_convs=None)
    model = build(SEMANTIC, 'mmseg', **pooling)
    samples = [segments(size, np.zeros(size))] * 2
    with pytest.raises(ValueError, match='more than 1 value per channel when training'):
        step(model, [image(size)], samples[:1])
    step(model, [image(size)] * 2, samples)


SCENES: dict[str, list[tuple[tuple[int, int], list[tuple[int, int, int, int]]]]] = {
    'no instance': [((64, 64), []), ((64, 64), [])],
    'one image without': [((64, 64), []), ((64, 64), [(5, 5, 30, 30)])],
    'one pixel': [((64, 64), [(9, 9, 10, 10)]), ((64, 64), [(63, 63, 64, 64)])],
    'a line': [((64, 64), [(0, 9, 64, 10)]), ((64, 64), [(9, 0, 10, 64)])],
    'odd sizes': [((37, 53), [(5, 5, 30, 30)]), ((64, 41), [(0, 0, 41, 64)])],
    'a single image': [((33, 97), [(5, 5, 30, 30)])],
    'many': [((64, 64), [(i, i, i + 4, i + 9) for i in range(50)])],
}


@pytest.mark.parametrize('scene', SCENES)
def test_detection_goes_on(build: Callable, scene: str) -> None:
    model = build(INSTANCES, 'mmdet')
    sizes, boxes = zip(*SCENES[scene], strict=True)
    samples = [instances(*one, label=2) for one in SCENES[scene]]
    images = [image(size) for size in sizes]
    for _ in range(2):  # the second step starts from changed weights
        step(model, images, samples)


@pytest.mark.parametrize('value', [NAN, INF])
def test_a_broken_loss_stops_before_a_file_is_written(
    quick_start: None, tmp_path: Path, value: float
) -> None:
    cfg = small_config(tmp_path, steps=6, spoilt={4: value})
    with pytest.raises(ValueError, match=r'in iteration 4 loss_fit is .*; .* Lower the learning'):
        train(cfg)
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['best_mIoU_iter_2.pth', 'iter_2.pth']
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())
    inspect_task(tmp_path / 'best.task.safetensors')
    # Without the corrupted step the run can be resumed.
    train(small_config(tmp_path, steps=6), resume=True)


class Breaks(torch.autograd.Function):
    """Identity whose gradient is NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * NAN


@pytest.mark.parametrize('bits', [1, None])
def test_adapters_never_turn_nan_silently(
    quick_start: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int | None
) -> None:
    """The loss of the last step is finite, but its gradient is not."""
    cfg = small_config(tmp_path, steps=2, bits=bits)
    from mmqadapter.adapters import AdaptFormer

    forward, calls = AdaptFormer.forward, []

    def broken(self: AdaptFormer, x: Tensor) -> Tensor:
        calls.append(self)
        out = forward(self, x)
        return Breaks.apply(out) if len(calls) > 4 else out  # four adapters, second step

    monkeypatch.setattr(AdaptFormer, 'forward', broken)
    text = r"after iteration 2 the weight 'backbone.adapters.*' holds NaN or inf, so nothing"
    with pytest.raises(ValueError, match=text):
        train(cfg)
    assert not [*tmp_path.glob('*.pth'), *tmp_path.glob('*.safetensors')]


@pytest.mark.parametrize('bits', [1, None])
@pytest.mark.parametrize('value', [NAN, INF])
def test_broken_adapters_are_not_saved(tmp_path: Path, bits: int | None, value: float) -> None:
    model = MODELS.build(small_config(tmp_path, bits=bits).model)
    parameter = next(p for p in model.backbone.adapters.parameters())
    parameter.data[0] = value
    with pytest.raises(ValueError, match='NaN or inf'):
        save_task(model, tmp_path / 'a.task.safetensors')
    assert not [*tmp_path.iterdir()]
