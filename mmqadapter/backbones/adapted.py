"""AdaptedBackbone: adapters in the path of a frozen trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmqadapter.adapters import is_float
from mmqadapter.backbones.batched_quantizers import quantize_adapters
from mmqadapter.backbones.build_check import check_build
from mmqadapter.backbones.description import describe_adapter
from mmqadapter.backbones.frozen import FrozenBackbone
from mmqadapter.backbones.in_path import adapt_blocks
from mmqadapter.backbones.select import select_blocks
from mmqadapter.registry import MODELS, full_config, require_config


@MODELS.register_module()
class AdaptedBackbone(FrozenBackbone):
    """A frozen trunk with adapters in its blocks; gradients cross the trunk.

    The adapters live outside the trunk, in ``adapters``, and enter it through hooks: the trunk's
    keys and its own initialization are untouched.

    Args:
        backbone: Config of the net.
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, such as ``dict(type='GaussianQuantizer', bits=1)``; None or 32 bits
            for float adapters.
        blocks: Which blocks: None for all, ``'last-k'``, or a regex over block names.
        trunk_drop_path: See :class:`FrozenBackbone`.
        trunk: See :class:`FrozenBackbone`.
        **common: ``pretrained`` and ``init_cfg``, which parent models write here, and arguments of
            version 0.1.0; see :class:`FrozenBackbone`.

    Raises:
        ValueError: An unknown backbone, adapter, quantizer or option, or ``blocks`` that match
            nothing.
    """

    def __init__(
        self,
        backbone: dict | None = None,
        adapter: dict | None = None,
        quantizer: dict | None = None,
        blocks: str | None = None,
        trunk_drop_path: bool = False,
        trunk: Mapping[str, Any] | None = None,
        **common: Any,
    ) -> None:
        adapter = require_config('adapter', adapter)
        super().__init__(backbone, (), trunk_drop_path, trunk, **common)
        selected = select_blocks(self.blocks, blocks)
        # A neck and head built later then start the same with and without adapters.
        with torch.random.fork_rng(devices=[]):
            in_path = adapt_blocks(self.trunk, selected, self.family, adapter, quantizer)
        self.adapters.update({name.replace('.', '_'): module for name, module in in_path.items()})
        check_build(self.trunk, self.family, self.block_names, in_path)
        self.tuning_config = {
            'type': 'AdaptedBackbone',
            'adapter': full_config(adapter),
            'quantizer': None if is_float(quantizer) else full_config(quantizer),
            'blocks': blocks,
        }
        self._log_summary()

    @property
    def summary(self) -> str:
        """Adapters, their sites and the number of blocks, in a few words."""
        sites = ', '.join(site for site, _ in next(self.adapters.children()).named_children())
        text = describe_adapter(self.tuning_config['adapter'], self.tuning_config['quantizer'])
        return f'{text}, at {sites} in {len(self.adapters)} blocks'

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """Return feature maps (B, C_i, H_i, W_i) of an image batch (B, 3, H, W)."""
        quantize_adapters(self.adapters, self.trunk)
        return self.trunk(x)
