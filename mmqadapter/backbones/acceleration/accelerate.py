"""Apply trunk options to a built net."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from mmqadapter.backbones.acceleration.chunked import run_chunked
from mmqadapter.backbones.acceleration.class_swap import FusedModules, fuse_attention
from mmqadapter.backbones.acceleration.half_block import store_blocks
from mmqadapter.backbones.acceleration.options import TrunkOptions
from mmqadapter.backbones.acceleration.prepacked_linear import prepack_weights


def accelerate(
    trunk: nn.Module,
    blocks: Sequence[nn.Module],
    mlp: str,
    fused: FusedModules,
    options: TrunkOptions,
    bypassed: Collection[nn.Module] = (),
) -> None:
    """Apply ``options`` to a frozen ``trunk``, in place.

    Args:
        trunk: A built net, already frozen; parameters that train stay as they are.
        blocks: Blocks of the trunk.
        mlp: Name of the MLP inside a block.
        fused: Attention classes and their fused replacements, from the family's row.
        options: Storage and computation of the trunk.
        bypassed: Layers whose weight the net reads without calling them: they are neither int8 nor
            prepacked.

    Raises:
        ValueError: ``int8`` without torchao.
    """
    if options.attention == 'fused':
        fuse_attention(trunk, fused)
    store_blocks(blocks, options.torch_dtype, bypassed)
    if options.mlp == 'chunked':
        run_chunked(block.get_submodule(mlp) for block in blocks)
    if options.prepacked:
        prepack_weights(trunk, bypassed)
