"""Multi-scale deformable attention by mmcv's own PyTorch form, which mmcv keeps for the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Return the attended values (B, queries, channels).

    Args:
        value: (B, keys, heads, channels of a head); the keys of all levels, one after the other.
        spatial_shapes: Height and width of each level (levels, 2).
        level_start_index: First key of each level; follows from the shapes, not used.
        sampling_locations: (B, queries, heads, levels, points, 2) as x, y from 0 to 1.
        attention_weights: (B, queries, heads, levels, points).
        im2col_step: Images at a time; not used.
    """
    # mmcv.ops imports this module while it is imported itself
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch as attend

    return attend(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_locations: Tensor,
    grad_attention_weights: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of value, sampling_locations and attention_weights."""
    inputs = [value, sampling_locations, attention_weights]
    with torch.enable_grad():
        value, locations, weights = (tensor.detach().requires_grad_() for tensor in inputs)
        output = ms_deform_attn_forward(
            value, spatial_shapes, level_start_index, locations, weights, im2col_step
        )
        gradients = torch.autograd.grad(output, [value, locations, weights], grad_output)
    outputs = [grad_value, grad_sampling_locations, grad_attention_weights]
    for written, gradient in zip(outputs, gradients, strict=True):
        written.copy_(gradient)
