"""Where the tokens of a grid lie in shifted windows, found once per grid.

The stock code pads, rolls, cuts and copies in every block of every forward, and draws up a mask
for each window. Here tokens go to their windows and back by one gather each, and windows are
grouped by their mask, of which there are four whatever the grid: inside, at the right edge, at the
lower edge, in the corner (Swin, arXiv 2103.14030, sec. 3.2).
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

MASKED = -100.0  # as the stock code adds it


@dataclass(frozen=True)
class Windows:
    """How a grid is cut.

    Attributes:
        grid: Height and width, in tokens.
        size: Height and width of a window.
        shift: Rows and columns that the grid is rolled by, up and to the left.
        pad_first: Whether the grid is padded to whole windows before it is rolled, or after.
    """

    grid: Grid
    size: Grid
    shift: Grid
    pad_first: bool


class WindowChunk:
    """Some windows with the same mask; each token lies in one window, so pieces share none.

    Args:
        rows: Row at each place of each window (k, N); ``count`` in padding.
        count: Number of rows.
        mask: What is added to attention, (N, N).
    """

    def __init__(self, rows: Tensor, count: int, mask: Tensor) -> None:
        present = rows.flatten() < count
        self.mask, self._tokens = mask, rows.shape[1]
        self.rows = rows.flatten()[present]
        self._places = present.nonzero().flatten()
        # Where there is padding: the row of each place, that of the padding behind the others.
        placed = torch.where(present, present.cumsum(0) - 1, len(self.rows))
        self._source = None if present.all() else placed

    def take(self, x: Tensor) -> Tensor:
        """The tokens of these windows (n, C) of all (B * L, C); zeros stand for padding."""
        tokens = x.index_select(0, self.rows)
        return tokens if self._source is None else F.pad(tokens, (0, 0, 0, 1))

    def split(self, tokens: Tensor) -> Tensor:
        """What :meth:`take` gave to windows: (n, C) -> (k, N, C)."""
        placed = tokens if self._source is None else tokens.index_select(0, self._source)
        return placed.unflatten(0, (-1, self._tokens))

    def join(self, windows: Tensor) -> Tensor:
        """Windows to tokens (n, C), without padding."""
        rows = windows.flatten(0, 1)
        return rows if self._source is None else rows.index_select(0, self._places)


class WindowLayout:
    """A grid in windows: n windows of N tokens, window by window, each over all images.

    Windows with the same mask lie side by side, so that each group is a view. Tokens travel as
    rows, (B * L, C); where the grid is padded, one more row stands for all of the padding.

    Args:
        windows: How the grid is cut.
        batch: Number of images.
        device: Where the tokens are.
    """

    def __init__(self, windows: Windows, batch: int, device: torch.device) -> None:
        tokens, kinds = _places(windows), _kinds(windows)
        self._gather = _Gather(tokens[kinds.argsort(stable=True)], batch, device)
        self._batch, self._tokens = batch, tokens.shape[1]
        self._counts = (batch * kinds.bincount(minlength=4)).tolist()
        self._masks = edge_masks(windows).to(device)

    def rows(self, x: Tensor) -> Tensor:
        """Tokens (B, L, C) as rows, with one of zeros where there is padding."""
        rows = x.flatten(0, 1)
        return F.pad(rows, (0, 0, 0, 1)) if self._gather.padded else rows

    def split(self, rows: Tensor) -> Tensor:
        """Rows to windows: (B * L, C) or one more -> (n * B, N, C)."""
        return _ToWindows.apply(rows, self._gather).unflatten(0, (-1, self._tokens))

    def join(self, windows: Tensor) -> Tensor:
        """Windows to tokens: (n * B, N, C) -> (B, L, C)."""
        rows = _ToRows.apply(windows.flatten(0, 1), self._gather)
        return rows.unflatten(0, (self._batch, -1))

    @cached_property
    def chunks(self) -> list[WindowChunk]:
        """The windows in pieces of a thousand tokens, each of one mask; a GPU never asks."""
        with torch.inference_mode(False):  # a later forward may want gradients
            return list(self._cut(CHUNK // self._tokens))

    def _cut(self, count: int) -> Iterator[WindowChunk]:
        """Pieces of ``count`` windows at most, each of one mask."""
        rows = self._gather.rows.view(-1, self._tokens)
        for group, mask in zip(rows.split(self._counts), self._masks, strict=True):
            for part in group.split(max(1, count)) if len(group) else ():
                yield WindowChunk(part, len(self._gather.places), mask)

    def groups(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Parts of (3, n * B, ...) along dim 1, each with its mask (N, N) to add: 0 or -100."""
        parts = x.split(self._counts, 1)
        return [(p, mask) for p, mask in zip(parts, self._masks, strict=True) if p.shape[1]]


class LayoutCache:
    """Cache of the most recently used layouts; a copy, deep or pickled, starts empty.

    Args:
        size: How many are kept. A Swin of four stages needs eight per image size and batch.
    """

    def __init__(self, size: int = 32) -> None:
        self._size = size
        self._layouts: OrderedDict[tuple, WindowLayout] = OrderedDict()

    def __len__(self) -> int:
        return len(self._layouts)

    def __reduce__(self) -> tuple[Any, ...]:
        return LayoutCache, (self._size,)

    def get(self, windows: Windows, tokens: Tensor) -> WindowLayout:
        """Layout for tokens (B, ...)."""
        key = (windows, len(tokens), tokens.device)
        if key not in self._layouts:
            # Tensors of inference mode could not take part in a training step later.
            with torch.inference_mode(False):
                self._layouts[key] = WindowLayout(*key)
        self._layouts.move_to_end(key)
        while len(self._layouts) > self._size:
            self._layouts.popitem(last=False)
        return self._layouts[key]


def edge_masks(windows: Windows) -> Tensor:
    """What is added to attention, (4, N, N): inside, right edge, lower edge, corner.

    A window at the edge of a rolled grid holds tokens of opposite sides; these are kept apart.
    """
    (height, width), (down, right) = windows.size, windows.shift
    rows = (torch.arange(height) >= height - down).repeat_interleave(width)
    columns = (torch.arange(width) >= width - right).repeat(height)
    apart = [(columns[:, None] != columns), (rows[:, None] != rows)]
    nowhere = torch.zeros_like(apart[0])
    masks = torch.stack([nowhere, apart[0], apart[1], apart[0] | apart[1]])
    return masks * MASKED


def _places(windows: Windows) -> Tensor:
    """Token at each place of each window (n, N), row by row; -1 in padding."""
    (height, width), (down, right) = windows.size, windows.shift
    tokens = torch.arange(windows.grid[0] * windows.grid[1]).view(windows.grid)
    padding = (0, -windows.grid[1] % width, 0, -windows.grid[0] % height)
    if windows.pad_first:
        tokens = F.pad(tokens, padding, value=-1).roll((-down, -right), (0, 1))
    else:
        tokens = F.pad(tokens.roll((-down, -right), (0, 1)), padding, value=-1)
    tokens = tokens.unflatten(1, (-1, width)).unflatten(0, (-1, height))
    return tokens.transpose(1, 2).reshape(-1, height * width)


def _kinds(windows: Windows) -> Tensor:
    """Which mask each window (n,) takes, 0 to 3, row by row."""
    (height, width), (down, right) = windows.size, windows.shift
    kinds = torch.zeros(-(-windows.grid[0] // height), -(-windows.grid[1] // width)).long()
    kinds[:, -1] += 1 * (right > 0)
    kinds[-1] += 2 * (down > 0)
    return kinds.flatten()


class _Gather:
    """Which row goes to which place, and back.

    Args:
        tokens: Token at each place of each window (n, N); -1 in padding.
        batch: Number of images B.
        device: Where the rows are.
    """

    def __init__(self, tokens: Tensor, batch: int, device: torch.device) -> None:
        empty = (tokens < 0)[:, None].expand(-1, batch, -1).flatten()
        count = int(tokens.max()) + 1
        rows = (tokens[:, None] + count * torch.arange(batch)[:, None]).flatten()
        rows[empty] = batch * count
        places = rows.argsort(stable=True)
        # Row at each place of (n, B, N), the last one in padding; place of each row; the others.
        self.rows = rows.to(device)
        self.places, self.empty = (part.to(device) for part in places.tensor_split([batch * count]))
        self.padded = len(self.empty) > 0


class _ToWindows(torch.autograd.Function):
    """Rows at their places; the gradient is a gather as well, and a sum for the padding's row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, gather: _Gather) -> Tensor:
        ctx.gather = gather
        return rows.index_select(0, gather.rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad, gather = grads[0], ctx.gather
        rows = grad.index_select(0, gather.places)
        if gather.padded:
            rows = torch.cat([rows, grad.index_select(0, gather.empty).sum(0, keepdim=True)])
        return rows, None


class _ToRows(torch.autograd.Function):
    """What lies at the places of rows; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, gather: _Gather) -> Tensor:
        ctx.gather = gather
        return windows.index_select(0, gather.places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rows = F.pad(grads[0], (0, 0, 0, 1)) if ctx.gather.padded else grads[0]
        return rows.index_select(0, ctx.gather.rows), None
