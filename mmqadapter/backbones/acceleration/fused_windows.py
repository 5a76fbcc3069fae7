"""Window attention of the Swins of mmdet, mmseg and timm through PyTorch's fused kernel.

These are faster forwards (see :mod:`mmqadapter.backbones.acceleration.class_swap`), so that the
attributes they read have the stock names. They act in eval mode, the mode of a wrapped trunk; in
training mode the stock code runs, including dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from mmqadapter.backbones.acceleration.chunks import fits_chunks
from mmqadapter.backbones.acceleration.class_swap import FastForward
from mmqadapter.backbones.acceleration.window_layout import (
    LayoutCache,
    WindowChunk,
    WindowLayout,
    Windows,
)
from mmqadapter.utils.tensor_cache import TensorCache


class FusedWindowAttention(FastForward):
    """Forward of ``WindowMSA`` (mmdet, mmseg) and ``WindowAttention`` (timm).

    q, k and v are projected before tokens are gathered into windows, and outputs after they are
    back in the grid, so that padding (a fifth more tokens for a grid of 32 x 32 in windows of
    7 x 7) is not projected. A frozen relative position bias is gathered once.
    """

    relative_position_bias_table: Tensor
    relative_position_index: Tensor
    num_heads: int
    scale: float
    qkv: nn.Module
    proj: nn.Module
    proj_drop: nn.Module

    def prepare(self, layouts: LayoutCache) -> None:
        """Cache the position bias if it does not train."""
        self._cache = None if self.relative_position_bias_table.requires_grad else TensorCache()

    def forward(self, x: Tensor, mask: Tensor | WindowLayout | None = None) -> Tensor:
        """Attend within the windows of a layout, (B, L, C) -> (B, L, C); else the stock forward."""
        if not isinstance(mask, WindowLayout):
            return super().forward(x, mask)
        if fits_chunks(self, x) and len(mask.chunks) > 1:
            return self._forward_chunks(x, mask.chunks)
        qkv, bias = self._heads(mask.split(self.qkv(mask.rows(x)))), self._bias()
        groups = [self._attend(group, bias + edge) for group, edge in mask.groups(qkv)]
        windows = torch.cat(groups) if len(groups) > 1 else groups[0]
        return self.proj_drop(self.proj(mask.join(windows)))

    def _forward_chunks(self, x: Tensor, chunks: Sequence[WindowChunk]) -> Tensor:
        """Project, attend and project back one chunk of windows after another."""
        rows, bias, output = x.flatten(0, 1), self._bias(), None
        for chunk in chunks:
            qkv = self._heads(chunk.split(self.qkv(chunk.take(rows))))
            tokens = self.proj(chunk.join(self._attend(qkv, bias + chunk.mask)))
            output = tokens.new_empty(rows.shape) if output is None else output
            output.index_copy_(0, chunk.rows, tokens)
        assert output is not None, 'a grid has windows'
        return self.proj_drop(output.view_as(x))

    def _heads(self, qkv: Tensor) -> Tensor:
        """View windows (n, N, 3 C) as (3, n, heads, N, d)."""
        return qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Return attention (n, N, C) of q, k, v (3, n, heads, N, d) with a bias (heads, N, N)."""
        q, k, v = qkv.unbind(0)
        bias = bias.to(q.dtype)[None]
        heads = scaled_dot_product_attention(q, k, v, bias, scale=self.scale)
        return heads.transpose(1, 2).flatten(2)

    def _bias(self) -> Tensor:
        """Return the relative position bias (heads, N, N)."""
        table, cache = self.relative_position_bias_table, self._cache
        return self._gather_bias() if cache is None else cache.get(self._gather_bias, table)

    def _gather_bias(self) -> Tensor:
        index = self.relative_position_index
        bias = self.relative_position_bias_table[index.flatten()]
        return bias.view(*index.shape, -1).permute(2, 0, 1).contiguous()


class FusedShiftedWindows(FastForward):
    """Forward of ``ShiftWindowMSA`` (mmdet, mmseg), with windows by one gather."""

    window_size: int
    shift_size: int
    w_msa: nn.Module
    drop: nn.Module

    def prepare(self, layouts: LayoutCache) -> None:
        """Keep the cache of layouts that all modules share."""
        self._layouts = layouts

    def forward(self, query: Tensor, hw_shape: Any) -> Tensor:
        """Attend within shifted windows of a grid (H, W), (B, H * W, C) -> (B, H * W, C)."""
        if self.training:
            return super().forward(query, hw_shape)
        (height, width), (size, shift) = hw_shape, (self.window_size, self.shift_size)
        windows = Windows((int(height), int(width)), (size, size), (shift, shift), pad_first=True)
        return self.drop(self.w_msa(query, mask=self._layouts.get(windows, query)))


class FusedSwinBlock(FastForward):
    """Attention of ``SwinTransformerBlock`` (timm), with windows by one gather."""

    window_size: tuple[int, int]
    shift_size: tuple[int, int]
    attn: nn.Module

    def prepare(self, layouts: LayoutCache) -> None:
        """Keep the cache of layouts that all modules share."""
        self._layouts = layouts

    def _attn(self, x: Tensor) -> Tensor:
        """Attend within shifted windows, (B, H, W, C) -> (B, H, W, C)."""
        if self.training:
            return super()._attn(x)  # type: ignore[misc]
        grid, tokens = (x.shape[1], x.shape[2]), x.flatten(1, 2)
        windows = Windows(grid, self.window_size, self.shift_size, pad_first=False)
        return self.attn(tokens, mask=self._layouts.get(windows, x)).view_as(x)
