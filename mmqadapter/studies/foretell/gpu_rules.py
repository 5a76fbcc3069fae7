"""Rules by which a step runs on a GPU, for tensors without content that say they are on a CPU.

Autograd of tensors on a GPU needs the GPU, even if they have no content.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

aten = torch.ops.aten
# Operations that autocast runs in float32 on a GPU, but in the dtype of their inputs on a CPU.
IN_FLOAT32 = (
    'layer_norm', 'native_layer_norm', 'group_norm', 'exp', 'log', 'log1p', 'reciprocal', 'rsqrt',
    'pow.Tensor_Scalar', 'pow.Tensor_Tensor', 'pow.Scalar', 'softplus', 'logsumexp',
    'cosine_similarity', 'upsample_nearest2d', 'upsample_bilinear2d', 'upsample_bicubic2d',
)  # fmt: skip
SUMMED_IN_FLOAT32 = ('sum', 'sum.dim_IntList', 'cumsum')
SOFTMAX = {'softmax.int': aten._softmax.default, 'log_softmax.int': aten._log_softmax.default}
Kernel = Callable[..., Any]


@contextmanager
def gpu_autocast() -> Iterator[None]:
    """Let ``torch.autocast('cpu', torch.float16)`` follow the rules of a GPU."""
    library = torch.library.Library('aten', 'IMPL')
    kernels = {
        **{name: _in_float32(name) for name in IN_FLOAT32},
        **{name: _summed(name) for name in SUMMED_IN_FLOAT32},
        **{name: _softmax(stock) for name, stock in SOFTMAX.items()},
    }
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that it overrides the default kernel
        for name, kernel in kernels.items():
            library.impl(name, kernel, 'AutocastCPU')
    try:
        yield
    finally:
        library._destroy()


@contextmanager
def gpu_losses() -> Iterator[None]:
    """Let mmdet's focal loss run as the one operation that it is on a GPU."""
    try:
        from mmdet.models.losses.focal_loss import FocalLoss
    except ImportError:
        yield
        return
    stock = FocalLoss.forward
    with patch.object(FocalLoss, 'forward', _focal_loss(stock)):
        yield


@contextmanager
def gpu_rules() -> Iterator[None]:
    """Apply all of them."""
    with ExitStack() as stack:
        stack.enter_context(gpu_autocast())
        stack.enter_context(gpu_losses())
        yield


def _operator(name: str) -> Any:
    packet, _, overload = name.partition('.')
    return getattr(getattr(aten, packet), overload or 'default')


def _in_float32(name: str) -> Kernel:
    operator = _operator(name)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast('cpu', enabled=False):
            return operator(*tree_map(_float32, args), **tree_map(_float32, kwargs))

    return kernel


def _float32(value: Any) -> Any:
    return value.float() if _is_half(value) else value


def _is_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)


def _summed(name: str) -> Kernel:
    operator = _operator(name)

    def kernel(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if _is_half(tensor) and kwargs.get('dtype') is None:
            kwargs['dtype'] = torch.float32
        with torch.autocast('cpu', enabled=False):
            return operator(tensor, *args, **kwargs)

    return kernel


def _softmax(operator: Any) -> Kernel:
    def kernel(tensor: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        tensor = tensor if dtype is None else tensor.to(dtype)
        with torch.autocast('cpu', enabled=False):
            if tensor.dtype == torch.float16:  # float32 without a copy of the input
                return operator(tensor, dim, True)
            return operator(_float32(tensor), dim, False)

    return kernel


def _focal_loss(stock: Kernel) -> Kernel:
    from mmdet.models.losses.focal_loss import sigmoid_focal_loss

    def forward(
        self: Any,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Any = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if self.activated or pred.dim() == target.dim():
            return stock(self, pred, target, weight, avg_factor, reduction_override)
        reduction = reduction_override or self.reduction
        return self.loss_weight * sigmoid_focal_loss(
            pred, target, weight, self.gamma, self.alpha, reduction, avg_factor
        )

    return forward
