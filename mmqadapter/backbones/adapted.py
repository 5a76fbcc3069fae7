"""AdaptedBackbone: adapters in the path of a frozen trunk."""

from __future__ import annotations

import torch

from mmqadapter.adapters import is_float
from mmqadapter.backbones.block_table import find_blocks, select_blocks
from mmqadapter.backbones.frozen import FrozenBackbone
from mmqadapter.backbones.in_path import adapt_block
from mmqadapter.registry import MODELS, full_config


@MODELS.register_module()
class AdaptedBackbone(FrozenBackbone):
    """A frozen trunk with adapters in its blocks; gradients cross the trunk.

    The adapters live outside the trunk, in ``adapters``, and enter it through hooks: the trunk's
    keys and its own initialisation are untouched.

    Args:
        backbone: Config of the net.
        adapter: Config, such as ``dict(type='AdaptFormer', width=32)``.
        quantizer: Config, such as ``dict(type='GaussianQuantizer', bits=1)``; None or 32 bits
            for float adapters.
        blocks: Which blocks: None for all, ``'last-k'``, or a regex over block names.
        trunk_drop_path: Let the trunk's stochastic depth act during training.
        trunk_dtype: See :class:`FrozenBackbone`. Gradients cross the trunk in it as under AMP:
            ``'float16'`` needs a scaled loss (``AmpOptimWrapper``), the others do not.
        fused_attention: See :class:`FrozenBackbone`.
        compiled_mlp: See :class:`FrozenBackbone`.
        piecewise_mlp: See :class:`FrozenBackbone`.
        packed_weights: See :class:`FrozenBackbone`.

    Raises:
        ValueError: An unknown backbone, adapter or quantiser, or ``blocks`` that match nothing.
    """

    def __init__(
        self,
        backbone: dict,
        adapter: dict,
        quantizer: dict | None = None,
        blocks: str | None = None,
        trunk_drop_path: bool = False,
        trunk_dtype: str = 'float32',
        fused_attention: bool = False,
        compiled_mlp: bool = False,
        piecewise_mlp: bool = False,
        packed_weights: bool = False,
    ) -> None:
        faster = trunk_dtype, fused_attention, compiled_mlp, piecewise_mlp, packed_weights
        super().__init__(backbone, (), trunk_drop_path, *faster)
        chosen = select_blocks(find_blocks(self.trunk, self.family), blocks)
        # A neck and head built later then start the same with and without adapters.
        with torch.random.fork_rng(devices=[]):
            for name, block in chosen.items():
                self.adapters[name.replace('.', '_')] = adapt_block(
                    self.trunk, block, self.family, adapter, quantizer
                )
        self.tuning_config = {
            'type': 'AdaptedBackbone',
            'adapter': full_config(adapter),
            'quantizer': None if is_float(quantizer) else full_config(quantizer),
            'blocks': blocks,
        }
        self._log_summary(f'{adapter["type"]} in {len(chosen)} blocks')
