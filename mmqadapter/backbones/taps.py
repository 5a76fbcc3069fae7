"""Taps: hooks that stream what a trunk computes into a highway, block by block.

As sites do, taps own their hooks as bound methods, so that a deep copy (EMA) is independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import AutocastState
from mmqadapter.backbones.block_family import BlockFamily
from mmqadapter.backbones.token_grid import TokenGrid
from mmqadapter.backbones.trunk_plan import PlannedBlock
from mmqadapter.highway import Highway, Highways, SideStream, SideStreams
from mmqadapter.utils.token_grid import Grid

Event = Callable[[int, Tensor, Grid], None]


class TrunkRun:
    """Runs a trunk without gradients and passes on what its taps give.

    From the first in-path block on, gradients are as outside. Blocks there may be computed within
    activation checkpointing, whose graph must not hold the highway: what they give waits until
    the trunk has ended.

    Args:
        highway: Where to.
    """

    def __init__(self, highway: Highway | Highways) -> None:
        self.highway = highway
        self._stream: SideStream | SideStreams | None = None
        self._gradients = False
        self._autocast = AutocastState()
        self._in_path = False
        self._dtype: torch.dtype | None = None
        self._waiting: list[tuple[Event, tuple]] = []

    def __call__(self, trunk: nn.Module, images: Tensor) -> Sequence[Any]:
        """Maps (B, C_i, H_i, W_i) of images (B, 3, H, W); of several highways a list of maps."""
        self._gradients, self._in_path = torch.is_grad_enabled(), False
        self._autocast = AutocastState.capture(images.device.type)
        self._dtype = next((p.dtype for p in self.highway.parameters()), None)
        self._stream = stream = self.highway.start(images)
        try:
            with torch.no_grad():
                trunk(images)
            for event, args in self._waiting:
                event(*args)
            return stream.finish()
        finally:
            self._stream = None
            self._waiting.clear()

    def give(self, event: str, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Pass on tokens (B, L, C) or (B, H, W, C) as an event of :class:`SideStream`."""
        if self._stream is None:  # a block is computed again, for backward
            return
        tokens = tokens.flatten(1, 2) if tokens.ndim == 4 else tokens
        call, args = getattr(self._stream, event), (stage, self._as_read(tokens), grid)
        if self._in_path:
            self._waiting.append((call, args))
        else:
            with torch.set_grad_enabled(self._gradients), self._autocast.restore():
                call(*args)

    def _as_read(self, tokens: Tensor) -> Tensor:
        """In the highway's dtype, which a block in half precision may not have, or autocast's."""
        return tokens if self._autocast.enabled else tokens.to(self._dtype)

    def start_in_path(self, module: nn.Module, args: tuple) -> None:
        """Pre-hook of the first in-path block; the mode ends with the trunk's."""
        if self._stream is not None:
            self._in_path = True
            torch.set_grad_enabled(self._gradients)


class BlockTaps:
    """What one block gives: two taps, and its stream where a map or a stage ends.

    Args:
        run: Where to.
        trunk: The net.
        block: The block.
        family: Its row.
        taps: ``'branch'`` or ``'stream'``.
    """

    def __init__(
        self, run: TrunkRun, trunk: nn.Module, block: PlannedBlock, family: BlockFamily, taps: str
    ) -> None:
        self.run, self.stage = run, block.stage
        self.grid = TokenGrid(trunk, block.module, family)
        TAPS[taps](self, block.module, family)
        for end in block.ends:
            block.module.register_forward_hook(getattr(self, end))

    def tap_input(self, module: nn.Module, args: tuple) -> None:
        """Pre-hook: the input of a module is a tap."""
        self._give('tap', args[0].detach())

    def tap_output(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Hook: the output of a module is a tap."""
        self._give('tap', output.detach())

    def output(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Hook: the output of a block gives a map."""
        self._give('output', output)

    def merge(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Hook: the output of a block ends a stage."""
        self._give('merge', output.detach())

    def _give(self, event: str, tokens: Tensor) -> None:
        self.run.give(event, self.stage, tokens, self.grid.size)


def tap_branches(taps: BlockTaps, block: nn.Module, family: BlockFamily) -> None:
    """Attention and MLP branch before their residual sums (arXiv 2306.09729)."""
    block.get_submodule(family.attn_branch).register_forward_hook(taps.tap_output)
    block.get_submodule(family.mlp_branch).register_forward_hook(taps.tap_output)


def tap_stream(taps: BlockTaps, block: nn.Module, family: BlockFamily) -> None:
    """The residual stream after attention and after the MLP."""
    block.get_submodule(family.mlp_in).register_forward_pre_hook(taps.tap_input)
    block.register_forward_hook(taps.tap_output)


TAPS: dict[str, Callable[[BlockTaps, nn.Module, BlockFamily], None]] = {
    'branch': tap_branches,
    'stream': tap_stream,
}
TAPS_PER_BLOCK = 2
