"""Our operators equal the compiled ones of mmcv, values and gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import mmcv.ops
import pytest
import torch
from torch import Tensor

from mmqadapter.compat.mmcv_ops import ext as ours

pytestmark = pytest.mark.skipif(
    'mmqadapter' in (sys.modules['mmcv._ext'].__file__ or ''),
    reason='mmcv has no compiled operators here',
)

Gradients = list[Tensor]


def both(
    monkeypatch: pytest.MonkeyPatch, module: str, run: Callable[[], tuple[Any, ...]]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What ``run`` returns with the compiled operators, and with ours in ``mmcv.ops.<module>``."""
    compiled = run()
    monkeypatch.setattr(sys.modules[f'mmcv.ops.{module}'], 'ext_module', ours)
    return compiled, run()


def values_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The output, then the gradient of each floating-point input that needs one."""
    leaves = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in inputs]
    output = function(*leaves)
    weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
    (output * weights).sum().backward()
    return output, *(leaf.grad for leaf in leaves if leaf.requires_grad)


def random_boxes(count: int, size: float = 60) -> Tensor:
    """Boxes (count, 4) that overlap a good deal."""
    corner, sides = torch.rand(count, 2) * size, torch.rand(count, 2) * size / 2
    return torch.cat([corner, corner + sides], 1)


def assert_close(compiled: Sequence[Tensor], replaced: Sequence[Tensor]) -> None:
    torch.testing.assert_close(list(replaced), list(compiled))


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.9])
def test_nms(monkeypatch: pytest.MonkeyPatch, offset: int, threshold: float) -> None:
    boxes, scores = random_boxes(300), torch.rand(300)
    run = lambda: mmcv.ops.nms(boxes, scores, threshold, offset=offset)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'nms', run)
    assert 0 < len(compiled[1]) < 300
    assert_close(compiled, replaced)


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('operator', ['nms', 'soft_nms'])
def test_few_boxes(monkeypatch: pytest.MonkeyPatch, operator: str, count: int) -> None:
    boxes, scores = random_boxes(count), torch.rand(count)
    run = lambda: getattr(mmcv.ops, operator)(boxes, scores, 0.5)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'nms', run)
    assert_close(compiled, replaced)


@pytest.mark.parametrize('agnostic', [False, True])
def test_batched_nms(monkeypatch: pytest.MonkeyPatch, agnostic: bool) -> None:
    boxes, scores, classes = random_boxes(200), torch.rand(200), torch.randint(0, 5, (200,))
    config = dict(type='nms', iou_threshold=0.5, split_thr=100)
    run = lambda: mmcv.ops.batched_nms(boxes, scores, classes, config, agnostic)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'nms', run)
    assert_close(compiled, replaced)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('min_score', [1e-3, 0.4])
def test_soft_nms(
    monkeypatch: pytest.MonkeyPatch, method: str, offset: int, min_score: float
) -> None:
    boxes, scores = random_boxes(200), torch.rand(200)
    arguments = dict(iou_threshold=0.3, sigma=0.5, min_score=min_score, method=method)
    run = lambda: mmcv.ops.soft_nms(boxes, scores, offset=offset, **arguments)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'nms', run)
    assert 0 < len(compiled[1]) < 200
    assert_close(compiled, replaced)


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('size', [(7, 7), (3, 5)])
def test_roi_align(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], sampling_ratio: int, aligned: bool
) -> None:
    maps = torch.randn(2, 3, 16, 20, requires_grad=True)
    boxes = random_boxes(20, 90) - 10  # some reach over the borders
    rois = torch.cat([torch.randint(0, 2, (20, 1)).float(), boxes], 1)

    def align(maps: Tensor, rois: Tensor) -> Tensor:
        return mmcv.ops.roi_align(maps, rois, size, 0.25, sampling_ratio, 'avg', aligned)

    run = lambda: values_and_gradients(align, maps, rois)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'roi_align', run)
    assert compiled[1].abs().sum() > 0
    assert_close(compiled, replaced)


def test_roi_align_without_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(2, 3, 16, 20, requires_grad=True)
    align = lambda maps, rois: mmcv.ops.roi_align(maps, rois, (7, 7))  # noqa: E731
    run = lambda: values_and_gradients(align, maps, torch.zeros(0, 5))  # noqa: E731
    compiled, replaced = both(monkeypatch, 'roi_align', run)
    assert_close(compiled, replaced)


GEOMETRIES = [
    dict(stride=1, padding=1, dilation=1),
    dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    dict(stride=1, padding=1, dilation=1, groups=2, deform_groups=2),
]


def deformable_inputs(geometry: dict[str, Any], images: int = 2) -> tuple[Tensor, ...]:
    """Input, offset, mask and weight of a 3 x 3 kernel; the offsets leave the image at places."""
    groups, deform_groups = geometry.get('groups', 1), geometry.get('deform_groups', 1)
    source, weight = torch.randn(images, 4, 9, 11), torch.randn(6, 4 // groups, 3, 3)
    plain = {name: value for name, value in geometry.items() if name != 'deform_groups'}
    height, width = torch.conv2d(source, weight, **plain).shape[2:]
    offset = 3 * torch.randn(images, deform_groups * 18, height, width)
    mask = torch.rand(images, deform_groups * 9, height, width)
    return tuple(tensor.requires_grad_() for tensor in (source, offset, mask, weight))


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_deform_conv(monkeypatch: pytest.MonkeyPatch, geometry: dict[str, Any]) -> None:
    source, offset, _, weight = deformable_inputs(geometry)

    def convolve(source: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        return mmcv.ops.deform_conv2d(source, offset, weight, *geometry.values())

    run = lambda: values_and_gradients(convolve, source, offset, weight)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'deform_conv', run)
    assert len(compiled) == 4
    assert_close(compiled, replaced)


def test_deform_conv_of_a_batch_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    source, offset, _, weight = deformable_inputs({}, images=4)

    def convolve(source: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        return mmcv.ops.deform_conv2d(source, offset, weight, 1, 0, 1, 1, 1, False, 2)

    run = lambda: values_and_gradients(convolve, source, offset, weight)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'deform_conv', run)
    assert_close(compiled, replaced)


@pytest.mark.parametrize('with_bias', [False, True])
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_modulated_deform_conv(
    monkeypatch: pytest.MonkeyPatch, geometry: dict[str, Any], with_bias: bool
) -> None:
    inputs = deformable_inputs(geometry)
    if with_bias:
        inputs = *inputs, torch.randn(6, requires_grad=True)

    def convolve(*inputs: Tensor) -> Tensor:
        bias = inputs[4] if with_bias else None
        return mmcv.ops.modulated_deform_conv2d(*inputs[:4], bias, *geometry.values())

    run = lambda: values_and_gradients(convolve, *inputs)  # noqa: E731
    compiled, replaced = both(monkeypatch, 'modulated_deform_conv', run)
    assert len(compiled) == 5 + with_bias
    assert_close(compiled, replaced)


def test_offsets_of_a_finer_map_as_dyhead_passes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source, _, _, weight = deformable_inputs({})
    offset, mask = 3 * torch.randn(2, 18, 14, 18), torch.rand(2, 9, 14, 18)  # the output is 7 x 9
    inputs = source, offset.requires_grad_(), mask.requires_grad_(), weight

    def convolve(*tensors: Tensor) -> Tensor:
        return mmcv.ops.modulated_deform_conv2d(*tensors, None)

    def run() -> tuple[Tensor, ...]:
        return values_and_gradients(convolve, *inputs)

    compiled, replaced = both(monkeypatch, 'modulated_deform_conv', run)
    assert compiled[0].shape[2:] == (7, 9)
    assert_close(compiled, replaced)
    few = offset.detach()[:, :, :3, :3]
    with pytest.raises(ValueError, match='too small for an output of 7 x 9'):
        mmcv.ops.modulated_deform_conv2d(source, few, mask.detach(), weight, None)


def test_every_name_of_the_compiled_module_is_there() -> None:
    names = [name for name in dir(sys.modules['mmcv._ext']) if not name.startswith('_')]
    assert len(names) > 100
    assert all(callable(getattr(ours, name)) for name in names)
