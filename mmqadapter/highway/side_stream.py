"""The gradient highway: a side stream of adapters beside a trunk that takes no gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from mmqadapter.highway.residual import PendingUpdate, add_updates
from mmqadapter.utils.token_grid import Grid, grid_tokens, to_map


class Highway(nn.Module):
    """What trains on the highway; :meth:`start` gives the stream of one forward pass.

    ``h <- cell(h, tap)`` at each tap, ``h <- merging(h)`` between stages, and map i is
    ``norm_i(trunk_i + h)``: arXiv 2306.09729. A plain ViT has one stage and several outputs.

    Args:
        stages: Cells ``(h, tap, grid) -> h`` of each stage, one per tap, in execution order.
        mergings: ``(h, trunk, grid) -> h`` from each stage to the next.
        norms: Norms of the outputs, in execution order; ``nn.Identity()`` for none.
        stem: images (B, 3, H, W) -> h before the first tap.
    """

    def __init__(
        self,
        stages: Iterable[Iterable[nn.Module]],
        mergings: Iterable[nn.Module],
        norms: Iterable[nn.Module],
        stem: nn.Module,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(nn.ModuleList(cells) for cells in stages)
        self.mergings = nn.ModuleList(mergings)
        self.norms = nn.ModuleList(norms)

    def start(self, images: Tensor) -> SideStream:
        """Side stream of a forward pass over images (B, 3, H, W)."""
        return SideStream(self, self.stem(images))


class SideStream:
    """Side stream of one forward pass, fed by the trunk in execution order.

    Each call takes the stage, tokens (B, L, C) and the grid (H, W); class and register tokens,
    which come first, are skipped. Tokens are used at once and not kept (but by an adapter, for
    backward). A tap's tokens carry no graph. What cells add that do not read the stream is added
    where the stream is needed next, all in one.
    """

    def __init__(self, highway: Highway, start: Tensor) -> None:
        self._h = start
        self._cells = [iter(cells) for cells in _lists(highway.stages)]
        self._mergings = highway.mergings
        self._norms = iter(highway.norms)
        self._maps: list[Tensor] = []
        self._updates: list[PendingUpdate] = []

    def tap(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Let the next cell of the stage read a tap."""
        tap = grid_tokens(tokens, grid)
        if self._h.shape[1] not in (1, tap.shape[1]):
            raise ValueError(
                f'the side stream has {self._h.shape[1]} tokens, the trunk {tap.shape[1]} in stage '
                f'{stage}: only merging of 2 x 2 tokens is known; use strides of 2 between stages.'
            )
        cell: Any = next(self._cells[stage])
        update = cell.update(tap, grid)
        if update is None:
            self._h = cell(self._settled(), tap, grid)
        else:
            self._updates.append(update)

    def merge(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Go to the next stage; ``tokens`` are the trunk's stream at the end of this one."""
        self._h = self._mergings[stage](self._settled(), grid_tokens(tokens, grid), grid)

    def output(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Join the trunk's stream where it gives a map, before its own norm."""
        self._h = self._settled()
        joined = grid_tokens(tokens, grid) + self._h.to(tokens.dtype)
        self._maps.append(to_map(next(self._norms)(joined), grid))

    def _settled(self) -> Tensor:
        """The stream with what cells have given to be added together."""
        updates, self._updates = self._updates, []
        return add_updates(self._h, updates) if updates else self._h

    def finish(self) -> Sequence[Tensor]:
        """One map (B, C, H, W) per output."""
        assert next(self._norms, None) is None, 'the trunk has not come to its last output'
        return tuple(self._maps)


def _lists(stages: nn.ModuleList) -> Iterable[nn.ModuleList]:
    for cells in stages:
        assert isinstance(cells, nn.ModuleList)
        yield cells
