"""Deformable convolution, with and without modulation, by torchvision.

Both libraries order offsets alike: y, x of each sample of each group. mmcv's buffers (columns,
ones) and its number of images at a time (im2col_step) are not used.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Geometry(NamedTuple):
    """Stride, padding, dilation and groups, in the order of torchvision's operators."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    group: int
    deformable_group: int

    @classmethod
    def of_plain(cls, arguments: dict[str, int]) -> Geometry:
        """Take it from the keyword arguments of mmcv's deform_conv operators."""
        names = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
        return cls(*(arguments[name] for name in names))

    @classmethod
    def of_modulated(cls, arguments: dict[str, int]) -> Geometry:
        """Take it from the keyword arguments of mmcv's modulated_deform_conv operators."""
        return cls(*(arguments[name] for name in cls._fields))


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **arguments: int,
) -> None:
    """Write the convolution of input (B, C, H, W), sampled at the offsets, to output."""
    mask, bias = input.new_zeros(len(input), 1), input.new_zeros(len(weight))
    output.copy_(_convolve(input, weight, offset, mask, bias, Geometry.of_plain(arguments), False))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **arguments: int,
) -> None:
    """Write the gradients of input and offset."""
    gradients = _plain_gradients(grad_output, input, weight, offset, arguments)
    grad_input.copy_(gradients[0])
    grad_offset.copy_(gradients[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1,
    **arguments: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to grad_weight, whose values do not count."""
    gradients = _plain_gradients(grad_output, input, grad_weight, offset, arguments)
    grad_weight.add_(gradients[1], alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **arguments: int,
) -> None:
    """Write the convolution of input, sampled at the offsets and weighted by mask, to output."""
    bias = bias if with_bias else weight.new_zeros(len(weight))
    geometry = Geometry.of_modulated(arguments)
    offset, mask = (_as_read(values.contiguous(), output) for values in (offset, mask))
    output.copy_(_convolve(input, weight, offset, mask, bias, geometry, True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **arguments: int,
) -> None:
    """Write the gradients of input, weight, bias (if there is one), offset and mask."""
    bias = bias if with_bias else weight.new_zeros(len(weight))
    geometry = Geometry.of_modulated(arguments)
    offset, mask = (_as_read(values.contiguous(), grad_output) for values in (offset, mask))
    gradients = _gradients(grad_output, input, weight, offset, mask, bias, geometry, True)
    outputs = [grad_input, grad_weight, _as_read(grad_offset, grad_output)]
    outputs += [_as_read(grad_mask, grad_output), *[grad_bias] * with_bias]
    for output, gradient in zip(outputs, gradients, strict=False):
        output.copy_(gradient)


def _as_read(values: Tensor, output: Tensor) -> Tensor:
    """Return offsets or masks (B, K, ...) as mmcv reads their memory: (B, K, H, W) of the output.

    DyHead passes those of a finer map. mmcv takes the first K * H * W values of each image.

    Raises:
        ValueError: There are fewer values; mmcv would read beyond them.
    """
    images, channels = values.shape[:2]
    height, width = output.shape[-2:]
    flat = values.view(images, -1)
    if flat.shape[1] < channels * height * width:
        raise ValueError(
            f'offsets or masks of {tuple(values.shape)} are too small for an output of '
            f'{height} x {width}: expected as many positions as the output has.'
        )
    return flat[:, : channels * height * width].view(images, channels, height, width)


def _plain_gradients(
    grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, arguments: dict[str, int]
) -> tuple[Tensor, ...]:
    """Gradients of input, weight and offset, and two that mean nothing."""
    mask, bias = input.new_zeros(len(input), 1), input.new_zeros(len(weight))
    geometry = Geometry.of_plain(arguments)
    return _gradients(grad_output, input, weight, offset, mask, bias, geometry, False)


def _convolve(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    geometry: Geometry,
    use_mask: bool,
) -> Tensor:
    return torch.ops.torchvision.deform_conv2d(
        input, weight, _numbers(offset), mask, bias, *geometry, use_mask
    )


def _gradients(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    geometry: Geometry,
    use_mask: bool,
) -> tuple[Tensor, ...]:
    """Gradients of input, weight, offset, mask and bias."""
    return torch.ops.torchvision._deform_conv2d_backward(
        grad_output, input, weight, _numbers(offset), mask, bias, *geometry, use_mask
    )


def _numbers(offset: Tensor) -> Tensor:
    """Move samples at NaN out of the image: they count 0 in mmcv, and crash torchvision."""
    return offset.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
