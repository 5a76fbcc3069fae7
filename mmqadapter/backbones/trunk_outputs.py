"""Read and replace the maps in what a trunk returns, beside which some nets return more.

mmseg's ViT can give a class token beside each map (``output_cls_token``) and the patch embedding
as a first output (``out_origin``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmqadapter.backbones.family import BlockFamily
from mmqadapter.highway import MeanReadout, Readout, read_class_token, read_map, read_pooled


def find_readout(trunk: Any, family: BlockFamily) -> Readout:
    """Return how a trunk reads its outputs from the stream: as its ``out_type`` says.

    Raises:
        ValueError: It returns all tokens.
    """
    if getattr(trunk, 'gap_before_final_norm', False):
        return read_pooled
    kind = getattr(trunk, 'out_type', 'featmap')
    if kind == 'cls_token':
        return read_class_token
    if kind == 'avg_featmap':
        return MeanReadout(getattr(trunk, family.pooled_norm, None))
    if kind == 'raw' and not family.neck:
        raise ValueError(
            f"out_type='raw' of {family.name} is invalid beside a highway: expected 'featmap', "
            "'cls_token' or 'avg_featmap'."
        )
    return read_map


def leading_tokens(trunk: Any) -> int:
    """Return the number of class and register tokens that a trunk says it has."""
    return getattr(trunk, 'num_extra_tokens', getattr(trunk, 'num_prefix_tokens', 0))


def output_maps(outputs: Sequence[Any], count: int) -> list[Tensor]:
    """Return the maps (B, C_i, H_i, W_i) of the last ``count`` outputs."""
    return [_map_of(output) for output in outputs[len(outputs) - count :]]


def with_maps(outputs: Sequence[Any], maps: Sequence[Tensor]) -> tuple[Any, ...]:
    """Return a trunk's outputs with other maps for its ``out_indices``.

    Class tokens beside maps and outputs before the first block stay as the trunk gave them.

    Args:
        outputs: What the trunk returned.
        maps: One map (B, C_i, H_i, W_i) for each of the last outputs.
    """
    first = len(outputs) - len(maps)
    replaced = (_with_map(o, m) for o, m in zip(outputs[first:], maps, strict=True))
    return (*outputs[:first], *replaced)


def _map_of(output: Any) -> Tensor:
    return output[0] if isinstance(output, (list, tuple)) else output


def _with_map(output: Any, new: Tensor) -> Any:
    return [new, *output[1:]] if isinstance(output, (list, tuple)) else new
