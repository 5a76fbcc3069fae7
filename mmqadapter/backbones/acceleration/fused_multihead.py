"""Attention of mmseg's ViT (``torch.nn.MultiheadAttention``) through PyTorch's fused kernel."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmqadapter.backbones.acceleration.class_swap import FastForward
from mmqadapter.backbones.acceleration.window_layout import LayoutCache


class ContiguousAttention(FastForward):
    """Forward of ``torch.nn.MultiheadAttention`` with contiguous inputs.

    mmcv passes transposed inputs, which PyTorch would multiply token by token, with a copy of the
    weight for each.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the stock attention within rounding; in training mode exactly."""
        if not self.training:
            query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        return super().forward(query, key, value, *args, **kwargs)


class FusedMultiheadAttention(ContiguousAttention):
    """Forward of ``torch.nn.MultiheadAttention`` without attention weights.

    mmcv requests these weights and ignores them, which rules out PyTorch's fused kernels. In
    training mode the stock code runs.
    """

    def prepare(self, layouts: LayoutCache) -> None:
        """Do nothing, since these modules share nothing."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the stock attention; return None instead of the attention weights."""
        if not self.training:
            kwargs['need_weights'] = False
        return super().forward(*args, **kwargs)
