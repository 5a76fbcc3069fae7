"""The gradient highway: a side stream of adapters beside a trunk that runs without gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from mmqadapter.highway.readout import Readout, read_class_token, read_map
from mmqadapter.highway.residual import PendingUpdate, add_updates
from mmqadapter.utils.token_grid import Grid, grid_tokens


class Highway(nn.Module):
    """Trained modules of the highway (arXiv 2306.09729); :meth:`start` begins a forward pass.

    The side stream h is updated as ``h <- cell(h, tap)`` at each tap and ``h <- merging(h)``
    between stages; output map i is ``norm_i(trunk_i + h)``. A plain ViT has one stage and several
    outputs. A net that returns class tokens or means has them in the place of maps.

    Args:
        stages: Cells ``(h, tap, grid) -> h`` of each stage, one per tap, in execution order.
        mergings: Modules ``(h, trunk, grid) -> h`` from each stage to the next.
        norms: Norms of the outputs, in execution order; ``nn.Identity()`` for none.
        stem: Module from images (B, 3, H, W) to h before the first tap.
        norms_on_maps: The norms take maps (B, C, H, W), not tokens.
        readout: What an output is of the joined stream. If it is the class token, the side stream
            has this token alone.
        fused_maps: The outputs follow when all stages have run, one for each stage.
    """

    def __init__(
        self,
        stages: Iterable[Iterable[nn.Module]],
        mergings: Iterable[nn.Module],
        norms: Iterable[nn.Module],
        stem: nn.Module,
        norms_on_maps: bool = False,
        readout: Readout = read_map,
        fused_maps: bool = False,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(nn.ModuleList(cells) for cells in stages)
        self.mergings = nn.ModuleList(mergings)
        self.norms = nn.ModuleList(norms)
        self.norms_on_maps, self.fused_maps = norms_on_maps, fused_maps
        self.readout = readout

    def start(self, images: Tensor) -> SideStream:
        """Return the side stream of a forward pass over images (B, 3, H, W)."""
        return SideStream(self, self.stem(images), _stem_grid(self.stem, images))


class SideStream:
    """Side stream of one forward pass, fed by the trunk in execution order.

    Each call takes the stage, tokens (B, L, C) and the grid (H, W). Class and register tokens come
    first; they are skipped, or all but the class token if outputs are read from it. Tokens are used
    at once and not stored, except that adapters save them for backward. Tokens of a tap have no
    graph. Updates of cells that do not read the stream are collected and added in one operation
    when the stream is needed next. A trunk may run its stages in turns (HRNet), so each stage has a
    stream of its own.

    Args:
        highway: The trained modules.
        start: Side stream before the first tap, (B, H * W, C) or (1, 1, 1).
        grid: Height and width of ``start``. The first tap may have a row and a column less, in a
            trunk that leaves out pixels beyond whole patches.
    """

    def __init__(self, highway: Highway, start: Tensor, grid: Grid | None = None) -> None:
        self._zero, self._start_grid = start.new_zeros(1, 1, 1), grid
        self._streams, self._fused = {0: start}, highway.fused_maps
        self._cells = [iter(cells) for cells in _cell_lists(highway.stages)]
        self._mergings = highway.mergings
        self._norms, self._on_maps = iter(highway.norms), highway.norms_on_maps
        self._readout = highway.readout
        self._maps: list[Tensor] = []
        self._updates: dict[int, list[PendingUpdate]] = {}

    def tap(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Update the side stream at a tap, with the next cell of the stage.

        Raises:
            ValueError: The side stream has another number of tokens than the tap.
        """
        tap = self._read_tokens(tokens, grid)
        self._crop_start(grid)
        length = self._stream(stage).shape[1]
        if length not in (1, tap.shape[1]):
            raise ValueError(
                f'a side stream of {length} tokens is invalid in stage {stage}: expected '
                f'{tap.shape[1]}, as in the trunk. Only mergings of 2 x 2 tokens are supported; '
                'use strides of 2 between stages.'
            )
        cell: Any = next(self._cells[stage])
        update = cell.update(tap, grid)
        if update is None:
            self._streams[stage] = cell(self._updated(stage), tap, grid)
        else:
            self._updates.setdefault(stage, []).append(update)

    def _crop_start(self, grid: Grid) -> None:
        start, self._start_grid = self._start_grid, None
        h = self._stream(0)
        if start is None or h.shape[1] == 1 or start == grid:
            return
        if all(0 <= size - tap <= 1 for size, tap in zip(start, grid, strict=True)):
            self._streams[0] = h.unflatten(1, start)[:, : grid[0], : grid[1]].flatten(1, 2)

    def _read_tokens(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Return the tokens that the side stream has."""
        return tokens[:, :1] if self._readout is read_class_token else grid_tokens(tokens, grid)

    def merge(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Merge the side stream into the next stage.

        ``tokens`` are the trunk's stream at the end of this stage.
        """
        merged = self._mergings[stage](self._updated(stage), grid_tokens(tokens, grid), grid)
        if not self._fused:
            del self._streams[stage]
        later = self._updated(stage + 1)
        self._streams[stage + 1] = merged if later is self._zero else later + merged

    def output(self, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Make an output of the side stream and the trunk's stream before its norm."""
        h = self._streams[stage] = self._updated(stage)
        joined = self._read_tokens(tokens, grid) + h.to(tokens.dtype)
        self._maps.append(self._readout(next(self._norms), joined, grid, self._on_maps))

    def _stream(self, stage: int) -> Tensor:
        return self._streams.get(stage, self._zero)

    def _updated(self, stage: int) -> Tensor:
        """Return the stream of a stage with all collected updates added."""
        updates = self._updates.pop(stage, [])
        h = self._stream(stage)
        return add_updates(h, updates) if updates else h

    def finish(self) -> Sequence[Tensor]:
        """Return one map (B, C, H, W), or class token or mean (B, C), per output."""
        assert next(self._norms, None) is None, 'the trunk has not reached its last output'
        return tuple(self._maps)


def _stem_grid(stem: Any, images: Tensor) -> Grid | None:
    stride = getattr(stem, 'stride', None)
    if stride is None:
        return None
    height, width = images.shape[-2:]
    return -(-height // stride), -(-width // stride)


def _cell_lists(stages: nn.ModuleList) -> Iterable[nn.ModuleList]:
    for cells in stages:
        assert isinstance(cells, nn.ModuleList)
        yield cells
