"""Layout of the tokens of a grid in shifted windows, computed once per grid.

The stock code pads, rolls, cuts and copies in every block of every forward, and builds a mask for
each window. Here one gather brings tokens into windows and another one brings them back. Windows
are grouped by their mask; there are four masks for any grid: inside, right edge, lower edge and
corner (Swin, arXiv 2103.14030, sec. 3.2).

A *row* is a token of a batch, an index into tokens flattened to (B * L, C). A *slot* is one of the
N positions in a window; it holds a row, or padding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmqadapter.backbones.acceleration.chunks import CHUNK
from mmqadapter.utils.token_grid import Grid

MASKED = -100.0  # value that the stock code adds to masked attention


@dataclass(frozen=True)
class Windows:
    """Partition of a token grid into shifted windows.

    Attributes:
        grid: Height and width, in tokens.
        size: Height and width of a window.
        shift: Rows and columns that the grid is rolled by, up and to the left.
        pad_first: Whether the grid is padded to whole windows before it is rolled; else after.
    """

    grid: Grid
    size: Grid
    shift: Grid
    pad_first: bool


class WindowChunk:
    """Chunk of windows with the same mask; no two chunks share a token.

    Args:
        rows: Row in each slot of each window (k, N); ``count`` for padding.
        count: Number of rows of the whole grid, B * L.
        mask: Mask (N, N) that is added to attention.
    """

    def __init__(self, rows: Tensor, count: int, mask: Tensor) -> None:
        present = rows.flatten() < count
        self.mask, self._tokens = mask, rows.shape[1]
        self.rows = rows.flatten()[present]
        self._slots = present.nonzero().flatten()
        # With padding: index into the taken tokens for each slot; the last of these is the padding.
        indices = torch.where(present, present.cumsum(0) - 1, len(self.rows))
        self._source = None if present.all() else indices

    def take(self, x: Tensor) -> Tensor:
        """Return the tokens of these windows (n, C), of all (B * L, C); with zeros for padding."""
        tokens = x.index_select(0, self.rows)
        return tokens if self._source is None else F.pad(tokens, (0, 0, 0, 1))

    def split(self, tokens: Tensor) -> Tensor:
        """Bring the result of :meth:`take` into windows: (n, C) -> (k, N, C)."""
        slots = tokens if self._source is None else tokens.index_select(0, self._source)
        return slots.unflatten(0, (-1, self._tokens))

    def join(self, windows: Tensor) -> Tensor:
        """Bring windows (k, N, C) back to tokens (n, C), without padding."""
        slots = windows.flatten(0, 1)
        return slots if self._source is None else slots.index_select(0, self._slots)


class WindowLayout:
    """Layout of a batch of grids in n windows of N slots, in the order (window, image).

    Windows with the same mask are adjacent, so that each group is a view. If the grid is padded,
    one additional row stands for all padding.

    Args:
        windows: Partition of the grid.
        batch: Number of images B.
        device: Device of the tokens.
    """

    def __init__(self, windows: Windows, batch: int, device: torch.device) -> None:
        tokens, masks = _window_tokens(windows), _mask_numbers(windows)
        self._indices = _SlotIndices(tokens[masks.argsort(stable=True)], batch, device)
        self._batch, self._tokens = batch, tokens.shape[1]
        self._counts = (batch * masks.bincount(minlength=4)).tolist()
        self._masks = edge_masks(windows).to(device)

    def rows(self, x: Tensor) -> Tensor:
        """Return tokens (B, L, C) as rows, with one row of zeros more if there is padding."""
        rows = x.flatten(0, 1)
        return F.pad(rows, (0, 0, 0, 1)) if self._indices.padded else rows

    def split(self, rows: Tensor) -> Tensor:
        """Bring rows into windows: (B * L, C), or one row more, -> (n * B, N, C)."""
        return _ToWindows.apply(rows, self._indices).unflatten(0, (-1, self._tokens))

    def join(self, windows: Tensor) -> Tensor:
        """Bring windows back to tokens: (n * B, N, C) -> (B, L, C)."""
        rows = _ToRows.apply(windows.flatten(0, 1), self._indices)
        return rows.unflatten(0, (self._batch, -1))

    @cached_property
    def chunks(self) -> list[WindowChunk]:
        """Chunks of about a thousand tokens, each with one mask; used on a CPU only."""
        with torch.inference_mode(False):  # a later forward may need gradients
            return list(self._cut(CHUNK // self._tokens))

    def _cut(self, count: int) -> Iterator[WindowChunk]:
        """Return chunks of at most ``count`` windows, each with one mask."""
        rows = self._indices.rows.view(-1, self._tokens)
        for group, mask in zip(rows.split(self._counts), self._masks, strict=True):
            for chunk in group.split(max(1, count)) if len(group) else ():
                yield WindowChunk(chunk, len(self._indices.slots), mask)

    def groups(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Split (3, n * B, ...) along dim 1 by mask; return each part with its mask (N, N).

        Masks hold 0 or -100, to be added to attention.
        """
        parts = x.split(self._counts, 1)
        return [(p, mask) for p, mask in zip(parts, self._masks, strict=True) if p.shape[1]]


class LayoutCache:
    """Cache of the most recently used layouts; a copy, deep or pickled, starts empty.

    Args:
        size: Number of layouts. A Swin of four stages needs eight per image size and batch size.
    """

    def __init__(self, size: int = 32) -> None:
        self._size = size
        self._layouts: OrderedDict[tuple, WindowLayout] = OrderedDict()

    def __len__(self) -> int:
        return len(self._layouts)

    def __reduce__(self) -> tuple[Any, ...]:
        return LayoutCache, (self._size,)

    def get(self, windows: Windows, tokens: Tensor) -> WindowLayout:
        """Return the layout for tokens (B, ...), which is computed if it is not cached."""
        key = (windows, len(tokens), tokens.device)
        if key not in self._layouts:
            # A training step could not use tensors that were made in inference mode.
            with torch.inference_mode(False):
                self._layouts[key] = WindowLayout(*key)
        self._layouts.move_to_end(key)
        while len(self._layouts) > self._size:
            self._layouts.popitem(last=False)
        return self._layouts[key]


def edge_masks(windows: Windows) -> Tensor:
    """Return the masks (4, N, N) to add to attention: inside, right edge, lower edge, corner.

    A window at the edge of a rolled grid has tokens from opposite sides of the grid, which must not
    attend to each other.
    """
    (height, width), (down, right) = windows.size, windows.shift
    rows = (torch.arange(height) >= height - down).repeat_interleave(width)
    columns = (torch.arange(width) >= width - right).repeat(height)
    right_edge, lower_edge = columns[:, None] != columns, rows[:, None] != rows
    inside = torch.zeros_like(right_edge)
    masks = torch.stack([inside, right_edge, lower_edge, right_edge | lower_edge])
    return masks * MASKED


def _window_tokens(windows: Windows) -> Tensor:
    """Return the token in each slot of each window (n, N), row-major; -1 for padding."""
    (height, width), (down, right) = windows.size, windows.shift
    tokens = torch.arange(windows.grid[0] * windows.grid[1]).view(windows.grid)
    padding = (0, -windows.grid[1] % width, 0, -windows.grid[0] % height)
    if windows.pad_first:
        tokens = F.pad(tokens, padding, value=-1).roll((-down, -right), (0, 1))
    else:
        tokens = F.pad(tokens.roll((-down, -right), (0, 1)), padding, value=-1)
    tokens = tokens.unflatten(1, (-1, width)).unflatten(0, (-1, height))
    return tokens.transpose(1, 2).reshape(-1, height * width)


def _mask_numbers(windows: Windows) -> Tensor:
    """Return the number of the mask, 0 to 3, of each window (n,), row-major."""
    (height, width), (down, right) = windows.size, windows.shift
    numbers = torch.zeros(-(-windows.grid[0] // height), -(-windows.grid[1] // width)).long()
    numbers[:, -1] += 1 * (right > 0)
    numbers[-1] += 2 * (down > 0)
    return numbers.flatten()


class _SlotIndices:
    """Indices that bring rows into the slots of windows and back.

    Args:
        tokens: Token in each slot of each window (n, N); -1 for padding.
        batch: Number of images B.
        device: Device of the indices.

    Attributes:
        rows: Row in each slot (n * B * N,); B * L for padding.
        slots: Slot of each row (B * L,).
        empty: Slots with padding.
        padded: Whether there is padding.
    """

    def __init__(self, tokens: Tensor, batch: int, device: torch.device) -> None:
        empty = (tokens < 0)[:, None].expand(-1, batch, -1).flatten()
        count = int(tokens.max()) + 1
        rows = (tokens[:, None] + count * torch.arange(batch)[:, None]).flatten()
        rows[empty] = batch * count
        slots = rows.argsort(stable=True)  # empty slots come last
        self.rows = rows.to(device)
        self.slots, self.empty = (part.to(device) for part in slots.tensor_split([batch * count]))
        self.padded = len(self.empty) > 0


class _ToWindows(torch.autograd.Function):
    """Gather of rows into slots; its gradient is a gather too, and a sum for the row of padding."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, indices: _SlotIndices) -> Tensor:
        ctx.indices = indices
        return rows.index_select(0, indices.rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad, indices = grads[0], ctx.indices
        rows = grad.index_select(0, indices.slots)
        if indices.padded:
            rows = torch.cat([rows, grad.index_select(0, indices.empty).sum(0, keepdim=True)])
        return rows, None


class _ToRows(torch.autograd.Function):
    """Gather of slots back into rows; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, indices: _SlotIndices) -> Tensor:
        ctx.indices = indices
        return windows.index_select(0, indices.slots)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows = F.pad(grads[0], (0, 0, 0, 1)) if ctx.indices.padded else grads[0]
        return rows.index_select(0, ctx.indices.rows), None
