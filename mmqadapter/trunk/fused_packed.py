"""Packed attention of mmseg's ViT through PyTorch's fused kernel."""

from __future__ import annotations

from typing import Any

from mmqadapter.trunk.ways import Way
from mmqadapter.trunk.window_layout import LayoutCache


class FusedPackedAttention(Way):
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
