"""Packed attention of mmseg's ViT through PyTorch's fused kernel."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmqadapter.backbones.acceleration.class_swap import FastForward
from mmqadapter.backbones.acceleration.window_layout import LayoutCache


class ContiguousAttention(FastForward):
    """Attention whose inputs are laid out in a row first; ahead of ``torch.nn.MultiheadAttention``.

    mmcv transposes them, and PyTorch then multiplies token by token, with a copy of the weight for
    each.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the stock module, within rounding; in training mode the same."""
        if not self.training:
            query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        return super().forward(query, key, value, *args, **kwargs)


class FusedPackedAttention(ContiguousAttention):
    """Attention without its weights, which mmcv asks for and drops; they rule out fused kernels.

    Ahead of ``torch.nn.MultiheadAttention``. In training mode the stock code computes.
    """

    def prepare(self, layouts: LayoutCache) -> None:
        """Nothing is shared."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As ``torch.nn.MultiheadAttention``, with None for the weights."""
        if not self.training:
            kwargs['need_weights'] = False
        return super().forward(*args, **kwargs)
