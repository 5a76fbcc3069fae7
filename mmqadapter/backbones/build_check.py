"""Check, when a wrapper is built, that the row of the block table describes its trunk.

A wrong row would not stop a run: adapters that are never called, that mix the wrong tokens, or
that some blocks lack only make results worse.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from mmqadapter.backbones.block_plan import PlannedBlock, neck_of
from mmqadapter.backbones.dry_run import DryRun, image_shapes, without_hooks
from mmqadapter.backbones.family import PAGE, BlockFamily
from mmqadapter.backbones.probes import AdapterProbe, TapProbe
from mmqadapter.backbones.select import blocks_by_output, output_numbers
from mmqadapter.backbones.site_table import SITES
from mmqadapter.backbones.taps import TrunkRun
from mmqadapter.backbones.trunk_outputs import leading_tokens, output_maps
from mmqadapter.highway import Highway, NoStem, SideStream, Stem
from mmqadapter.utils.token_grid import Grid


@dataclass(frozen=True)
class BuiltHighway:
    """Parts of a built highway that see its trunk.

    Attributes:
        run: Where its taps feed to.
        plan: Its blocks, in execution order.
        norms: Full name of each output's norm; '' where it has none.
        highway: Its trained modules.
        taps_per_block: Number of taps on each block.
    """

    run: TrunkRun
    plan: Sequence[PlannedBlock]
    norms: Sequence[str]
    highway: Highway
    taps_per_block: int


def check_build(
    trunk: nn.Module,
    family: BlockFamily,
    blocks: Collection[str],
    in_path: Mapping[str, Any] | None = None,
    built: BuiltHighway | None = None,
) -> None:
    """Run a trunk dry, with its hooks, and check what they see.

    Args:
        trunk: The trunk.
        family: Its row.
        blocks: Names of the blocks that reach an output.
        in_path: Adapters by site, by name of their block.
        built: The highway beside the trunk, if there is one.

    Raises:
        ValueError: A block that reaches an output is not among ``blocks``, an adapter or a tap is
            never reached, tokens do not fit their grid or that of a map, or a highway does not
            start with the maps of the trunk.
    """
    check = _Check(trunk, family, blocks)
    for shape in image_shapes(trunk):
        outputs = check.run(shape, in_path or {}, built)
        if outputs is not None:
            break
    else:
        check.report_failure(shape)
        return
    check.blocks(blocks, outputs)
    check.calls()
    check.grids(outputs)
    check.order(outputs)
    if built:
        check.taps(built)
        check.stem(built.highway.stem, shape)
        check.mergings(built.plan, [merging.stride for merging in built.highway.mergings])
        check.maps(built, outputs)


class _Check:
    """Checks of one dry run of a trunk; each raises a ValueError."""

    def __init__(self, trunk: nn.Module, family: BlockFamily, used: Collection[str]) -> None:
        self._trunk, self._family = trunk, family
        self._dry = DryRun(trunk, family, used)
        self._net = type(getattr(trunk, 'model', trunk)).__name__
        self._row = f'row {family.name!r} of the block table'
        self._probes: list[AdapterProbe] = []
        self._taps = TapProbe(self._dry)
        self._error: Exception | None = None

    def run(
        self, shape: tuple[int, ...], in_path: Mapping[str, Any], highway: BuiltHighway | None
    ) -> Any:
        """Return the outputs; None if the trunk, its hooks or the row refuse the image."""
        self._probes, self._taps = [], TapProbe(self._dry)
        changes = list(self._taps.changes(highway.run)) if highway else []
        for block, adapters in in_path.items():
            for site, adapter in adapters.items():
                module = self._trunk.get_submodule(block)
                parts = SITES[site].parts(adapter, module, self._family)
                self._probes.append(AdapterProbe(block, site, parts))
                changes += self._probes[-1].changes(adapter)
        try:
            return self._dry(shape, changes)
        except Exception as error:  # nets refuse a size each in its own way
            self._error = error
            return None

    def report_failure(self, shape: tuple[int, ...]) -> None:
        """Tell a row that does not fit, an error, from a net that cannot run dry, a warning."""
        reason = f'{type(self._error).__name__}: {self._error}'.splitlines()[0]
        try:
            self._dry(shape, without_hooks(self._trunk))
        except Exception:
            print_log(
                f'{self._net}: the {self._row} could not be checked ({reason}).',
                logger='current', level=logging.WARNING,
            )  # fmt: skip
        else:
            raise ValueError(
                f'{self._net} does not run with these adapters ({reason}): the {self._row} does '
                f'not fit it; {PAGE}.'
            ) from self._error

    def blocks(self, used: Collection[str], outputs: Any) -> None:
        """Check that outputs depend on no block that is not used."""
        others = [name for name in self._dry.sizes if name not in used]
        tensors = (t for t in tree_flatten(outputs)[0] if isinstance(t, Tensor) and not t.is_meta)
        if others and any(t.isnan().any() for t in tensors):
            raise ValueError(
                f'{others[0]} to {others[-1]} of {self._net} reach an output, but would get no '
                f'adapters: out_indices does not count what group 1 of `blocks` counts in the '
                f'{self._row}; {PAGE}.'
            )

    def calls(self) -> None:
        """Check that each adapter in path is called."""
        for probe in self._probes:
            if not probe.missing:
                continue
            part = min(probe.missing)
            reason = SITES[probe.site].bypassed or (
                f'bypasses a module that the {self._row} names; use an adapter with other sites, '
                f'or {PAGE}.'
            )
            raise ValueError(
                f'the adapter at site {probe.site!r} of {probe.block} would never be called'
                f'{f" for {part!r}" if part else ""}: {self._net} {reason}'
            )

    def grids(self, outputs: Any) -> None:
        """Check that tokens are a whole image's, with the same class tokens before each grid."""
        shapes = {t.shape[-2:] for t in tree_flatten(outputs)[0] if isinstance(t, Tensor)}
        before = set()
        fused = self._family.fused_maps
        taps = (s for s in self._taps.seen if not (fused and s.event is SideStream.output))
        for item in chain(taps, *(probe.seen for probe in self._probes)):
            stream = self._dry.sizes[item.block]
            maps = self._family.channels_first and len(stream) == 4
            length = stream[2:].numel() if maps else stream[1:-1].numel()
            height, width = item.grid
            leading = item.tokens.shape[1] - height * width
            before.add(leading)
            confirmed = leading in (0, leading_tokens(self._trunk)) or (
                leading > 0 and (height, width) in shapes
            )
            whole = item.tokens.shape[:2] == (stream[0], length)
            if len(before) > 1 or not (confirmed and whole):
                raise ValueError(
                    f'{item.tokens.shape[1]} tokens of {item.block}, of {length} in its stream, do '
                    f'not fit a grid of {height} x {width}: `grid` or a branch is wrong for '
                    f'{self._net} in the {self._row}; {PAGE}.'
                )

    def order(self, outputs: Any) -> None:
        """Check that the last tokens before each output map have its grid.

        Maps (B, C, H, W) need no check: they tell their own grid.
        """
        if self._family.channels_first or self._family.fused_maps:
            return
        numbers = blocks_by_output(self._trunk, self._family)
        wanted = [n for n in output_numbers(self._trunk, self._family) if n in numbers.values()]
        seen = {n.block: n for n in chain(self._taps.seen, *(p.seen for p in self._probes))}
        last = {numbers[block]: item for block, item in seen.items()}
        for number, map_ in zip(wanted, output_maps(outputs, len(wanted)), strict=True):
            item, grid = last.get(number), tuple(map_.shape[2:])
            if item is not None and map_.ndim == 4 and tuple(item.grid) != grid:
                raise ValueError(
                    f'tokens of {item.block} in a grid of {item.grid[0]} x {item.grid[1]} do not '
                    f'fit the output behind it, a map of {grid[0]} x {grid[1]}: {self._net} keeps '
                    f'tokens in another order, or the {self._row} is wrong. Use an adapter in path '
                    f'that sees no neighbors, such as AdaptFormer, or {PAGE}.'
                )

    def taps(self, built: BuiltHighway) -> None:
        """Check that the taps of each block are reached, once each."""
        for block in built.plan:
            events = [s.event for s in self._taps.seen if s.block == block.name]
            count, expected = events.count(SideStream.tap), built.taps_per_block
            if count != expected:
                raise ValueError(
                    f'{block.name} reaches {count} of {expected} taps: {self._net} bypasses '
                    f'a branch that the {self._row} names, or calls it again; {PAGE}.'
                )

    def stem(self, stem: nn.Module, shape: tuple[int, ...]) -> None:
        """Check that the stem of a highway has the grid of the first tap."""
        grid = self._taps.seen[0].grid
        if isinstance(stem, NoStem) or not isinstance(stem, Stem):
            return
        made = tuple(size // stem.stride for size in shape[2:])
        if made != grid:
            raise ValueError(
                f'stem={type(stem).__name__} is invalid for {self._net}: of an image of '
                f'{shape[2]} x {shape[3]} pixels it makes a grid of {made[0]} x {made[1]}, with '
                f'the first stride of the net, {stem.stride}; its tokens have a grid of '
                f"{grid[0]} x {grid[1]}: use 'NoStem'."
            )

    def mergings(self, plan: Sequence[PlannedBlock], strides: Sequence[Any]) -> None:
        """Check that each merging halves the grid, or keeps it as the trunk does."""
        seen = {s.block: s.grid for s in self._taps.seen if s.event is SideStream.tap}
        grids: dict[int, Grid] = {}
        for block in plan:
            after, known = seen[block.name], block.stage in grids
            before = grids.get(block.stage if known else block.stage - 1, after)
            merged = not known and block.stage > 0 and strides[block.stage - 1] != 1
            halved = {tuple((size + up) // 2 for size in before) for up in (0, 1)}
            if after not in (halved if merged else {before}):
                raise ValueError(
                    f'a grid of {after} behind one of {before} is invalid at {block.name}: '
                    'Only mergings of 2 x 2 tokens are supported; use strides of 2 between stages.'
                )
            grids[block.stage] = after

    def maps(self, built: BuiltHighway, outputs: Sequence[Any]) -> None:
        """Check that the outputs of a highway that adds nothing are those of the trunk."""
        taken = [s for s in self._taps.seen if s.event is SideStream.output]
        maps = output_maps(outputs, len(built.norms))
        for number, (norm, item, map_) in enumerate(zip(built.norms, taken, maps, strict=True)):
            name = neck_of(self._trunk, self._family) or norm
            module = self._trunk.get_submodule(name) if name else nn.Identity()
            readout, on_maps = built.highway.readout, self._family.norms_on_maps
            own = map_.new_empty(0)
            with torch.no_grad(), suppress(RuntimeError):  # a norm of maps that gets tokens
                own = readout(module, item.tokens, item.grid, on_maps)
            if own.shape != map_.shape or not (
                own.is_meta or torch.allclose(own, map_, 1e-3, 1e-3)
            ):
                raise ValueError(
                    f'map {number} of a highway on {self._net} would not start as that of the '
                    f'trunk, {tuple(map_.shape)}: the net computes more behind {item.block} than '
                    f'the {self._row} says; {PAGE}.'
                )
