"""Taps: hooks that stream what a trunk computes into side streams, block by block.

Taps own their hooks as bound methods, so that a deep copy (EMA) is independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.backbones.block_plan import PlannedBlock
from mmqadapter.backbones.branches import hook_branch
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.grid_tracker import GridTracker
from mmqadapter.backbones.trunk_outputs import output_maps, with_maps
from mmqadapter.highway import Highway, SideStream
from mmqadapter.utils.autocast import AutocastState
from mmqadapter.utils.token_grid import Grid

# SideStream.tap, .merge or .output: called with the stream, stage, tokens (B, L, C) and grid.
Event = Callable[[SideStream, int, Tensor, Grid], None]


class TrunkRun:
    """Run a trunk without gradients and feed what its hooks see to side streams.

    From the first in-path block on, gradients are as outside. Blocks there may be computed within
    activation checkpointing, whose graph must not hold the highway: their events wait until the
    trunk has ended.
    """

    def __init__(self) -> None:
        self._streams: list[SideStream] = []
        self._gradients = False
        self._autocast = AutocastState()
        self._in_path = False
        self._dtype: torch.dtype | None = None
        self._waiting: list[tuple[Event, tuple[int, Tensor, Grid]]] = []

    def __call__(
        self, trunk: nn.Module, images: Tensor, highways: Sequence[Highway]
    ) -> list[Sequence[Any]]:
        """Return what the trunk returns for images (B, 3, H, W), with the maps of each highway."""
        self._gradients, self._in_path = torch.is_grad_enabled(), False
        self._autocast = AutocastState.capture(images.device.type)
        self._dtype = next((p.dtype for p in highways[0].parameters()), None)
        self._streams = [highway.start(images) for highway in highways]
        try:
            with torch.no_grad():
                outputs = trunk(images)
            for event, args in self._waiting:
                self._send(event, *args)
            return [with_maps(outputs, stream.finish()) for stream in self._streams]
        finally:
            self._streams = []
            self._waiting.clear()

    def feed(self, event: Event, stage: int, tokens: Tensor, grid: Grid) -> None:
        """Pass tokens (B, L, C) on as an event, now or when the trunk has ended."""
        if not self._streams:  # a block is recomputed, in backward
            return
        args = (stage, self._as_read(tokens), grid)
        if self._in_path:
            self._waiting.append((event, args))
        else:
            with torch.set_grad_enabled(self._gradients), self._autocast.restore():
                self._send(event, *args)

    def _send(self, event: Event, stage: int, tokens: Tensor, grid: Grid) -> None:
        for stream in self._streams:
            event(stream, stage, tokens, grid)

    def _as_read(self, tokens: Tensor) -> Tensor:
        """Return tokens in the highway's dtype, which a block in half precision may not have."""
        return tokens if self._autocast.enabled else tokens.to(self._dtype)

    def start_in_path(self, module: nn.Module, args: tuple) -> None:
        """Enable gradients, as a pre-hook of the first in-path block; until the trunk ends."""
        if self._streams:
            self._in_path = True
            torch.set_grad_enabled(self._gradients)


class BlockTaps:
    """Hooks of one block: its taps, and its output where a map is taken or a stage ends.

    Args:
        run: Where events go.
        trunk: The net.
        block: The block.
        family: Its row.
        taps: One of ``TAPS``.
    """

    def __init__(
        self, run: TrunkRun, trunk: nn.Module, block: PlannedBlock, family: BlockFamily, taps: str
    ) -> None:
        self.run, self.stage, self.channels_first = run, block.stage, family.channels_first
        self.held: Tensor | None = None
        self.grid = GridTracker(trunk, block.module, family)
        TAPS[taps].attach(self, block.module, family)
        if block.gives_map and not family.fused_maps:
            block.module.register_forward_hook(self.give_map)
        if block.ends_stage:
            block.module.register_forward_hook(self.end_stage)

    def tap_input(self, module: nn.Module, args: tuple) -> None:
        """Tap the input of a module (pre-hook)."""
        self._feed(SideStream.tap, args[0].detach())

    def hold_input(self, module: nn.Module, args: tuple) -> None:
        """Hold the input of the block for :meth:`tap_gain` (pre-hook)."""
        self.held = args[0].detach()

    def tap_gain(self, module: nn.Module, args: tuple) -> None:
        """Tap what the stream has gained when it enters a module (pre-hook)."""
        held, self.held = self.held, None
        assert held is not None, 'the MLP of a block before its start'
        self._feed(SideStream.tap, args[0].detach() - held.view_as(args[0]))

    def forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Drop what is held when a block ends or raises (hook)."""
        self.held = None

    def tap_output(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Tap the output of a module (hook)."""
        self._feed(SideStream.tap, output.detach())

    def give_map(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Take an output map behind a block (hook)."""
        self._feed(SideStream.output, output)

    def end_stage(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        """Merge the side stream behind the last block of a stage (hook)."""
        self._feed(SideStream.merge, output.detach())

    def _feed(self, event: Event, tokens: Tensor) -> None:
        """Pass tokens (B, L, C), (B, H, W, C) or a map (B, C, H, W) on."""
        grid = self.grid.size
        if tokens.ndim == 4:
            tokens = tokens.movedim(1, -1) if self.channels_first else tokens
            grid, tokens = (tokens.shape[1], tokens.shape[2]), tokens.flatten(1, 2)
        self.run.feed(event, self.stage, tokens, grid)


class MapTaps:
    """Hook on a trunk that joins its stages behind their blocks: it takes the maps of the trunk.

    Args:
        run: Where events go.
        trunk: The net.
        stages: Number of stages, which is that of the maps.
    """

    def __init__(self, run: TrunkRun, trunk: nn.Module, stages: int) -> None:
        self.run, self.stages = run, stages
        trunk.register_forward_hook(self.give_maps)

    def give_maps(self, module: nn.Module, args: tuple, output: Sequence[Any]) -> None:
        """Take all output maps (hook)."""
        for stage, map_ in enumerate(output_maps(output, self.stages)):
            grid = map_.shape[2], map_.shape[3]
            self.run.feed(SideStream.output, stage, map_.flatten(2).transpose(1, 2), grid)


def tap_branches(taps: BlockTaps, block: nn.Module, family: BlockFamily) -> None:
    """Tap the attention and the MLP branch before their residual sums (arXiv 2306.09729)."""
    if family.whole_blocks:
        return tap_stream(taps, block, family)
    if family.attn_in:
        block.get_submodule(family.attn_in).register_forward_pre_hook(taps.hold_input)
        block.get_submodule(family.mlp_in).register_forward_pre_hook(taps.tap_gain)
        block.register_forward_hook(taps.forget, always_call=True)
    elif family.attn_branch:
        hook_branch(block, family, 'attn_branch', taps.tap_output)
    hook_branch(block, family, 'mlp_branch', taps.tap_output)


def tap_stream(taps: BlockTaps, block: nn.Module, family: BlockFamily) -> None:
    """Tap the residual stream after attention and after the MLP."""
    if family.branches == 2:
        block.get_submodule(family.mlp_in).register_forward_pre_hook(taps.tap_input)
    tap_block(taps, block, family)


def tap_block(taps: BlockTaps, block: nn.Module, family: BlockFamily) -> None:
    """Tap the output of a block."""
    block.register_forward_hook(taps.tap_output)


@dataclass(frozen=True)
class TapKind:
    """Kind of taps on a block.

    Attributes:
        attach: Function that adds the hooks to a block.
        per_branch: One tap for each branch of a block, instead of one in all.
    """

    attach: Callable[[BlockTaps, nn.Module, BlockFamily], None]
    per_branch: bool = True


TAPS = {
    'branch': TapKind(tap_branches),
    'stream': TapKind(tap_stream),
    'block': TapKind(tap_block, per_branch=False),
}


def taps_per_block(taps: str, family: BlockFamily) -> int:
    """Return the number of taps on each block of a family."""
    return family.branches if TAPS[taps].per_branch else 1
