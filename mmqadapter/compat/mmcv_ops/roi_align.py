"""RoIAlign by torchvision."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import ops

from mmqadapter.compat.mmcv_ops.missing import missing

MAX = 0  # pool_mode of mmcv; 1 is the mean, the only one that torchvision has


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the mean of bilinear samples in each cell of each box to output.

    Args:
        input: Maps (B, C, H, W).
        rois: (N, 5) as index of the map, x1, y1, x2, y2 in pixels of the image.
        output: (N, C, aligned_height, aligned_width), written.
        argmax_y: Of mmcv's maximum; not used.
        argmax_x: Of mmcv's maximum; not used.
        aligned_height: Cells of a box along y.
        aligned_width: Cells of a box along x.
        spatial_scale: Pixels of the map for a pixel of the image.
        sampling_ratio: Samples along each side of a cell; 0 as many as the cell has pixels.
        pool_mode: 1 for the mean.
        aligned: Shift by half a pixel.

    Raises:
        NotImplementedError: If the pool mode is the maximum.
    """
    if pool_mode == MAX:
        raise missing("roi_align(pool_mode='max')")
    size = (aligned_height, aligned_width)
    output.copy_(ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the maps to grad_input (B, C, H, W); arguments as for forward."""
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output,
        rois,
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        max(sampling_ratio, 0),
        aligned,
    )
    grad_input.copy_(gradient)
