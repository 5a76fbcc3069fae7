"""Our operators against values by hand and PyTorch's gradients; every environment runs these."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

from mmqadapter.compat.mmcv_ops import ext

BOXES = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 4], [20, 20, 29, 29]])
SCORES = torch.tensor([0.5, 0.9, 0.7])


def test_nms_by_falling_score() -> None:
    assert ext.nms(BOXES, SCORES, iou_threshold=0.6, offset=0).tolist() == [1, 2, 0]
    assert ext.nms(BOXES, SCORES, iou_threshold=0.4, offset=0).tolist() == [1, 2]


def test_the_offset_makes_corners_pixels() -> None:
    """Overlap 9 * 4 / 81 = 0.444 without it, 10 * 5 / 100 = 0.5 with it."""
    assert len(ext.nms(BOXES, SCORES, iou_threshold=0.47, offset=0)) == 3
    assert len(ext.nms(BOXES, SCORES, iou_threshold=0.47, offset=1)) == 2


def test_nms_keeps_the_first_of_equal_scores() -> None:
    boxes = torch.zeros(50, 4) + torch.tensor([0.0, 0, 5, 5])
    assert ext.nms(boxes, torch.full((50,), 0.5), iou_threshold=0.5, offset=0).tolist() == [0]


@pytest.mark.parametrize(
    ('method', 'weight'), [(0, 0.0), (1, 1 - 4 / 9), (2, torch.exp(torch.tensor(-16 / 81 / 0.5)))]
)
def test_softnms_lowers_the_scores_of_overlapping_boxes(method: int, weight: float) -> None:
    dets = torch.full((3, 5), -1.0)
    kept = ext.softnms(
        BOXES, SCORES, dets, iou_threshold=0.3, sigma=0.5, min_score=0.01, method=method, offset=0
    )
    expected = [1, 2, 0] if weight else [1, 2]
    assert kept.tolist() == expected
    torch.testing.assert_close(dets[: len(kept), :4], BOXES[kept])
    scores = [0.9, 0.7, 0.5 * float(weight)][: len(kept)]
    torch.testing.assert_close(dets[: len(kept), 4], torch.tensor(scores))
    assert SCORES.tolist() == pytest.approx([0.5, 0.9, 0.7])  # the caller's tensor is not changed


def test_roi_align_of_a_ramp_is_the_value_at_the_centers() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8).contiguous()
    output = torch.zeros(1, 1, 2, 2)
    geometry = dict(aligned_height=2, aligned_width=2, spatial_scale=0.5, sampling_ratio=2)
    rois = torch.tensor([[0.0, 2, 2, 10, 10]])  # columns 1 to 5 of the map
    none = torch.zeros(0)
    ext.roi_align_forward(ramp, rois, output, none, none, **geometry, pool_mode=1, aligned=True)
    assert output.tolist() == [[[[1.5, 3.5], [1.5, 3.5]]]]  # around 2 and 4, less half a pixel
    gradient = torch.zeros(1, 1, 8, 8)
    ext.roi_align_backward(
        torch.ones(1, 1, 2, 2), rois, none, none, gradient, **geometry, pool_mode=1, aligned=True
    )
    assert gradient.sum() == pytest.approx(4)  # each cell is a mean


def test_focal_loss_and_its_gradient() -> None:
    logits = torch.randn(6, 3, requires_grad=True)
    target, weight = torch.tensor([0, 1, 2, 3, 2, 0]), torch.tensor([0.5, 2.0, 1.5])
    hot, alpha, gamma = F.one_hot(target, 4)[:, :3], 0.25, 2.0
    p = logits.sigmoid()
    modulation = torch.where(hot == 1, alpha * (1 - p) ** gamma, (1 - alpha) * p**gamma)
    loss = modulation * F.binary_cross_entropy(p, hot.float(), reduction='none')
    rows = torch.cat([weight, torch.ones(1)])[target]  # background has no class and weight 1
    (loss * rows[:, None]).sum().backward()
    output, gradient = torch.zeros(6, 3), torch.zeros(6, 3)
    ext.sigmoid_focal_loss_forward(logits.detach(), target, weight, output, gamma, alpha)
    ext.sigmoid_focal_loss_backward(logits.detach(), target, weight, gradient, gamma, alpha)
    torch.testing.assert_close(output, (loss * rows[:, None]).detach())
    torch.testing.assert_close(gradient, logits.grad)


@pytest.mark.parametrize('target', [0, 1])
def test_the_focal_loss_of_sure_predictions_is_finite(target: int) -> None:
    logits, output = torch.tensor([[200.0], [-200.0]]), torch.zeros(2, 1)
    targets, none = torch.full((2,), target), torch.zeros(0)
    ext.sigmoid_focal_loss_forward(logits, targets, none, output, 2.0, 0.25)
    assert sorted(output.flatten().tolist()) == pytest.approx([0, 50 if target == 0 else 150])


def test_deformable_attention_and_its_gradients() -> None:
    value = torch.randn(2, 20, 2, 4)
    shapes, starts = torch.tensor([[4, 4], [2, 2]]), torch.tensor([0, 16])
    locations, weights = torch.rand(2, 5, 2, 2, 3, 2), torch.rand(2, 5, 2, 2, 3)
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    expected = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    grad_output = torch.randn_like(expected)
    expected.backward(grad_output)
    inputs = value.detach(), shapes, starts, locations.detach(), weights.detach()
    torch.testing.assert_close(ext.ms_deform_attn_forward(*inputs, im2col_step=64), expected)
    gradients = [torch.zeros_like(tensor) for tensor in leaves]
    with torch.no_grad():  # as in the backward of an autograd.Function
        ext.ms_deform_attn_backward(*inputs, grad_output, *gradients, im2col_step=64)
    torch.testing.assert_close(gradients, [leaf.grad for leaf in leaves])


def test_deform_conv_without_offsets_is_a_convolution() -> None:
    source, weight = torch.randn(2, 4, 6, 7), torch.randn(3, 4, 3, 3)
    output, none = torch.zeros(2, 3, 6, 7), torch.zeros(0)
    geometry = dict(dW=1, dH=1, padW=1, padH=1, dilationW=1, dilationH=1, group=1)
    offset = torch.zeros(2, 18, 6, 7)
    ext.deform_conv_forward(
        source, weight, offset, output, none, none,
        kW=3, kH=3, deformable_group=1, im2col_step=2, **geometry,
    )  # fmt: skip
    torch.testing.assert_close(output, F.conv2d(source, weight, padding=1))


def test_samples_of_deform_conv_at_nan_count_zero() -> None:
    source, weight = torch.randn(1, 1, 4, 4), torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 4, 4)
    offset[:, :, 1, 2] = torch.nan
    offset[:, :, 3, 0] = torch.inf
    geometry = dict(
        kW=1, kH=1, dW=1, dH=1, padW=0, padH=0, dilationW=1, dilationH=1, group=1,
        deformable_group=1, im2col_step=1,
    )  # fmt: skip
    output, none = torch.zeros(1, 1, 4, 4), torch.zeros(0)
    ext.deform_conv_forward(source, weight, offset, output, none, none, **geometry)
    expected = source.clone()
    expected[:, :, 1, 2] = expected[:, :, 3, 0] = 0
    torch.testing.assert_close(output, expected)
    grad_input, grad_offset = torch.zeros_like(source), torch.zeros_like(offset)
    ext.deform_conv_backward_input(
        source, offset, torch.ones_like(output), grad_input, grad_offset, weight, none, **geometry
    )
    expected = torch.ones_like(source)
    expected[:, :, 1, 2] = expected[:, :, 3, 0] = 0
    torch.testing.assert_close(grad_input, expected)


def test_a_missing_operator_says_so_when_it_is_called() -> None:
    operator = ext.carafe_forward  # mmcv looks it up at import
    match = "does not replace 'carafe_forward': install mmcv with its operators"
    with pytest.raises(NotImplementedError, match=match):
        operator(torch.zeros(1), mode='x')


def test_the_maximum_of_roi_align_is_missing() -> None:
    none = torch.zeros(0)
    with pytest.raises(NotImplementedError, match='pool_mode'):
        ext.roi_align_forward(none, none, none, none, none, 1, 1, 1.0, 0, pool_mode=0, aligned=True)


def test_private_names_are_not_operators() -> None:
    assert not hasattr(ext, '__wrapped__')  # inspect asks modules for such names


def test_mmengines_report_of_the_environment_prints_it() -> None:
    assert 'mmqadapter' in ext.get_compiler_version()
    assert ext.get_compiling_cuda_version() == ext.get_compiler_version()
