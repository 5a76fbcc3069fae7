"""HighwayBackbone: adapters beside a frozen trunk; gradients never enter it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters import is_float
from mmqadapter.backbones.batched_quantizers import quantize_adapters
from mmqadapter.backbones.block_plan import PlannedBlock, output_norms, plan_blocks
from mmqadapter.backbones.build_check import BuiltHighway, check_build
from mmqadapter.backbones.description import describe_adapter
from mmqadapter.backbones.frozen import FrozenBackbone
from mmqadapter.backbones.highway_parts import (
    DOWNSAMPLE,
    build_cells,
    build_mergings,
    build_stem,
    output_modules,
    require_mixing,
)
from mmqadapter.backbones.in_path import adapt_block
from mmqadapter.backbones.taps import TAPS, BlockTaps, MapTaps, TrunkRun, taps_per_block
from mmqadapter.backbones.trunk_outputs import find_readout
from mmqadapter.highway import SAVED_TAPS, Cell, FusedResidual, Highway, InheritedNeck, Stem
from mmqadapter.registry import MODELS, config_of, full_config, require_config


@MODELS.register_module()
class HighwayBackbone(FrozenBackbone):
    """A frozen trunk with a gradient highway beside it (E3VA, arXiv 2306.09729).

    The trunk runs without gradients. Each block has one or two taps, each with an adapter that
    updates a side stream; a block of convolutions has one, its output. Each output map is
    norm(trunk + side stream), with a trained copy of the trunk's norm; a norm whose result the
    trunk's next stage reads stays frozen. At the start the maps equal those of the trunk bit for
    bit, unless a quantized adapter has a fixed scale.

    Args:
        backbone: Config of the net.
        adapter: Config of any adapter but LoRA, such as ``dict(type='DualLowRankAdapter')``.
        quantizer: Config, such as ``dict(type='GaussianQuantizer', bits=1)``; None or 32 bits
            for float adapters.
        taps: ``'branch'``: the attention and the MLP branch before their residual sums (as
            published); ``'stream'``: the residual stream after attention and after the MLP;
            ``'block'``: the output of the block alone, half as many taps.
        inpath_blocks: Number of last blocks that have the adapter also in their path, at its own
            sites; gradients cross these blocks. Their taps carry no gradient either.
        saved_taps: Format in which an adapter saves its input for backward, its only activation
            memory: ``'float'`` (unchanged), ``'half'`` (bfloat16) or ``'int8'`` (with a scale per
            token). Gradients have the precision of the format.
        downsample: Merging of the side stream between stages: ``'inherited'`` (the trunk's own,
            frozen and linear) or ``'low-rank'`` (trained).
        trunk_drop_path: Let the trunk's stochastic depth act during training.
        cell: How a tap updates the side stream: ``'ParallelCell'`` (as published),
            ``'JoinedCell'``, ``'StandardizedCell'``, or the config of a
            :class:`mmqadapter.highway.Cell`.
        stem: Start of the side stream: ``'NoStem'`` (zero, as published), ``'ConvStem'``
            (convolutions over the image), or the config of a :class:`mmqadapter.highway.Stem`.
        trunk: See :class:`FrozenBackbone`. Taps are cast to the dtype of the highway; without
            ``inpath_blocks`` no gradient enters the trunk, whatever its dtype.
        **common: ``pretrained`` and ``init_cfg``, which parent models write here, and arguments of
            version 0.1.0; see :class:`FrozenBackbone`.

    Raises:
        ValueError: An unknown backbone, adapter, quantizer or choice.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        adapter: dict | None = None,
        quantizer: dict | None = None,
        taps: str = 'branch',
        inpath_blocks: int = 0,
        saved_taps: str = 'float',
        downsample: str = 'inherited',
        trunk_drop_path: bool = False,
        cell: str | dict = 'ParallelCell',
        stem: str | dict = 'NoStem',
        trunk: Mapping[str, Any] | None = None,
        **common: Any,
    ) -> None:
        adapter = require_config('adapter', adapter)
        cell, stem = config_of(Cell, 'cell', cell), config_of(Stem, 'stem', stem)
        _check_choice('taps', taps, TAPS)
        _check_choice('saved_taps', saved_taps, SAVED_TAPS)
        _check_choice('downsample', downsample, DOWNSAMPLE)
        super().__init__(backbone, (), trunk_drop_path, trunk, **common)
        plan = plan_blocks(self.trunk, self.family, self.blocks)
        in_path = _last(plan, inpath_blocks)
        self._norms = output_norms(self.trunk, self.family)
        per_block = taps_per_block(taps, self.family)
        residual = FusedResidual(SAVED_TAPS[saved_taps])
        # A neck and head built later then start the same with and without adapters.
        with torch.random.fork_rng(devices=[]):
            self.adapters['highway'] = self._build_highway(
                build_cells(plan, adapter, quantizer, cell, residual, per_block),
                build_mergings(self.trunk, self.family, plan, downsample, quantizer),
                build_stem(stem, quantizer, self.trunk, plan[0].channels),
            )
            self._attach_taps(plan, taps)
            self._adapt_in_path(in_path, adapter, quantizer)
        adapters = {b.name: self.adapters[b.name.replace('.', '_')] for b in in_path}
        built = BuiltHighway(self._run, plan, self._norms, self.highway, per_block)
        check_build(self.trunk, self.family, self.block_names, adapters, built)
        self.tuning_config = {
            'type': 'HighwayBackbone',
            'adapter': full_config(adapter),
            'quantizer': None if is_float(quantizer) else full_config(quantizer),
            'taps': taps,
            'inpath_blocks': inpath_blocks,
            'downsample': downsample,
            'cell': cell,
            'stem': stem,
        }
        self._log_summary()

    def _build_highway(
        self,
        cells: Iterable[Iterable[nn.Module]],
        mergings: Iterable[nn.Module],
        stem: nn.Module,
    ) -> Highway:
        readout = find_readout(self.trunk, self.family)
        norms = output_modules(self.trunk, self.family, self._norms)
        on_maps, fused_maps = self.family.norms_on_maps, self.family.fused_maps
        highway = Highway(cells, mergings, norms, stem, on_maps, readout, fused_maps)
        require_mixing(highway, readout)
        return highway

    def _attach_taps(self, plan: Iterable[PlannedBlock], taps: str) -> None:
        self._run = TrunkRun()
        for block in plan:
            BlockTaps(self._run, self.trunk, block, self.family, taps)
        if self.family.fused_maps:
            MapTaps(self._run, self.trunk, len(self._norms))

    @property
    def summary(self) -> str:
        """Adapters, the number of blocks and the settings of the highway, in a few words."""
        config = self.tuning_config
        types = {name: config[name]['type'] for name in ('cell', 'stem')}
        taps = '1 tap' if taps_per_block(config['taps'], self.family) == 1 else '2 taps'
        settings = {name: config[name] for name in ('taps', 'downsample', 'inpath_blocks')}
        text = ', '.join(f'{name}={value!r}' for name, value in {**settings, **types}.items())
        return (
            f'{describe_adapter(config["adapter"], config["quantizer"])}, on {taps} of '
            f'{len(self.block_names)} blocks ({text})'
        )

    @property
    def highway(self) -> Highway:
        """The highway of this wrapper."""
        highway = self.adapters['highway']
        assert isinstance(highway, Highway)
        return highway

    def forward(self, x: Tensor) -> Sequence[Any]:
        """Return feature maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W).

        A trunk with ``out_type='cls_token'`` or ``'avg_featmap'`` gives vectors (B, C_i) instead.
        What it returns besides, such as class tokens beside maps, is passed on as the trunk gives
        it.
        """
        quantize_adapters(self.adapters, self.trunk)
        (maps,) = self._run(self.trunk, x, [self.highway])
        return maps

    def forward_highways(self, x: Tensor, highways: Sequence[Highway]) -> list[Sequence[Any]]:
        """Return the outputs of each of several highways, in inference, from one run of the trunk.

        Args:
            x: Images (B, 3, H, W).
            highways: Of wrappers with the same trunk and settings.

        Raises:
            ValueError: Blocks have adapters in their path, so each task has a trunk of its own.
        """
        self.require_shared_trunk()
        return self._run(self.trunk, x, highways)

    def require_shared_trunk(self) -> None:
        """Check that the trunk computes the same for all tasks.

        Raises:
            ValueError: Blocks have adapters in their path.
        """
        in_path = self.tuning_config['inpath_blocks']
        if in_path:
            raise ValueError(
                f'inpath_blocks={in_path}: the trunk runs differently for each task; only without '
                'blocks in path can tasks share a run. Use TaskBank.use to switch tasks.'
            )

    def _adapt_in_path(
        self, plan: Sequence[PlannedBlock], adapter: dict, quantizer: dict | None
    ) -> None:
        for block in plan[:1]:
            block.module.register_forward_pre_hook(self._run.start_in_path)
        for block in plan:
            self.adapters[block.name.replace('.', '_')] = adapt_block(
                self.trunk, block.module, self.family, adapter, quantizer
            )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self._insert_trunk_level(state_dict, prefix)
        norms = dict(self._trunk_norms(state_dict, prefix))
        super()._load_from_state_dict(state_dict, prefix, *args)
        # Weights of the plain net: output norms start as the trunk's, here as well.
        state_dict.update({key: t for key, t in norms.items() if key not in state_dict})

    def _trunk_norms(self, state_dict: dict, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(self._norms):
            if isinstance(self.highway.norms[number], InheritedNeck):
                continue
            trunk = f'{prefix}trunk.{name}.'
            for key in [k for k in state_dict if name and k.startswith(trunk)]:
                own = f'{prefix}adapters.highway.norms.{number}.'
                yield own + key.removeprefix(trunk), state_dict[key]


def _check_choice(argument: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f'{argument}={value!r} is invalid: expected one of {sorted(known)}.')


def _last(plan: Sequence[PlannedBlock], count: int) -> Sequence[PlannedBlock]:
    if type(count) is not int or not 0 <= count <= len(plan):
        raise ValueError(
            f'inpath_blocks={count!r} is invalid: expected 0 (none in path) to {len(plan)}, the '
            'number of blocks that reach an output.'
        )
    return plan[len(plan) - count :]
