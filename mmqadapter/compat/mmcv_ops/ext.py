"""The module that mmcv gets as ``mmcv._ext``: the operators below, and an error for any other.

Names, arguments and the habit of writing results into tensors of the caller are those of mmcv's
C++ bindings (mmcv/ops/csrc/pytorch/pybind.cpp).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from mmqadapter.compat.mmcv_ops.deform_attention import (
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)
from mmqadapter.compat.mmcv_ops.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from mmqadapter.compat.mmcv_ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)
from mmqadapter.compat.mmcv_ops.missing import missing
from mmqadapter.compat.mmcv_ops.nms import nms, softnms
from mmqadapter.compat.mmcv_ops.roi_align import roi_align_backward, roi_align_forward

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]
NOT_COMPILED = 'none (mmqadapter replaces the operators)'


def get_compiler_version() -> str:
    """Return what mmengine's report of the environment prints as the compiler of mmcv."""
    return NOT_COMPILED


def get_compiling_cuda_version() -> str:
    """Return what mmengine's report of the environment prints as the CUDA of mmcv."""
    return NOT_COMPILED


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return an operator that raises when it is called: mmcv asks for every name at import."""
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def operator(*args: Any, **kwargs: Any) -> NoReturn:
        raise missing(name)

    return operator
